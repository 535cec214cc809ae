"""Files such as strangers upload: odd ones that are clips all the same, and ones that are not."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from .helpers import encode, ffmpeg, make_video, noise_clip

H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", 3)
FASTSTART = (*H264, "-movflags", "+faststart")
SOUND = ("-f", "lavfi", "-i", "sine=duration=0.5")
HDR = (
    "-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=none",
    "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A file, and what comes of it: a clip, or a sentence that holds some words."""

    make: Callable[[Path], object]
    frames: int | tuple[int, ...] = 0  # that can be read; 0: the clip is refused
    size: tuple[int, int] = (48, 64)
    words: str = ""  # of the refusal
    limited: bool = False  # refused for a limit that is higher on one's own machine


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

# Limits that these files are judged by are in the tests: 1 MiB, 600 s, 500 frames, 4 megapixels,
# 50 files in a zip, 200 times its size.
CASES: dict[str, Case] = {
    # nothing, or something else
    "empty.mp4": Case(holding(b""), words="is empty"),
    "empty.zip": Case(holding(b""), words="is empty"),
    "empty.png": Case(holding(b""), words="is empty"),
    "empty-folder": Case(Path.mkdir, words="holds no frames"),
    "folder.mp4": Case(Path.mkdir, words="holds no frames"),
    "absent.mp4": Case(lambda path: None, words="no file or folder"),
    "dangling.mp4": Case(lambda p: p.symlink_to("nowhere.mp4"), words="no file or folder"),
    "loop.mp4": Case(lambda p: p.symlink_to(p), words="loop.mp4"),
    "pipe.mp4": Case(os.mkfifo, words="no file or folder"),
    "text.mp4": Case(text, words="no video"),
    "text.gif": Case(text, words="no video"),
    "text.png": Case(text, words="no video, image or zip"),
    "text.zip": Case(text, words="no video, image or zip"),
    "notes.txt": Case(text, words="no video, image or zip"),
    "no-suffix": Case(text, words="no video, image or zip"),
    "one-byte.mp4": Case(holding(b"\0"), words="no video"),
    "zeros.mp4": Case(holding(bytes(5000)), words="no video"),
    "noise.webm": Case(holding(noise_clip(1, (40, 50)).tobytes()), words="no video"),
    "large.mp4": Case(
        changed(video(*FASTSTART), lambda d: d.extend(bytes(2**20))), words="MiB", limited=True
    ),
    # videos that are cut or damaged
    "truncated.mp4": Case(part_of_video(".mp4", 0.5, *H264), words="no video"),
    "truncated-late.mp4": Case(part_of_video(".mp4", 0.6, *FASTSTART), range(1, 20)),
    "truncated.mkv": Case(part_of_video(".mkv", 0.5, *H264), range(1, 20)),
    "truncated.avi": Case(part_of_video(".avi", 0.5, "-c:v", "mpeg4"), range(1, 20)),
    "truncated.gif": Case(part_of_video(".gif", 0.5), range(1, 21)),
    "head.mp4": Case(holding(b"\0\0\0\x14ftypisom\0\0\2\0isom"), words="no video"),
    "head.mkv": Case(holding(b"\x1a\x45\xdf\xa3"), words="no video"),
    "head.gif": Case(holding(b"GIF89a"), words="no video"),
    "head.avi": Case(holding(b"RIFF\xff\xff\xff\xffAVI "), words="no video"),
    "huge-box.mp4": Case(holding(b"\x7f\xff\xff\xffmoov" + bytes(2000)), words="no video"),
    "noisy.mp4": Case(changed(video(*FASTSTART, frames=20), noise_in_the_middle), range(21)),
    "noisy.gif": Case(changed(video(frames=20), noise_in_the_middle), range(21)),
    "noisy.avi": Case(changed(video("-c:v", "mjpeg"), noise_in_the_middle), range(21)),
    "no-frames.mp4": Case(video(*H264, frames=0), words="no video"),
    "no-frames.mkv": Case(video(*H264, frames=0), words="no video"),
    # sound
    "sound.mp4": Case(only_sound, words="no video"),
    "sound.webm": Case(only_sound, words="no video"),
    "sound.avi": Case(only_sound, words="no video"),
    "song-with-cover.mp4": Case(cover, 1),
    # sizes, rates and lengths
    "1x1.mp4": Case(video("-vf", "scale=1:1", "-pix_fmt", "yuv444p"), 5, (1, 1)),
    "1x1.gif": Case(video("-vf", "scale=1:1"), 5, (1, 1)),
    "1x2000.avi": Case(video("-vf", "scale=1:2000", "-c:v", "png", frames=2), 2, (2000, 1)),
    "16000x16000.gif": Case(changed(video(), gif_of_16000), words="larger than"),
    "16000x16000.avi": Case(changed(video("-c:v", "mjpeg"), jpegs_of_16000), words="larger than"),
    "10000x10000.png": Case(holding(png((10000, 10000))), words="10000×10000"),
    "16000x16000.png": Case(holding(png((16000, 16000))), words="too many pixels"),
    "16000x16000.zip": Case(one("1.png", png((16000, 16000))), words="too many pixels"),
    "oblong-pixels.mp4": Case(
        changed(video("-vf", "setsar=2/1", *H264), pixels_of(60000, 1)),
        words="pixels allowed here",
    ),
    "narrow-pixels.mp4": Case(
        changed(video("-vf", "setsar=2/1", *H264), pixels_of(1, 900)), 5, (48, 1)
    ),
    "10000-a-second.mp4": Case(
        lambda p: encode(p, noise_clip(200, (16, 16)), *H264, rate=10000), 200, (16, 16)
    ),
    "two-hours.mp4": Case(
        lambda p: encode(p, noise_clip(73, (16, 16)), *H264, rate="1/100"),
        words="7,300 s",
        limited=True,
    ),
    "a-gap-of-ages.mkv": Case(video("-vf", "setpts='N/TB*10000'", *H264), words="lasts"),
    "many-frames.avi": Case(
        lambda p: encode(p, noise_clip(600, (8, 8)), "-c:v", "mjpeg"), words="frames", limited=True
    ),
    "longer-gaps.mkv": Case(video("-vf", "setpts='N/TB*1000000'", *H264), words="lasts"),
    "late.mkv": Case(video("-output_ts_offset", 90000, *H264), 5),
    # kinds of video
    "hdr.mp4": Case(video(*HDR), 5),
    "ten-bit.mkv": Case(video("-c:v", "libx264", "-pix_fmt", "yuv422p10le"), 5),
    "sixteen-bit.mkv": Case(video("-c:v", "ffv1", "-pix_fmt", "gray16le"), 5),
    "prores.mov": Case(video("-c:v", "prores_ks"), 5),
    "transparent.mov": Case(video("-c:v", "png", "-pix_fmt", "rgba"), 5),
    "transparent.webm": Case(video("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p"), 5),
    "av1.mp4": Case(video("-c:v", "libaom-av1", "-cpu-used", 8), 5),
    "grey.mkv": Case(video("-c:v", "libx264", "-pix_fmt", "gray"), 5),
    "fragmented.mp4": Case(video(*H264, "-movflags", "frag_keyframe+empty_moov"), 5),
    "two-sizes.avi": Case(two_sizes, 6),
    "an-mp4.webm": Case(named(".mp4", *H264), 5),
    "a-gif.mp4": Case(named(".gif"), 5),
    "snow.avi": Case(
        video("-c:v", "snow", "-strict", "-2", "-pix_fmt", "yuv420p"), words="the codec snow"
    ),
    "unknown-codec.mp4": Case(
        changed(video(*FASTSTART), another_codec(b"avc1", b"zzzz")), words="a codec that is"
    ),
    "ts.mp4": Case(named(".ts", *H264), 5),
    "flv.mp4": Case(named(".flv", "-c:v", "flv"), 5),
    "ogg.webm": Case(named(".ogv", "-c:v", "libtheora"), 5),
    "wav.avi": Case(lambda p: ffmpeg(*SOUND, "-f", "wav", p), words="no video"),
    "a-png.mp4": Case(holding(picture()), 1),
    "a-zip.mp4": Case(one("1.png"), 1),
    # pictures
    "cmyk.jpg": Case(holding(picture("JPEG", "CMYK")), 1),
    "sixteen-bit.png": Case(holding(sixteen_bit_grey("PNG")), 1),
    "sixteen-bit.tif": Case(holding(sixteen_bit_grey("TIFF")), 1),
    "sixteen-bit-colours.png": Case(sixteen_bit_colours, 1),
    "floats.tiff": Case(holding(floats()), 1),
    "one-bit.png": Case(holding(picture(mode="1")), 1),
    "transparent.png": Case(holding(picture(mode="LA")), 1),
    "pages.tiff": Case(holding(pages("TIFF")), 2),
    "animated.webp": Case(holding(pages("WEBP")), 2),
    "two-views.jpg": Case(holding(pages("MPO")), 1),
    "broken-exif.jpg": Case(holding(broken_exif()), 1),
    "many-samples.tif": Case(
        holding(picture("TIFF").replace(b"\x15\x01\3\0\1\0\0\0\3", b"\x15\x01\3\0\1\0\0\0\x1c")),
        words="cannot be read",
    ),
    "an-mp4.png": Case(named(".mp4", *H264), 5),
    "a-gif.png": Case(holding(picture("GIF", "P")), 1),
    "eps.png": Case(holding(EPS), words="no video, image or zip"),
    "svg.png": Case(holding(SVG), words="no video, image or zip"),
    "truncated.jpg": Case(holding(picture("JPEG")[:700]), words="cannot be read"),
    "truncated.png": Case(holding(picture()[:2000]), words="cannot be read"),
    "long-text.png": Case(
        holding(png((48, 64), b"zTXta\0\0" + zlib.compress(bytes(2**27)))), words="cannot be read"
    ),
    # zips
    "no-files.zip": Case(zipped(), words="holds no frames"),
    "only-text.zip": Case(one("notes.txt"), words="holds no frames"),
    "text-inside.zip": Case(one("1.png", b"I am no picture."), words="'1'"),
    "nameless.zip": Case(one(""), words="holds no frames"),
    "nested.zip": Case(one("inner.zip", inner_zip()), words="holds no frames"),
    "nested-as-picture.zip": Case(one("1.png", inner_zip()), words="cannot be read"),
    "password.zip": Case(
        changed(one("1.png"), lambda d: zip_fields(d, 6, 8, b"\1\0")), words="password"
    ),
    "bomb.zip": Case(
        zipped(
            *((f"{i}.bmp", picture("BMP", pixels=BLACK)) for i in range(3)),
            method=zipfile.ZIP_LZMA,
        ),
        words="times its size",
    ),
    "bomb-as-member.zip": Case(
        one("1.png", bytes(40_000_000)), words="frames that are too large", limited=True
    ),
    "many.zip": Case(
        zipped(*((f"{i}.txt", b"") for i in range(51))), words="51 files", limited=True
    ),
    "parent.zip": Case(zipped(("../../1.png", picture()), ("../2.png", picture())), 2),
    "absolute.zip": Case(one("/etc/1.png"), 1),
    "backslashes.zip": Case(one("..\\..\\1.png"), 1),
    "link.zip": Case(link, words="links"),
    "folder-named-png.zip": Case(one("1.png/", b""), words="holds no frames"),
    "twice.zip": Case(zipped(("a/1.png", picture()), ("b/1.png", picture())), words="one name"),
    "two-sizes.zip": Case(
        zipped(("1.png", picture()), ("2.png", picture(pixels=PIXELS[1:]))), words="64×47"
    ),
    "truncated.zip": Case(
        changed(one("1.png"), lambda d: d.__delitem__(slice(3000, None))), words="not a readable"
    ),
    "wrong-sum.zip": Case(
        changed(one("1.png"), lambda d: zip_fields(d, 14, 16, b"\0\0\0\0")), words="cannot be read"
    ),
    "unknown-method.zip": Case(
        changed(one("1.png"), lambda d: zip_fields(d, 8, 10, b"\x63\0")), words="cannot be read"
    ),
    "no-utf8.zip": Case(
        changed(one("ä.png"), another_codec("ä".encode(), b"\xff\xff")), words="not a readable zip"
    ),
    "long-name.zip": Case(one(f"{'n' * 300}.png"), words="is too long; shorten it"),
    "lying-size.zip": Case(
        changed(one("1.png"), lambda d: zip_fields(d, 22, 24, struct.pack("<I", 10**7))),
        words="times its size",
    ),
    "huge-directory.zip": Case(changed(one("1.png"), huge_directory), words="huge-directory.zip"),
    "long-number.zip": Case(one(f"{'9' * 150}.png"), 1),
    "odd-names.zip": Case(
        zipped(*((name, picture()) for name in ("-i.png", "a\nb.png", "é'\".png", "%03d.png"))), 4
    ),
    # folders
    "folder-of-two-sizes": Case(
        folder(a_png=picture(), b_png=picture(pixels=PIXELS[1:])), words="'b'"
    ),
    "folder-of-text": Case(folder(a_png=b"I am no picture."), words="cannot be read"),
    "folder-of-odd-things": Case(folder_of_odd_things, 1),
}

NAMES = [
    "a b.mp4", "a'b.mp4", 'a"b.mp4', "a\nb.mp4", "a\tb\r.mp4", "日本語 é.mp4", "🎯.mp4", "-i.mp4",
    "--out.mp4", "%03d.mp4", "file:x.mp4", "http:x.mp4", "pipe:0.mp4", "concat:a|b.mp4",
    "data:,x.mp4", "$(touch x).mp4", "a;b&c|d.mp4", "\u202egpj.mp4", "a\\b.mp4", "*.mp4", "[1].mp4",
    f"{'n' * 190}.mp4", "..mp4", "~.mp4", "<b>x.mp4", "{name!r}.mp4",
]  # fmt: skip
