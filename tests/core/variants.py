"""Further files of each kind in tests/cases/README.md: other codecs, containers and causes.

Most show number bars: a frame's number in eight bars at its top (bit k is bar k, bright is 1).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from .helpers import encode, ffmpeg

Make = Callable[[Path], object]
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
B_FRAMES = (*H264, "-bf", 2, "-g", 8)
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none")
RED = (200, 30, 30)
HIDDEN = (255, 0, 255)  # colour of what is transparent


def numbered(count: int, first: int = 0, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """Frames (count, H, W, 3) uint8 with number bars above a square that moves."""
    height, width = size
    frames = np.full((count, height, width, 3), 60, np.uint8)
    for i, frame in enumerate(frames):
        for k in range(8):
            bar = slice(k * width // 8, (k + 1) * width // 8)
            frame[: height // 3, bar] = 235 if (first + i) >> k & 1 else 20
        frame[height // 2 : -8, 4 + i : 24 + i] = RED
    return frames


def film(*encoding: object, count: int = 30, rate: object = 10, first: int = 0, **size) -> Make:
    return lambda path: encode(path, numbered(count, first, **size), *encoding, rate=rate)


def copied(make: Make, suffix: str, *options: object, before: tuple = ()) -> Make:
    """Made as another kind of file and copied without recoding."""

    def copy(path: Path) -> None:
        whole = path.with_name(f"whole{suffix}")
        make(whole)
        ffmpeg(*before, "-i", whole, "-c", "copy", *options, path)
        whole.unlink()

    return copy


def beheaded(make: Make, share: float) -> Make:
    """Without its first packets of 188 bytes, as a recording that was switched on late."""

    def behead(path: Path) -> None:
        make(path)
        data = path.read_bytes()
        path.write_bytes(data[int(len(data) * share) // 188 * 188 :])

    return behead


def joined(*parts: tuple, codec: tuple = H264) -> Make:
    """Ten frames with each of these options, one after the other in one transport stream."""

    def join(path: Path) -> None:
        data = b""
        for i, options in enumerate(parts):
            part = path.with_name("part.ts")
            offset = ("-output_ts_offset", i)
            film(*codec, *options, *offset, count=10, first=10 * i)(part)
            data += part.read_bytes()
            part.unlink()
        path.write_bytes(data)

    return join


def listed(*parts: tuple) -> Make:
    """The same, joined by ffmpeg's list of files."""

    def join(path: Path) -> None:
        names = [path.with_name(f"part{i}.mkv") for i in range(len(parts))]
        for i, options in enumerate(parts):
            film(*options, count=10, first=10 * i)(names[i])
        path.with_suffix(".txt").write_text("".join(f"file {name}\n" for name in names))
        ffmpeg("-f", "concat", "-safe", 0, "-i", path.with_suffix(".txt"), "-c", "copy", path)

    return join


def edits(*entries: tuple[int, int, int]) -> Make:
    """An mp4 with this edit list: durations in ms, starts in ticks of 1/10240 s, rates 0 or 1."""

    def edit(path: Path) -> None:
        film(*H264)(path)
        data = bytearray(path.read_bytes())
        table = b"".join(struct.pack(">IiI", a, b, rate << 16) for a, b, rate in entries)
        place = data.index(b"elst") - 4
        old = struct.unpack(">I", data[place : place + 4])[0]
        new = struct.pack(">I4sII", 16 + len(table), b"elst", 0, len(entries)) + table
        data[place : place + old] = new
        for box in (b"edts", b"trak", b"moov"):  # the film's bytes lie before them
            at = data.index(box) - 4
            size = struct.unpack(">I", data[at : at + 4])[0] + len(new) - old
            data[at : at + 4] = struct.pack(">I", size)
        path.write_bytes(data)

    return edit


def with_more(more: Make, suffix: str, *options: object, first: Make | None = None) -> Make:
    """A film with the streams of another file."""

    def join(path: Path) -> None:
        one, two = path.with_name("one.mkv"), path.with_name(f"two{suffix}")
        (first or film(*H264))(one)
        more(two)
        ffmpeg("-i", one, "-i", two, *options, path)
        one.unlink()
        two.unlink()

    return join


def attached(path: Path) -> None:
    """A film in Matroska with a cover."""
    film(*H264)(path.with_name("plain.mkv"))
    still("PNG")(path.with_name("cover.png"))
    cover = ("-attach", path.with_name("cover.png"), "-metadata:s:t", "mimetype=image/png")
    ffmpeg("-i", path.with_name("plain.mkv"), "-c", "copy", *cover, path)


def song(*options: object) -> Make:
    """Sound with a cover."""

    def make(path: Path) -> None:
        cover = path.with_name("cover.png")
        still("PNG")(cover)
        ffmpeg(
            "-f", "lavfi", "-i", "sine=duration=0.5", "-i", cover, "-map", 0, "-map", 1,
            "-c:v", "copy", "-disposition:v:0", "attached_pic", *options, path,
        )  # fmt: skip

    return make


def still(kind: str, mode: str = "RGB", colour: object = RED, **options) -> Make:
    return lambda path: Image.new(mode, (96, 64), colour).save(path, kind, **options)


def plain(*encoding: object, size=(96, 128), colour=RED, before: tuple = ()) -> Make:
    """Three frames of one colour."""

    def make(path: Path) -> None:
        source = f"color=c=0x{bytes(colour).hex()}:s={size[1]}x{size[0]}:r=10,format=gbrp"
        ffmpeg(*before, "-f", "lavfi", "-i", source, "-frames:v", 3, *encoding, path)

    return make


