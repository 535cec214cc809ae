"""Uploads that try to make a decoder read other files or call a server: none gets either.

That a plain ffmpeg falls for some of them is tested as well, so that silence means something.
"""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from bavos_core import InputError, open_clip

from .attacks import ATTACKS, MAGENTA, SECRET, Target
from .helpers import encode, ffmpeg, make_video
from .odd_files import H264


@pytest.fixture
def target(tmp_path) -> Iterator[Target]:
    target = Target(tmp_path, [], [])
    target.text.write_text(SECRET * 100)
    frames = np.full((5, 48, 64, 3), MAGENTA, np.uint8)
    encode(target.video, frames, *H264)
    ffmpeg("-i", target.video, "-c", "copy", tmp_path / "secret.ts")
    Image.new("RGB", (64, 48), MAGENTA).save(tmp_path / "secret001.png")
    target.secrets.extend(tmp_path.iterdir())
    for path in target.secrets:
        os.utime(path, (1, path.stat().st_mtime))

    def answer() -> None:
        while True:
            with suppress(OSError):
                caller, _ = server.accept()
                caller.settimeout(1)
                target.calls.append(caller.recv(1000))
                caller.close()
            if server.fileno() < 0:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        target.port = server.getsockname()[1]
        threading.Thread(target=answer, daemon=True).start()
        yield target
        server.shutdown(socket.SHUT_RDWR)


def shows_the_secret(path: str | Path) -> bool:
    """Whether any frame shows magenta, as far as the clip can be read."""
    frames = []
    with suppress(InputError):
        frames = list(open_clip(path).read())
    return any((np.abs(f.astype(int) - MAGENTA).max(-1) < 40).any() for f in frames)


@pytest.mark.parametrize(
    ("attack", "suffix"),
    [(a, suffix) for a, (_, suffixes) in ATTACKS.items() for suffix in suffixes],
)
def test_an_upload_reaches_no_server_and_no_other_file(attack, suffix, target) -> None:
    data = ATTACKS[attack][0](target)
    path = target.folder / f"upload{suffix}"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    assert not shows_the_secret(path)
    with suppress(InputError):
        open_clip(path, max_side=32)
    assert target.untouched()


@pytest.mark.parametrize("attack", ["external-track", "subtitled", "attached"])
def test_what_is_sound_in_such_a_film_is_shown(attack, target) -> None:
    suffix = ATTACKS[attack][1][0]
    path = target.folder / f"upload{suffix}"
    path.write_bytes(ATTACKS[attack][0](target))
    try:
        assert len(list(open_clip(path).read())) >= 1
    except InputError:
        assert attack == "external-track"  # its pictures are elsewhere, so there are none
    assert target.untouched()


@pytest.mark.parametrize(
    "name", ["secret%03d.png", "secret*.png", "secret%d.mp4", "concat:secret.ts|secret.ts",
             "subfile,,start,0,end,999,,:secret.mp4", "file:secret.mp4", "async:secret.mp4"],
)  # fmt: skip
def test_a_name_that_means_other_files_means_none(name, target, monkeypatch) -> None:
    monkeypatch.chdir(target.folder)
    with pytest.raises(InputError):
        open_clip(name)  # there is no such file
    suffix = Path(name).suffix
    Path(name if suffix != ".ts" else f"{name}.mp4").write_bytes(b"Not a clip at all.")
    assert not shows_the_secret(name)
    assert target.untouched()


def test_an_address_is_a_path(target, monkeypatch) -> None:
    with pytest.raises(InputError):
        open_clip(target.url)
    monkeypatch.chdir(target.folder)
    local = Path(f"http:/127.0.0.1:{target.port}/secret.mp4")
    local.parent.mkdir(parents=True)
    make_video(target.folder / "plain.mp4", *H264).rename(local)
    assert len(list(open_clip(target.url).read())) == 5
    assert target.untouched()


# ---- what a plain ffmpeg does -------------------------------------------------------------------


def plain_ffmpeg(path: Path, *options: object) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "quiet", *options, "-i", path]
    with suppress(subprocess.TimeoutExpired):
        subprocess.run([*map(str, command), "-f", "null", "-"], timeout=10)


@pytest.mark.parametrize(
    ("attack", "options"),
    [
        ("playlist", ("-f", "hls", "-protocol_whitelist", "file,http,tcp", "-extension_picky", 0)),
        ("concat", ("-f", "concat", "-safe", 0)),
        ("external-track", ("-enable_drefs", 1, "-use_absolute_path", 1)),
    ],
)  # fmt: skip
def test_the_same_files_lead_a_plain_ffmpeg_astray(attack, options, target) -> None:
    data = ATTACKS[attack][0](target)
    path = target.folder / f"upload{ATTACKS[attack][1][0]}"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    assert target.untouched()
    plain_ffmpeg(path, *options)
    if not target.calls and mounted_without_times(target.folder):
        pytest.skip("This file system does not tell when files are read.")
    assert not target.untouched()


def mounted_without_times(folder: Path) -> bool:
    probe = folder / "probe"
    probe.write_text("x")
    os.utime(probe, (1, probe.stat().st_mtime))
    probe.read_text()
    return probe.stat().st_atime == 1
