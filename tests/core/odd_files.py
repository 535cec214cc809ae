"""Writers of odd and broken files."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from .helpers import ffmpeg, make_video, noise_clip

H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", 3)
FASTSTART = (*H264, "-movflags", "+faststart")
SOUND = ("-f", "lavfi", "-i", "sine=duration=0.5")
HDR = (
    "-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=none",
    "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc",
)  # fmt: skip


# ---- bytes --------------------------------------------------------------------------------------


def video(*encoding: object, **options) -> Callable[[Path], object]:
    return lambda path: make_video(path, *encoding, **options)


def named(suffix: str, *encoding: object, **options) -> Callable[[Path], object]:
    """A video that is of another kind than its name says."""
    return lambda path: make_video(path.with_suffix(suffix), *encoding, **options).rename(path)


def part_of_video(
    suffix: str, share: float, *encoding: object, frames=20
) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        other = path.with_name(f"whole{suffix}")
        data = make_video(other, *encoding, frames=frames).read_bytes()
        other.unlink()
        path.write_bytes(data[: int(len(data) * share)])

    return make


def changed(make: Callable[[Path], object], change: Callable[[bytearray], object]):
    """A file made as always, whose bytes are changed then."""

    def made(path: Path) -> None:
        make(path)
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)

    return made


def holding(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def noise_in_the_middle(data: bytearray) -> None:
    third = len(data) // 3
    data[third : 2 * third] = np.random.default_rng(0).bytes(third)


def gif_of_16000(data: bytearray) -> None:
    """The size of the screen and of its first picture."""
    first = data.index(b"\x2c", 13)
    data[6:10] = data[first + 5 : first + 9] = struct.pack("<HH", 16000, 16000)


def jpegs_of_16000(data: bytearray) -> None:
    """The size in every JPEG of an AVI, and in its header."""
    header = data.index(b"strf") + 8
    data[header + 4 : header + 12] = struct.pack("<ii", 16000, 16000)
    place = data.find(b"\xff\xc0")
    while place >= 0:
        data[place + 5 : place + 9] = struct.pack(">HH", 16000, 16000)
        place = data.find(b"\xff\xc0", place + 2)


def another_codec(old: bytes, new: bytes) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        assert old in data
        data[:] = data.replace(old, new)

    return change


def pixels_of(width: int, height: int) -> Callable[[bytearray], None]:
    """The shape of a pixel, in an MP4 that says one."""

    def change(data: bytearray) -> None:
        place = data.index(b"pasp") + 4
        data[place : place + 8] = struct.pack(">II", width, height)

    return change


def two_sizes(path: Path) -> None:
    """One stream whose pictures grow in the middle."""
    parts = []
    joined = path.with_name("joined.mjpeg")
    for width in (64, 96):
        make_video(joined, "-vf", f"scale={width}:48", frames=3)
        parts.append(joined.read_bytes())
    joined.write_bytes(b"".join(parts))
    ffmpeg("-r", 10, "-i", joined, "-c", "copy", path)
    joined.unlink()


def cover(path: Path) -> None:
    """A song with a picture."""
    picture = path.with_suffix(".png")
    Image.new("RGB", (64, 48), "red").save(picture)
    ffmpeg(*SOUND, "-i", picture, "-map", 0, "-map", 1, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p",
           "-c:a", "aac", "-disposition:v", "attached_pic", path)  # fmt: skip
    picture.unlink()


def only_sound(path: Path) -> None:
    ffmpeg(*SOUND, path)


# ---- pictures -----------------------------------------------------------------------------------


PIXELS = noise_clip(1, (48, 64))[0]


def picture(kind="PNG", mode="RGB", pixels: np.ndarray = PIXELS, **options) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def png(size: tuple[int, int], *more: bytes) -> bytes:
    """A PNG that says it has this size (H, W), with hardly any pixels in it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", *size[::-1], 8, 2, 0, 0, 0)
    chunks = (header, *more, b"IDAT" + zlib.compress(bytes(1000)), b"IEND")
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def sixteen_bit_colours(path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x48", "-frames:v", 1, "-pix_fmt", "rgb48be", path)


def pages(kind: str) -> bytes:
    buffer = BytesIO()
    others = [Image.fromarray(PIXELS[::-1])]
    Image.fromarray(PIXELS).save(buffer, kind, save_all=True, append_images=others)
    return buffer.getvalue()


def floats() -> bytes:
    buffer = BytesIO()
    Image.fromarray(PIXELS[..., 0].astype(np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


def sixteen_bit_grey(kind: str) -> bytes:
    buffer = BytesIO()
    Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257).save(buffer, kind)
    return buffer.getvalue()


def broken_exif() -> bytes:
    return picture("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40)


# ---- zips and folders ---------------------------------------------------------------------------


def zipped(*entries: tuple[str, bytes], method=zipfile.ZIP_DEFLATED) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in entries:
                archive.writestr(zipfile.ZipInfo(name), data, method)

    return make


def one(name: str, data: bytes | None = None) -> Callable[[Path], object]:
    return zipped((name, picture() if data is None else data))


def zip_fields(data: bytearray, in_local: int, in_central: int, value: bytes) -> None:
    """The same field of every entry, in its own header and in the directory."""
    for mark, offset in ((b"PK\3\4", in_local), (b"PK\1\2", in_central)):
        place = data.find(mark)
        while place >= 0:
            data[place + offset : place + offset + len(value)] = value
            place = data.find(mark, place + 4)


def link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("1.png")
        entry.create_system, entry.external_attr = 3, 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")


def inner_zip() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("1.png", picture())
    return buffer.getvalue()


def huge_directory(data: bytearray) -> None:
    """An end record that says the directory has 2 GB, of a file that seems as large."""
    end = data.rindex(b"PK\5\6")
    data[end + 12 : end + 16] = struct.pack("<I", 2**31)


def folder(**files: bytes) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.mkdir()
        for name, data in files.items():
            (path / name.replace("_", ".")).write_bytes(data)

    return make


def folder_of_odd_things(path: Path) -> None:
    """One frame beside a folder, a pipe and a dangling link that are named like frames."""
    folder(a_png=picture())(path)
    (path / "b.png").mkdir()
    (path / "c.png").symlink_to("nowhere.png")
    os.mkfifo(path / "d.png")


def text(path: Path) -> None:
    path.write_text("Shopping list: bread, milk, a tripod.\n" * 50)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\n(x) print\n%%EOF\n"
BLACK = np.zeros((1500, 2000, 3), np.uint8)
