"""Files that are no clips, and clips beyond a limit, are refused in a sentence."""

import struct
import wave
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from bavos_core import InputError, Limits, open_clip

from .helpers import (
    check_message,
    encode,
    ffmpeg,
    make_video,
    noise_clip,
    read_all,
    save_pictures,
    zip_folder,
)  # fmt: skip
from .odd_files import H264

# ---- what is refused ----------------------------------------------------------------------------


def huge_png() -> bytes:
    """A PNG that says it has 60000×60000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(bytes(1000)), b"IEND")
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def zip_of(path: Path, content: bytes, *, corrupt: bool = False) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.png", content)
    if corrupt:  # the bytes after the entry's header
        data = bytearray(path.read_bytes())
        data[40:48] = b"\xff" * 8
        path.write_bytes(data)


def sound(path: Path) -> None:
    with wave.open(str(path.with_suffix(".wav")), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000))
    ffmpeg("-i", path.with_suffix(".wav"), "-c:a", "aac", "-f", "mp4", path)


REFUSED = {
    "empty.mp4": lambda p: p.write_bytes(b""),
    "empty.zip": lambda p: zipfile.ZipFile(p, "w").close(),
    "empty-folder": lambda p: p.mkdir(),
    "text.mp4": lambda p: p.write_text("I am no video.\n" * 100),
    "text.gif": lambda p: p.write_text("I am no video.\n" * 100),
    "text.png": lambda p: p.write_text("I am no picture."),
    "text.zip": lambda p: p.write_text("I am no zip."),
    "notes.txt": lambda p: p.write_text("I am just a text."),
    "noise.webm": lambda p: p.write_bytes(noise_clip(1, (40, 50)).tobytes()),
    "sound.mp4": sound,
    "huge.png": lambda p: p.write_bytes(huge_png()),
    "huge.zip": lambda p: zip_of(p, huge_png()),
    "text-inside.zip": lambda p: zip_of(p, b"I am no picture."),
    "corrupt.zip": lambda p: zip_of(p, noise_clip(1, (9, 9)).tobytes(), corrupt=True),
    "absent.mp4": lambda p: None,
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_clip_is_refused_with_a_sentence_that_names_it(name, tmp_path) -> None:
    REFUSED[name](tmp_path / name)
    with pytest.raises(InputError) as caught:
        read_all(tmp_path / name)
    check_message(caught.value)
    assert name in str(caught.value) or "'1'" in str(caught.value) or "'huge'" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)  # a page must not show where files lie


PLAYLISTS = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.5,\nsecret.ts\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile secret.ts\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("name", ["list.mp4", "list.mkv", "list.gif"])
def test_a_play_list_under_a_videos_name_opens_no_other_file(kind, name, tmp_path) -> None:
    make_video(tmp_path / "secret.ts", *H264)
    (tmp_path / name).write_text(PLAYLISTS[kind])
    with pytest.raises(InputError) as caught:
        read_all(tmp_path / name)
    check_message(caught.value, name)


def test_two_frames_of_one_name_are_refused(tmp_path) -> None:
    save_pictures(tmp_path / "twice", ["1.png", "1.jpg"])
    with pytest.raises(InputError) as caught:
        open_clip(tmp_path / "twice")
    check_message(caught.value, "'twice'", "two frames of one name")


# ---- limits -------------------------------------------------------------------------------------


def limited_video(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4", *H264, frames=7)  # 48×64, 0.6 s


def limited_zip(tmp_path: Path) -> Path:
    save_pictures(tmp_path / "in", [f"{i}.png" for i in range(7)], size=(48, 64))
    return zip_folder(tmp_path / "in", tmp_path / "clip.zip")


@pytest.mark.parametrize(
    ("make", "limit", "enough", "words"),
    [
        (limited_video, "file_mib", 1, "MiB"),
        (limited_video, "seconds", 0.71, "0.7 s"),
        (limited_video, "frames", 7, "frames"),
        (limited_video, "pixels", 48 * 64, "pixels"),
        (limited_zip, "frames", 7, "7 frames, and the limit here is 6 frames"),
        (limited_zip, "seconds", 0.3, "s, and the limit here is"),
        (limited_zip, "pixels", 48 * 64, "64×48"),
        (limited_zip, "zip_members", 7, "7 files, and the limit here is 6 files"),
        (limited_zip, "zip_ratio", 2, "times its size"),
    ],
)
def test_a_clip_at_a_limit_is_read_and_one_beyond_is_refused(
    make, limit, enough, words, tmp_path
) -> None:
    path = make(tmp_path)
    assert len(list(open_clip(path, limits=Limits(**{limit: enough})).read())) == 7
    less = enough - 1 if isinstance(enough, int) and enough > 2 else 0.1
    with pytest.raises(InputError) as caught:
        open_clip(path, limits=Limits(**{limit: 0 if limit == "file_mib" else less}))
    check_message(caught.value, words)


def test_many_chosen_frames_are_really_those(tmp_path) -> None:
    frames = np.zeros((700, 16, 16, 3), np.uint8)
    frames[:] = (np.arange(700) % 251)[:, None, None, None]
    clip = open_clip(encode(tmp_path / "many.avi", frames, "-c:v", "ffv1"))
    chosen = list(range(1, 700, 2))  # more than ffmpeg is given as a list
    assert (np.stack(list(clip.read(chosen))) == frames[chosen]).all()
    assert len(list(clip.read(range(600)))) == 600


def test_no_frame_that_is_wanted_is_no_frame(tmp_path) -> None:
    assert list(open_clip(limited_video(tmp_path)).read([])) == []
    assert list(open_clip(limited_zip(tmp_path)).read([])) == []
