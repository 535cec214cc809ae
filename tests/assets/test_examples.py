"""The example clips are complete, small, and their masks are a usable ground truth."""

import importlib.util
import itertools
import json
from pathlib import Path
from types import ModuleType

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image

ASSETS = Path(__file__).resolve().parents[2] / "assets"
EXAMPLES = ASSETS / "examples"
INDEX = json.loads((EXAMPLES / "examples.json").read_text())

every_clip = pytest.mark.parametrize("clip", INDEX, ids=[clip["name"] for clip in INDEX])


def mask_files(clip: dict) -> list[Path]:
    return sorted((EXAMPLES / "masks" / clip["name"]).glob("*.png"))


def read_masks(clip: dict) -> np.ndarray:
    """Object ids of a whole clip, [T, H, W]."""
    return np.stack([np.array(Image.open(file)) for file in mask_files(clip)])


def read_video(clip: dict) -> np.ndarray:
    """Decoded pictures of a clip, [T, H, W, 3]."""
    with imageio.get_reader(EXAMPLES / f"{clip['name']}.mp4") as reader:
        return np.stack([frame for frame in reader])


def share(clip: dict, object_id: int) -> np.ndarray:
    """Share of the picture that an object covers in every frame, [T]."""
    return (read_masks(clip) == object_id).mean(axis=(1, 2))


def load_maker() -> ModuleType:
    """Import assets/make_examples.py, or skip the test where the renderer is not installed."""
    pytest.importorskip("mitsuba")
    spec = importlib.util.spec_from_file_location("make_examples", ASSETS / "make_examples.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    return maker


def test_there_are_four_clips_under_three_megabytes():
    assert len({clip["name"] for clip in INDEX}) == len(INDEX) == 4
    files = [file for file in EXAMPLES.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 3_000_000
    assert max(file.stat().st_size for file in EXAMPLES.glob("*.mp4")) < 500_000


def test_no_stray_files():
    names = {clip["name"] for clip in INDEX}
    assert {file.stem for file in EXAMPLES.glob("*.mp4")} == names
    assert {folder.name for folder in (EXAMPLES / "masks").iterdir()} == names


@every_clip
def test_words_for_the_gallery(clip: dict):
    assert clip["title"] and clip["caption"].endswith(".")
    assert list(clip["objects"]) == [str(i + 1) for i in range(len(clip["objects"]))]
    assert all(clip["objects"].values())


@every_clip
def test_video_decodes_as_stated(clip: dict):
    video = read_video(clip)
    width, height = clip["size"]
    assert video.shape == (clip["frames"], height, width, 3)
    with imageio.get_reader(EXAMPLES / f"{clip['name']}.mp4") as reader:
        meta = reader.get_meta_data()
    assert meta["fps"] == clip["fps"]
    assert meta["codec"] == "h264" and meta["pix_fmt"].startswith("yuv420p")


@every_clip
def test_video_is_well_exposed_and_moves(clip: dict):
    video = read_video(clip).astype(float)
    assert 80 < video.mean() < 190
    assert ((video <= 2) | (video >= 253)).mean() < 0.05
    assert video.std(axis=(1, 2, 3)).min() > 25  # no flat frame
    assert np.abs(np.diff(video, axis=0)).mean(axis=(1, 2, 3)).min() > 0.5  # no frozen frame


@every_clip
def test_video_is_ready_for_streaming(clip: dict):
    """The index (moov) precedes the pictures (mdat), so that a browser can start at once."""
    data = (EXAMPLES / f"{clip['name']}.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@every_clip
def test_masks_are_palette_pictures_with_known_ids(clip: dict):
    files = mask_files(clip)
    assert [file.name for file in files] == [f"{i:05d}.png" for i in range(clip["frames"])]
    for file in files:
        with Image.open(file) as mask:
            assert mask.mode == "P" and list(mask.size) == clip["size"]
            assert mask.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    known = {0, *map(int, clip["objects"])}
    assert set(np.unique(read_masks(clip)).tolist()) == known


@every_clip
def test_objects_are_neither_tiny_nor_huge(clip: dict):
    for object_id in map(int, clip["objects"]):
        shares = share(clip, object_id)
        assert 0.04 < np.quantile(shares, 0.8), clip["objects"][str(object_id)]
        assert shares.max() < 0.20, clip["objects"][str(object_id)]


@every_clip
def test_masks_are_free_of_specks(clip: dict):
    """Ground truth has solid regions: hardly any pixel differs from all its four neighbours."""
    ids = read_masks(clip)
    inner = ids[:, 1:-1, 1:-1]
    neighbours = [ids[:, :-2, 1:-1], ids[:, 2:, 1:-1], ids[:, 1:-1, :-2], ids[:, 1:-1, 2:]]
    lonely = np.all([inner != other for other in neighbours], axis=0)
    assert lonely.mean() < 1e-5


def colour_histogram(pixels: np.ndarray) -> np.ndarray:
    """Shares of 6 x 6 x 6 colours among pixels [N, 3]; a mean would turn blue-yellow into grey."""
    bins = [np.linspace(0, 256, 7)] * 3
    return np.histogramdd(pixels, bins)[0] / len(pixels)


@every_clip
def test_objects_differ_from_each_other_and_the_scenery_in_colour(clip: dict):
    """A clip is only a fair example if its objects can be told apart."""
    video, ids = read_video(clip), read_masks(clip)
    histograms = [colour_histogram(video[ids == i]) for i in range(len(clip["objects"]) + 1)]
    for one, other in itertools.combinations(histograms, 2):
        assert np.minimum(one, other).sum() < 0.4


def test_hidden_object_comes_back_with_its_id():
    clip = next(clip for clip in INDEX if clip["name"] == "hide-and-seek")
    hidden = share(clip, 1) == 0
    first, last = np.flatnonzero(hidden)[[0, -1]]
    assert hidden[first : last + 1].all() and last - first + 1 >= 5
    assert 0 < first and last < clip["frames"] - 1
    assert share(clip, 1)[[0, -1]].min() > 0.03
    assert share(clip, 2).min() > 0.04  # the toy in front never disappears


def test_rendering_reproduces_the_committed_mask():
    maker = load_maker()
    clip, frame = INDEX[0], 7
    example = next(example for example in maker.EXAMPLES if example.name == clip["name"])
    runs = [maker.render(example, frame / clip["frames"], spp=9) for _ in range(2)]
    assert np.array_equal(runs[0][0], runs[1][0]) and np.array_equal(runs[0][1], runs[1][1])
    assert np.array_equal(runs[0][1], read_masks(clip)[frame])


def test_index_matches_the_program():
    maker = load_maker()
    assert [maker.describe(example, EXAMPLES) for example in maker.EXAMPLES] == INDEX
