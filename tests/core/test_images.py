"""Images: folders, zips, single ones and animated ones."""

import zipfile
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from bavos_core import InputError, open_clip
from bavos_io.clip import IMAGES_FPS, ArrayClip, shrunk

from .helpers import check_message, noise_clip, read_all, save_pictures, zip_folder

UNORDERED = ["frame10.png", "frame2.png", "frame1.png", "frame20.png"]  # grey 0, 10, 20, 30


@pytest.fixture
def folder(tmp_path) -> Path:
    save_pictures(tmp_path / "walk", UNORDERED)
    (tmp_path / "walk" / "notes.txt").write_text("not a picture")
    return tmp_path / "walk"


def check_natural_order(path: Path, name: str) -> None:
    clip = open_clip(path)
    assert clip.name == name
    assert clip.frame_names == ("frame1", "frame2", "frame10", "frame20")
    assert clip.size == (20, 30)
    np.testing.assert_allclose(clip.times, np.arange(4) / IMAGES_FPS)
    assert [f[0, 0, 0] for f in clip.read()] == [20, 10, 0, 30]
    assert [f[0, 0, 0] for f in clip.read([1, 3])] == [10, 30]


def test_a_folder_of_frames_is_read_in_natural_order(folder) -> None:
    check_natural_order(folder, "walk")


@pytest.mark.parametrize("inside", ["", "deep/er/"])
def test_a_zip_of_frames_is_read_in_natural_order(folder, inside, tmp_path) -> None:
    check_natural_order(zip_folder(folder, tmp_path / "walk.zip", inside), "walk.zip")


def test_what_a_mac_leaves_beside_the_frames_is_ignored(folder, tmp_path) -> None:
    path = zip_folder(folder, tmp_path / "walk.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/._frame1.png", "junk")
        archive.writestr("._frame2.png", "junk")
    check_natural_order(path, "walk.zip")
    (folder / "._frame1.png").write_text("junk")
    check_natural_order(folder, "walk")


def test_nothing_is_extracted_from_a_zip(folder, tmp_path) -> None:
    path = zip_folder(folder, tmp_path / "walk.zip", "/escape/")
    before = set(tmp_path.parent.rglob("*"))
    assert len(read_all(path)) == 4
    assert set(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("zipped", [False, True])
def test_frames_of_different_sizes_raise_an_input_error_that_names_the_frame(zipped, tmp_path):
    save_pictures(tmp_path / "mixed", ["1.png", "2.png"])
    Image.new("RGB", (31, 20)).save(tmp_path / "mixed" / "3.png")
    path = zip_folder(tmp_path / "mixed", tmp_path / "mixed.zip") if zipped else tmp_path / "mixed"
    with pytest.raises(InputError) as caught:
        read_all(path)
    check_message(caught.value, "'3'", "31×20", "30×20")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tiff"])
def test_a_single_picture_is_a_clip_of_one_frame(suffix, tmp_path) -> None:
    picture = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    Image.fromarray(picture).save(tmp_path / f"one.{suffix}")
    clip = open_clip(tmp_path / f"one.{suffix}")
    assert clip.frame_names == ("one",)
    assert clip.times.tolist() == [0]
    assert np.abs(read_all(tmp_path / f"one.{suffix}")[0].astype(int) - picture).max() < 8


def test_heic_is_read_where_pillow_heif_is_installed(tmp_path) -> None:
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), (200, 30, 30))).save(tmp_path / "one.heic")
    clip = open_clip(tmp_path / "one.heic")
    assert clip.size == (48, 64)
    assert np.abs(next(clip.read())[20, 20].astype(int) - (200, 30, 30)).max() <= 4


def test_pictures_of_every_mode_become_rgb(tmp_path) -> None:
    grey = np.tile(np.arange(30, dtype=np.uint8) * 8, (20, 1))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey).convert("RGBA").save(tmp_path / "alpha.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    for name in ("grey", "alpha", "palette", "sixteen"):
        found = read_all(tmp_path / f"{name}.png")[0]
        assert np.abs(found.astype(int) - grey[..., None]).max() <= 1, name


def test_a_pictures_orientation_is_obeyed(tmp_path) -> None:
    picture = noise_clip(1, (20, 30))[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    assert (read_all(tmp_path / "turned.png")[0] == np.rot90(picture, -1)).all()


# ---- arrays -------------------------------------------------------------------------------------


def test_an_array_is_a_clip() -> None:
    frames = noise_clip(5, (6, 8))
    clip = ArrayClip.of(frames, fps=10)
    assert clip.size == (6, 8)
    assert clip.frame_names == ("00000", "00001", "00002", "00003", "00004")
    np.testing.assert_allclose(clip.times, [0, 0.1, 0.2, 0.3, 0.4])
    assert (np.stack(list(clip.read())) == frames).all()
    assert (np.stack(list(clip.read([1, 4]))) == frames[[1, 4]]).all()


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((0, 6, 8, 3), np.uint8),
        np.zeros((5, 0, 8, 3), np.uint8),
        np.zeros((5, 6, 8, 4), np.uint8),
        np.zeros((6, 8, 3), np.uint8),
        np.zeros((5, 6, 8, 3), np.float32),
    ],
    ids=lambda a: f"{a.shape}-{a.dtype}",
)
def test_arrays_of_another_shape_or_type_are_refused(frames) -> None:
    with pytest.raises(InputError) as caught:
        ArrayClip.of(frames)
    check_message(caught.value, str(frames.shape), str(frames.dtype))


def test_clips_of_images_and_of_arrays_are_resized_alike(folder) -> None:
    clip = open_clip(folder)
    array = ArrayClip.of(np.stack(list(clip.read())))
    for small in (clip.resized(20), array.resized(20)):
        assert small.size == shrunk(clip.size, 20)
        assert next(small.read()).shape == (*small.size, 3)
    np.testing.assert_array_equal(list(clip.resized(20).read()), list(array.resized(20).read()))
    assert open_clip(folder).size == clip.size
