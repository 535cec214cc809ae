"""At least three more files of each kind in tests/cases/README.md, made when they are needed."""

from pathlib import Path

import numpy as np
import pytest

from bavos_core import open_clip

from . import variants as v
from .test_cases import number_of
from .test_writing import played
from .variants import B_FRAMES, H264, HEVC, RED, film

MPEG2 = ("-c:v", "mpeg2video", "-b:v", "2M")


def check_film(path: Path, numbers, times, *, damaged: bool | None = False) -> None:
    clip = open_clip(path)
    assert [number_of(frame) for frame in clip.read()] == list(numbers)
    np.testing.assert_allclose(clip.times, times, atol=1.1e-3)
    assert damaged is None or clip.damaged == damaged
    indices, sample = clip.sample(5)
    assert [number_of(frame) for frame in sample] == [list(numbers)[i] for i in indices]


# ---- A: times and count -------------------------------------------------------------------------

COUNTED = {
    "altref9.webm": (film("-c:v", "libvpx-vp9", "-auto-alt-ref", 1, "-lag-in-frames", 16,
                          "-deadline", "realtime", "-cpu-used", 8), 10),
    "svt.mp4": (film("-c:v", "libsvtav1", "-preset", 12, "-svtav1-params", "lookahead=10"), 10),
    "aom.mkv": (film("-c:v", "libaom-av1", "-cpu-used", 8, "-lag-in-frames", 12), 10),
    "b-frames.avi": (film(*B_FRAMES), 10),
    "b-frames-4.avi": (film("-c:v", "mpeg4", "-bf", 2), 10),
    "elementary.m1v": (film("-c:v", "mpeg1video", "-bf", 2, "-f", "mpeg1video", rate=25), 25),
    "elementary.m2v": (film(*MPEG2, "-bf", 2, "-f", "mpeg2video", rate=25), 25),
    "program.mpg": (film(*MPEG2, "-bf", 2, rate=25), 25),
    "late.ts": (film(*B_FRAMES, "-output_ts_offset", 9), 10),
    "negative.mkv": (film(*B_FRAMES, "-output_ts_offset", -0.5), 10),
    "negative.mp4": (film(*B_FRAMES, "-avoid_negative_ts", "disabled", "-use_editlist", 0), 10),
    "fragments.mp4": (film(*B_FRAMES, "-movflags", "frag_keyframe+empty_moov"), 10),
    "empty-edit.mp4": (v.edits((500, -1, 1), (3000, 0, 1)), 10),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_every_frame_is_there_once_at_its_time(name, tmp_path) -> None:
    make, rate = COUNTED[name]
    make(tmp_path / name)
    check_film(tmp_path / name, range(30), np.arange(30) / rate)


OPEN_GOP = film(*H264[:2], "-x264-params", "open-gop=1:keyint=8:min-keyint=8:bframes=3:scenecut=0")
CUT = {
    "open-gop.mkv": v.copied(OPEN_GOP, ".mp4", before=("-ss", 1.05)),
    "open-gop.mp4": v.copied(OPEN_GOP, ".mkv", before=("-ss", 1.05)),
    "hevc.mp4": v.copied(film(*HEVC[:-1], "log-level=none:keyint=8:min-keyint=8:open-gop=1"),
                         ".mkv", before=("-ss", 1.05)),
    "tail.ts": v.beheaded(film(*B_FRAMES, "-b:v", "1M"), 0.45),
    "tail-2.ts": v.beheaded(film(*MPEG2, "-g", 8, "-bf", 2, rate=25), 0.45),
    "three-edits.mp4": v.edits((500, 10240, 1), (300, -1, 1), (700, 2048, 1)),
    "dwell.mp4": v.edits((500, 0, 1), (800, 5120, 0), (500, 5120, 1)),
    "rate.mp4": v.edits((1000, 0, 1), (500, 10240, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_what_was_cut_shows_the_frames_that_ffmpeg_shows(name, tmp_path) -> None:
    CUT[name](tmp_path / name)
    times, frames, _ = played(tmp_path / name)
    numbers = [number_of(frame) for frame in frames]
    assert 5 < len(numbers) < 31
    check_film(
        tmp_path / name, numbers, times - times[0], damaged=open_clip(tmp_path / name).damaged
    )


# ---- B: changes in mid-stream -------------------------------------------------------------------

CHANGING = {
    "size.ts": v.joined((), ("-vf", "scale=64:48"), ("-vf", "scale=160:120")),
    "range.ts": v.joined((), ("-vf", "scale=out_range=pc", "-color_range", "pc"), ()),
    "tag.ts": v.joined(("-colorspace", "bt709"), ("-colorspace", "bt470bg"), ()),
    "format.ts": v.joined((), ("-pix_fmt", "yuv444p"), ("-pix_fmt", "yuv422p10le")),
    "size-hevc.ts": v.joined((), ("-vf", "scale=64:48"), (), codec=HEVC),
    "format-hevc.ts": v.joined((), ("-pix_fmt", "yuv420p10le"), (), codec=HEVC),
    "size-mpeg2.ts": v.joined(("-r", 25), ("-r", 25, "-vf", "scale=64:48"), ("-r", 25),
                              codec=MPEG2),
    "size-vp9.mkv": v.listed(*(("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", 8,
                                "-vf", f"scale={w}:-1") for w in (128, 64, 160))),
    "format-mjpeg.mkv": v.listed(*(("-c:v", "mjpeg", "-q:v", 2, "-pix_fmt", f"yuvj{k}p")
                                   for k in (420, 422, 444))),
    "size-av1.mkv": v.listed(*(("-c:v", "libsvtav1", "-preset", 12, "-vf", f"scale={w}:-1")
                               for w in (128, 64, 160))),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGING)
def test_frames_are_those_asked_for_whatever_changes(name, tmp_path) -> None:
    CHANGING[name](tmp_path / name)
    clip = open_clip(tmp_path / name)
    numbers = [number_of(frame) for frame in clip.read()]
    assert [n for i, n in enumerate(numbers) if i == 0 or n != numbers[i - 1]] == list(range(30))
    assert {frame.shape for frame in clip.read()} == {(96, 128, 3)}
    chosen = [3, 9, 12, 17, 22, 28]
    assert [number_of(frame) for frame in clip.read(chosen)] == [numbers[i] for i in chosen]


# ---- C: the right stream ------------------------------------------------------------------------

SMALL = film(*H264, size=(48, 64), count=10, first=100)
OTHER = film(*H264, first=100)
COPY = ("-c", "copy")
BOTH = ("-map", "0:v", "-map", "1:v", *COPY)
STREAMS = {
    "attachment.mkv": (v.attached, range(30)),
    "attachment.webm": (v.with_more(v.still("PNG"), ".png", "-map", 0, "-map", 1, "-c:v:0",
                        "libvpx", "-c:v:1", "copy", "-disposition:v:1", "attached_pic", "-f",
                        "matroska"), range(30)),
    "second-default.mp4": (v.with_more(OTHER, ".mkv", *BOTH, "-disposition:v:0", 0,
                                       "-disposition:v:1", "default"), range(100, 130)),
    "same-size.mp4": (v.with_more(OTHER, ".mkv", *BOTH), range(30)),
    "thumbnails-after.mp4": (v.with_more(SMALL, ".mkv", *BOTH), range(30)),
    "thumbnails-before.mkv": (v.with_more(film(*H264), ".mkv", *BOTH, "-disposition", 0,
                                          first=SMALL), range(30)),
    "cover.mov": (v.with_more(v.still("PNG"), ".png", "-map", 1, "-map", 0, *COPY,
                              "-disposition:v:0", "attached_pic"), range(30)),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_the_film_is_shown_and_no_other_stream(name, tmp_path) -> None:
    make, numbers = STREAMS[name]
    make(tmp_path / name)
    check_film(tmp_path / name, numbers, np.arange(len(numbers)) / 10)


@pytest.mark.parametrize(
    ("name", "options"),
    [("song.m4a", ("-c:a", "aac")), ("song.mp4", ("-c:a", "libmp3lame")),
     ("song.mkv", ("-c:a", "libopus"))],
)  # fmt: skip
def test_a_song_with_a_cover_is_its_cover(name, options, tmp_path) -> None:
    v.song(*options)(tmp_path / name)
    clip = open_clip(tmp_path / name)
    (frame,) = clip.read()
    assert np.abs(frame.astype(int) - RED).max() <= 2
    assert sum(len(piece) for piece in clip.sound()) == pytest.approx(24_000, abs=3000)


# ---- D: colour ----------------------------------------------------------------------------------

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", 0)
HD = {"size": (720, 1280)}
P3_TAGS = ("-color_primaries", "smpte432", "-color_trc", "iec61966-2-1", "-colorspace", "bt709")
TEN = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", 0, "-pix_fmt", "yuv444p10le")
COLOURS = {
    "601-hd.mp4": v.tagged("bt601", "smpte170m", **HD),
    "709-sd.mp4": v.tagged("bt709", "bt709"),
    "untagged-sd.mp4": v.plain("-vf", "scale=out_color_matrix=bt601", *X264, "-pix_fmt", "yuv444p"),
    "untagged-hd.mkv": v.plain("-vf", "scale=out_color_matrix=bt709", "-c:v", "ffv1",
                               "-pix_fmt", "yuv444p", **HD),
    "full.mp4": v.tagged("bt709", "bt709", span="pc"),
    "full-hevc.mkv": v.tagged("bt709", "bt709", *HEVC, "-pix_fmt", "yuv444p", span="pc"),
    "full-601.webm": v.tagged("bt601", "smpte170m", "-c:v", "libvpx-vp9", "-lossless", 1,
                              "-pix_fmt", "yuv444p", span="pc"),
    "mjpeg.avi": v.plain("-c:v", "mjpeg", "-q:v", 2, "-pix_fmt", "yuvj444p"),
    "2020.mkv": v.tagged("bt2020", "bt2020nc", *TEN),
    "2020-wide.mp4": v.wide("2020", "2020_10", "2020_ncl", *TEN),
    "p3.mov": v.wide("smpte432", "709", "709", *TEN, *P3_TAGS),
    "ten.mkv": v.tagged("bt709", "bt709", *TEN),
    "ten-vp9.webm": v.tagged("bt709", "bt709", "-c:v", "libvpx-vp9", "-lossless", 1,
                             "-pix_fmt", "yuv444p12le"),
    "rgb.mkv": v.plain("-c:v", "libx264rgb", "-qp", 0),
    "rgb-hd.mkv": v.plain("-c:v", "ffv1", "-pix_fmt", "gbrp", **HD),
    "rgb16.mkv": v.plain("-c:v", "ffv1", "-pix_fmt", "gbrp16le"),
    "rgb.avi": v.plain("-c:v", "utvideo", "-pix_fmt", "gbrp"),
    "png.mov": v.plain("-c:v", "png", "-pix_fmt", "rgb48be"),
    "prores.mov": v.tagged("bt709", "bt709", "-c:v", "prores_ks", "-pix_fmt", "yuv444p10le"),
    "p3.jpg": v.profiled("JPEG", v.P3, quality=98, subsampling=0),
    "prophoto.jpg": v.profiled("JPEG", v.PROPHOTO, gamma=1.8, quality=98, subsampling=0),
    "p3.png": v.profiled("PNG", v.P3),
    "p3.webp": v.profiled("WEBP", v.P3, lossless=True),
    "p3.tif": v.profiled("TIFF", v.P3),
    "broken-profile.png": v.still("PNG", icc_profile=b"no profile"),
    "grey-profile-on-rgb.jpg": v.still("JPEG", quality=98, subsampling=0,
                                       icc_profile=v.profile([], grey=True)),
    "sixteen.png": v.plain("-pix_fmt", "rgb48be", "-frames:v", 1),
    "sixteen.tif": v.plain("-pix_fmt", "rgb48le", "-frames:v", 1),
    "cmyk.tif": v.still("TIFF", "CMYK", (55, 225, 225, 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", COLOURS)
def test_colours_are_what_they_were(name, tmp_path) -> None:
    COLOURS[name](tmp_path / name)
    frame = next(open_clip(tmp_path / name).read())
    assert np.abs(frame.astype(int) - RED).max() <= 5, frame[40, 40]


def test_hlg_is_tone_mapped_and_keeps_its_hue(tmp_path) -> None:
    tags = ("-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc")
    for name in ("hlg.mov", "hlg.mkv", "hlg.mp4"):
        codec = TEN if name != "hlg.mkv" else (*HEVC, "-pix_fmt", "yuv444p10le")
        v.wide("2020", "arib-std-b67", "2020_ncl", *codec, *tags, npl=203)(tmp_path / name)
        red, green, blue = next(open_clip(tmp_path / name).read())[40, 40].astype(int)
        assert red > 130
        assert abs(green - blue) < 15
        assert red > 3 * max(green, blue)


RAMP = np.linspace(0, 1, 128)[None].repeat(96, 0)


@pytest.mark.parametrize(
    ("name", "kind", "array"),
    [
        ("float.tif", "TIFF", RAMP.astype(np.float32)),
        ("to-255.tif", "TIFF", (255 * RAMP).astype(np.float32)),
        ("to-65535.tif", "TIFF", (65535 * RAMP).astype(np.float32)),
        ("nan.tif", "TIFF", np.where(RAMP == 0, np.nan, RAMP).astype(np.float32)),
        ("grey.tif", "TIFF", (65535 * RAMP).astype(np.uint16)),
        ("grey.png", "PNG", (65535 * RAMP).astype(np.uint16)),
        ("byte.tif", "TIFF", (255 * RAMP).round().astype(np.uint8)),
    ],
)
def test_values_of_any_depth_are_scaled(name, kind, array, tmp_path) -> None:
    v.values(kind, array)(tmp_path / name)
    (frame,) = open_clip(tmp_path / name).read()
    assert np.abs(frame.astype(int) - (255 * RAMP)[..., None]).max() <= 1
