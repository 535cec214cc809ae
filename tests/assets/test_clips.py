"""Every rendered clip is complete and small, and its masks are a usable ground truth."""

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image

from .helpers import ASSETS, EXAMPLES, SCENES, Clip, every, load_maker

every_clip = every(EXAMPLES + SCENES)
both_kinds = pytest.mark.parametrize(
    ("kind", "clips", "limit"),
    [("examples", EXAMPLES, 3_000_000), ("scenes", SCENES, 2_500_000)],
    ids=["examples", "scenes"],
)


@both_kinds
def test_folders_are_small(kind: str, clips: list[Clip], limit: int):
    files = [file for file in (ASSETS / kind).rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < limit
    assert max(clip.file.stat().st_size for clip in clips) < 500_000


@both_kinds
def test_no_stray_files(kind: str, clips: list[Clip], limit: int):
    names = sorted(clip.name for clip in clips)
    assert sorted(file.stem for file in (ASSETS / kind).glob("*.mp4")) == names
    assert sorted(folder.name for folder in (ASSETS / kind / "masks").iterdir()) == names


@both_kinds
def test_index_matches_the_program(kind: str, clips: list[Clip], limit: int):
    rendered = getattr(load_maker(f"make_{kind}"), kind.upper())
    describe = load_maker("make_examples").describe
    assert [describe(clip, ASSETS / kind) for clip in rendered] == [clip.facts for clip in clips]


@every_clip
def test_words_for_the_gallery(clip: Clip):
    assert clip.facts["title"] and clip.facts["caption"].endswith(".")
    assert clip.ids == list(range(1, len(clip.ids) + 1))
    assert all(clip.facts["objects"].values())


@every_clip
def test_video_decodes_as_stated(clip: Clip):
    width, height = clip.facts["size"]
    assert clip.video().shape == (clip.facts["frames"], height, width, 3)
    with imageio.get_reader(clip.file) as reader:
        meta = reader.get_meta_data()
    assert meta["fps"] == clip.facts["fps"]
    assert meta["codec"] == "h264" and meta["pix_fmt"].startswith("yuv420p")


@every_clip
def test_video_is_well_exposed_and_moves(clip: Clip):
    video = clip.video().astype(float)
    assert 80 < video.mean() < 190
    assert ((video <= 2) | (video >= 253)).mean() < 0.05
    assert video.std(axis=(1, 2, 3)).min() > 25  # no flat frame
    assert np.abs(np.diff(video, axis=0)).mean(axis=(1, 2, 3)).min() > 0.5  # no frozen frame


@every_clip
def test_video_is_ready_for_streaming(clip: Clip):
    """The index (moov) precedes the pictures (mdat), so that a browser can start at once."""
    data = clip.file.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@every_clip
def test_masks_are_palette_pictures_with_known_ids(clip: Clip):
    files = clip.mask_files()
    assert [file.name for file in files] == [f"{i:05d}.png" for i in range(clip.facts["frames"])]
    for file in files:
        with Image.open(file) as mask:
            assert mask.mode == "P" and list(mask.size) == clip.facts["size"]
            assert mask.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    assert np.unique(clip.masks()).tolist() == [0, *clip.ids]


@every_clip
def test_masks_are_free_of_specks(clip: Clip):
    """Ground truth has solid regions: hardly any pixel differs from all its four neighbours."""
    ids = clip.masks()
    inner = ids[:, 1:-1, 1:-1]
    neighbours = [ids[:, :-2, 1:-1], ids[:, 2:, 1:-1], ids[:, 1:-1, :-2], ids[:, 1:-1, 2:]]
    lonely = np.all([inner != other for other in neighbours], axis=0)
    assert lonely.mean() < 1e-5