def tagged(matrix: str, ffmpegs: str, *encoding: object, span: str = "tv", **options) -> Make:
    """One colour, converted by a matrix of the filter `scale` and tagged so."""
    convert = ("-vf", f"scale=out_color_matrix={matrix}:out_range={span}")
    codec = encoding or (*H264[:-1], "yuv444p", "-qp", 0)
    return plain(*convert, "-colorspace", ffmpegs, "-color_range", span, *codec, **options)


def wide(primaries: str, transfer: str, matrix: str, *encoding: object, npl: int = 100) -> Make:
    """One colour, converted by zimg from BT.709 into another colour space."""
    convert = f"zscale=tin=709:pin=709:min=gbr:rin=full:p={primaries}:t={transfer}:m={matrix}"
    return plain("-vf", f"{convert}:r=tv:npl={npl},format=yuv444p10le", *encoding)


def in_alpha(*encoding: object) -> Make:
    """Three frames: the left half is red, the right one magenta that is transparent."""

    def make(path: Path) -> None:
        raw = path.with_name("raw.rgba")
        raw.write_bytes(half_clear().tobytes() * 3)
        layout = ("-f", "rawvideo", "-pix_fmt", "rgba", "-s", "128x96", "-r", 10)
        ffmpeg(*layout, "-i", raw, *encoding, path)

    return make


def half_clear() -> np.ndarray:
    """A picture (96, 128, 4) uint8: red on the left; on the right magenta, transparent."""
    picture = np.zeros((96, 128, 4), np.uint8)
    picture[:, :64] = (*RED, 255)
    picture[:, 64:] = (*HIDDEN, 0)
    return picture


def clear_still(kind: str, mode: str, **options) -> Make:
    return lambda path: Image.fromarray(half_clear()).convert(mode).save(path, kind, **options)


def clear_palette(kind: str) -> Make:
    """Colour 1 of a palette is transparent."""

    def make(path: Path) -> None:
        image = Image.fromarray((half_clear()[..., 3] == 0).astype(np.uint8), "P")
        image.putpalette([*RED, *HIDDEN])
        image.save(path, kind, transparency=1)

    return make


def pages(kind: str, *, milliseconds: object = 100, count: int = 12, **options) -> Make:
    def make(path: Path) -> None:
        first, *more = (Image.fromarray(frame) for frame in numbered(count))
        timed = {} if milliseconds is None else {"duration": milliseconds}
        first.save(path, kind, save_all=True, append_images=more, **timed, **options)

    return make


def sparse(kind: str, **options) -> Make:
    """Pages that are transparent except for a patch, over what they leave standing or not."""

    def make(path: Path) -> None:
        images = []
        for i in range(4):
            picture = np.zeros((96, 128, 4), np.uint8)
            picture[:, 32 * i : 32 * i + 32] = (*RED, 255)
            images.append(Image.fromarray(picture))
        images[0].save(path, kind, save_all=True, append_images=images[1:], duration=100, **options)

    return make


def combed(*encoding: object, size: tuple[int, int] = (96, 128)) -> Make:
    """Frames woven from two fields, between which a bar moves by 16 pixels."""
    frames = np.full((12, *size, 3), 40, np.uint8)
    for i, frame in enumerate(frames):
        for field in range(2):
            left = 8 + (2 * i + field) * 4
            frame[field::2, left : left + size[1] // 4] = 220
    return lambda path: encode(path, frames, *encoding, rate=25)


def profile(primaries: list[float], *, gamma: float = 2.2, grey: bool = False) -> bytes:
    """An ICC profile. primaries: the XYZ (D50) of red, green and blue, a row each."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    white = b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249)
    tags = {b"wtpt": white, b"kTRC" if grey else b"rTRC": curve}
    if not grey:
        tags |= {b"gTRC": curve, b"bTRC": curve}
        for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ")):
            tags[name] = b"XYZ \0\0\0\0" + fixed(*primaries[3 * i : 3 * i + 3])
    text = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(78)
    tags |= {b"desc": text + bytes(-len(text) % 4), b"cprt": b"text\0\0\0\0x\0\0\0"}
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, at + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"none", 0x02100000, b"mntr",
                       b"GRAY" if grey else b"RGB ", b"XYZ ") + bytes(12) + b"acsp"  # fmt: skip
    return (head + bytes(28) + fixed(0.9642, 1, 0.8249) + bytes(48)) + table + body


P3 = [0.51512, 0.2412, -0.00105, 0.29198, 0.69225, 0.04189, 0.1571, 0.06657, 0.78407]
PROPHOTO = [0.79767, 0.28804, 0.0, 0.13519, 0.71188, 0.0, 0.03134, 0.00009, 0.82491]


def profiled(kind: str, primaries: list[float], *, gamma: float = 2.2, **options) -> Make:
    """Red of sRGB in another RGB space, by that space's own numbers."""
    to_xyz = np.array([0.43607, 0.22249, 0.01392, 0.38515, 0.71687, 0.09708,
                       0.14307, 0.06061, 0.7141]).reshape(3, 3).T  # of sRGB, D50  # fmt: skip
    value = np.array(RED) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    own = np.linalg.solve(np.array(primaries).reshape(3, 3).T, to_xyz @ light)
    colour = tuple(round(255 * float(max(c, 0)) ** (1 / gamma)) for c in own)
    return still(kind, colour=colour, icc_profile=profile(primaries, gamma=gamma), **options)


def values(kind: str, array: np.ndarray) -> Make:
    return lambda path: Image.fromarray(array).save(path, kind)
