"""Files such as strangers upload: odd ones that are clips all the same, and ones that are not."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .helpers import encode, ffmpeg, noise_clip
from .odd_files import (
    BLACK,
    EPS,
    FASTSTART,
    H264,
    HDR,
    PIXELS,
    SOUND,
    SVG,
    another_codec,
    broken_exif,
    changed,
    cover,
    floats,
    folder,
    folder_of_odd_things,
    gif_of_16000,
    holding,
    huge_directory,
    inner_zip,
    jpegs_of_16000,
    link,
    named,
    noise_in_the_middle,
    one,
    only_sound,
    pages,
    part_of_video,
    picture,
    pixels_of,
    png,
    sixteen_bit_colours,
    sixteen_bit_grey,
    text,
    two_sizes,
    video,
    zip_fields,
    zipped,
)


@dataclass(frozen=True)
class Case:
    """A file, and what comes of it: a clip, or a sentence that holds some words."""

    make: Callable[[Path], object]
    frames: int | tuple[int, ...] = 0  # that can be read; 0: the clip is refused
    size: tuple[int, int] = (48, 64)
    words: str = ""  # of the refusal
    limited: bool = False  # refused for a limit that is higher on one's own machine


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
