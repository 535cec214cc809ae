"""Pictures are read from tars and folders, know their neighbours, and bad ones are left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bavos_core.errors import InputError
from bavos_core.pretraining import Pictures, load_pictures

from .helpers import TINY, jpeg, write_frames, write_tar


def test_photographs_stand_alone_and_frames_know_their_clip(pictures: Pictures) -> None:
    assert pictures.pixels.shape == (14, 3, 32, 32)
    assert pictures.first.tolist() == [*range(6), *[6] * 5, *[11] * 3]
    assert pictures.last.tolist() == [*range(6), *[10] * 5, *[13] * 3]
    assert pictures.photographs.tolist() == [*range(6)]
    assert pictures.of_clips.tolist() == [*range(6, 14)]
    assert np.allclose(pictures.aspects, 1.5)
    assert pictures.notes == ()


def test_pictures_are_squashed_to_squares_and_keep_their_colours(tmp_path: Path) -> None:
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 30:] = (200, 100, 50)
    Image.fromarray(pixels).save(tmp_path / "half.png")
    found = load_pictures([tmp_path], TINY)
    left, right = found.pixels[0, :, :, 2], found.pixels[0, :, :, -3]
    assert (left == 0).all()
    assert (right.T.numpy() == (200, 100, 50)).all()
    assert found.aspects.tolist() == [3.0]


def test_what_cannot_be_read_is_left_out_with_a_note(tmp_path: Path) -> None:
    good, bad = jpeg(0), jpeg(1)[:100]
    tar = write_tar(tmp_path / "some.tar", {"a.jpg": good, "b.jpg": bad, "notes.txt": b"no"})
    clip = write_frames(tmp_path / "clips" / "c", 3, seed=0)
    (clip / "00001.jpg").write_bytes(bad)
    found = load_pictures([tar, tmp_path / "clips"], TINY)
    assert len(found) == 2  # the photograph, and the frame before the damaged one
    assert [note.split(" is left out")[0] for note in found.notes] == ["b.jpg", "c"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda room: room / "absent", "There is no file or folder 'absent'; check the path."),
        (lambda room: room, "There is no picture to learn from."),
        (lambda room: write_tar(room / "e.tar", {"x.txt": b""}), "There is no picture to learn"),
    ],
)
def test_sources_without_pictures_are_refused(make, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        load_pictures([make(tmp_path)], TINY)


def test_a_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pictures.tar"
    path.write_bytes(jpeg(0))
    with pytest.raises(InputError, match=r"'pictures.tar' is no readable tar; pack it again\."):
        load_pictures([path], TINY)


def test_more_pictures_than_memory_allows_are_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "many.tar", {f"{i}.jpg": jpeg(i) for i in range(3)})
    large = replace(TINY, side=512, cache_mib=2)  # 0.75 MiB each
    with pytest.raises(InputError, match=r"more than the 2 MiB of memory allowed"):
        load_pictures([tmp_path / "many.tar"], large)


def test_other_pictures_have_another_fingerprint(sources: list[Path], pictures: Pictures) -> None:
    assert load_pictures(sources, TINY).fingerprint == pictures.fingerprint
    assert load_pictures(sources[:1], TINY).fingerprint != pictures.fingerprint
