"""Limits on clips, frames and patches."""

import zipfile

import pytest

from bavos_core import InputError
from demo.presets import Preset

from .helpers import FEW, ignore, sentence


def test_a_file_over_the_limit_is_refused_before_it_is_read(limited, tmp_path) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(2**20 + 1)
    with pytest.raises(InputError) as caught:
        limited.segment(str(large), "descriptors", FEW, ignore)
    assert "1 MiB" in sentence(caught)


def test_a_file_just_at_the_limit_is_not_too_large(limited, tmp_path, small_clip) -> None:
    full = tmp_path / "full.zip"
    with zipfile.ZipFile(full, "w") as archive:
        archive.writestr("notes.txt", "")
    full.write_bytes(full.read_bytes().rjust(2**20, b"\0"))  # a zip may begin with anything
    assert full.stat().st_size == 2**20
    with pytest.raises(InputError) as caught:
        limited.clips.open(str(full))
    assert "no frames" in sentence(caught)


def test_a_clip_that_lasts_too_long_is_refused(limited, small_clip) -> None:
    with pytest.raises(InputError) as caught:
        limited.segment(str(small_clip), "descriptors", FEW, ignore)
    message = sentence(caught)
    assert "limit" in message
    assert "1 s" in message


@pytest.mark.parametrize("path", [None, ""])
def test_no_clip_is_bad_input(service, path) -> None:
    with pytest.raises(InputError) as caught:
        service.segment(path, "descriptors", FEW, ignore)
    assert "clip" in sentence(caught)


def test_no_more_frames_are_analysed_than_the_settings_allow(service, small_clip) -> None:
    found = service.segment(str(small_clip), "descriptors", Preset(1000, 192), ignore)
    assert len(found.analysis.analysed) == 3


def test_more_patches_than_the_limit_are_bad_input(service, small_clip) -> None:
    with pytest.raises(InputError) as caught:
        service.segment(str(small_clip), "descriptors", Preset(2, 10**6), ignore)
    assert "4096" in sentence(caught)
