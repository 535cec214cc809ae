"""The rest of `test_variants`: times of slides, animated pictures, alpha, fields, names, codecs."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from bavos_core import InputError, open_clip

from . import variants as v
from .helpers import check_message, decode
from .test_cases import number_of
from .test_variants import MPEG2, check_film
from .test_writing import copy_of, played
from .variants import B_FRAMES, H264, HIDDEN, RED, film

# ---- E: times of what is written ----------------------------------------------------------------


def at(seconds: str) -> tuple[str, str]:
    """Options to show frame N at a time."""
    return "-vf", f"settb=1/90000,setpts='({seconds})/TB'"


STEPS = at("(N+10*floor(N/7)+3*gt(N,20))/10")  # pauses after every seventh frame
SLIDES = at("4*N")
PASS = ("-fps_mode", "passthrough", "-enc_time_base", "1/90000")
STEP_TIMES = [(n + 10 * (n // 7) + 3 * (n > 20)) / 10 for n in range(30)]
SHOWN = [700, 3000, 1300, 2000]
TIMED = {
    "vfr.mkv": (film(*STEPS, *H264, *PASS), STEP_TIMES),
    "vfr.webm": (film(*STEPS, "-c:v", "libvpx", "-deadline", "realtime", *PASS), STEP_TIMES),
    "vfr.mp4": (film(*STEPS, *B_FRAMES, *PASS), STEP_TIMES),
    "24-30.mp4": (film(*at("if(lt(N,15),N/24,15/24+(N-15)/30)"), *H264, *PASS),
                  [n / 24 if n < 15 else 15 / 24 + (n - 15) / 30 for n in range(30)]),
    "240.mp4": (film(*H264, rate=240), np.arange(30) / 240),
    "ntsc.mov": (film(*H264, rate="30000/1001"), np.arange(30) * 1.001 / 30),
    "slides.mp4": (film(*SLIDES, *H264, *PASS, count=5), np.arange(5) * 4),
    "slides.webp": (v.pages("WEBP", milliseconds=SHOWN, count=4), [0, 0.7, 3.7, 5]),
    "slides.apng": (v.pages("PNG", milliseconds=SHOWN, count=4), [0, 0.7, 3.7, 5]),
    "hold.webp": (v.pages("WEBP", milliseconds=[100, 100, 5000], count=3), [0, 0.1, 0.2]),
    "hold.gif": (v.pages("GIF", milliseconds=[100, 100, 5000], count=3), [0, 0.1, 0.2]),
}  # fmt: skip
ENDS = {"slides.mp4": None, "slides.webp": 7, "slides.apng": 7, "hold.webp": 5.2, "hold.gif": 5.2}


@pytest.mark.parametrize("name", TIMED)
def test_times_are_kept_in_what_is_written(name, tmp_path) -> None:
    make, times = TIMED[name]
    make(tmp_path / name)
    check_film(tmp_path / name, range(len(times)), times)
    copy_of(tmp_path / name, tmp_path / "copy.mp4")
    found, frames, end = played(tmp_path / "copy.mp4")
    assert [number_of(frame) for frame in frames] == list(range(len(times)))
    np.testing.assert_allclose(found, times, atol=1.1e-3)
    expected = ENDS.get(name) or open_clip(tmp_path / name).end
    assert end == pytest.approx(expected, abs=2e-3)


# ---- F: animated pictures -----------------------------------------------------------------------

ANIMATED = {
    "pages.webp": v.pages("WEBP", lossless=True),
    "pages.avif": v.pages("AVIF", quality=90),
    "pages.apng": v.pages("PNG"),
    "thirteen.png": v.pages("PNG", default_image=True, count=13),
    "lzw.tif": v.pages("TIFF", compression="tiff_lzw", milliseconds=None),
    "big.tiff": v.pages("TIFF", big_tiff=True, milliseconds=None),
}


@pytest.mark.parametrize("name", ANIMATED)
def test_every_picture_of_an_animation_is_a_frame(name, tmp_path) -> None:
    if name.endswith("avif"):
        pytest.importorskip("PIL._avif")
    ANIMATED[name](tmp_path / name)
    first = 1 if name == "thirteen.png" else 0  # a still for programs that do not know animation
    clip = open_clip(tmp_path / name)
    assert [number_of(frame) for frame in clip.read()] == list(range(first, first + 12))
    if not name.startswith(("lzw", "big")):
        np.testing.assert_allclose(clip.times, np.arange(12) / 10, atol=1e-3)
    assert [number_of(frame) for frame in clip.read([2, 7])] == [first + 2, first + 7]


@pytest.mark.parametrize(
    ("name", "make", "gathers"),
    [
        ("left.png", v.sparse("PNG", disposal=0, blend=1), True),
        ("cleared.png", v.sparse("PNG", disposal=1, blend=1), False),
        ("replaced.png", v.sparse("PNG", disposal=0, blend=0), False),
        ("cleared.gif", v.sparse("GIF", disposal=2), False),
        ("left.gif", v.sparse("GIF", disposal=1), True),
        ("plain.webp", v.sparse("WEBP", lossless=True), False),
    ],
)
def test_transparent_pages_lie_over_what_the_last_one_leaves(name, make, gathers, tmp_path):
    make(tmp_path / name)
    for i, frame in enumerate(open_clip(tmp_path / name).read()):
        lit = [bool((frame[48, 32 * k + 16].astype(int) > 15).any()) for k in range(4)]
        assert lit == [k <= i if gathers else k == i for k in range(4)]


# ---- G: alpha -----------------------------------------------------------------------------------

ALPHA = {
    "vp8.webm": v.in_alpha("-c:v", "libvpx", "-pix_fmt", "yuva420p", "-auto-alt-ref", 0, "-crf", 4,
                           "-b:v", "2M"),
    "vp9.webm": v.in_alpha("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-crf", 10),
    "4444.mov": v.in_alpha("-c:v", "prores_ks", "-profile:v", 4, "-pix_fmt", "yuva444p10le"),
    "png.mov": v.in_alpha("-c:v", "png", "-pix_fmt", "rgba"),
    "png16.mov": v.in_alpha("-c:v", "png", "-pix_fmt", "rgba64be"),
    "rle.mov": v.in_alpha("-c:v", "qtrle", "-pix_fmt", "argb"),
    "ffv1.mkv": v.in_alpha("-c:v", "ffv1", "-pix_fmt", "yuva444p"),
    "utvideo.avi": v.in_alpha("-c:v", "utvideo", "-pix_fmt", "gbrap"),
    "clear.gif": v.clear_palette("GIF"),
    "palette.png": v.clear_palette("PNG"),
    "pa.webp": v.clear_still("WEBP", "RGBA", exact=True, lossless=True),
    "rgba.tif": v.clear_still("TIFF", "RGBA"),
    "rgba.png": v.clear_still("PNG", "RGBA"),
    "key.png": lambda path: Image.fromarray(v.half_clear()[..., :3]).save(
        path, "PNG", transparency=HIDDEN),
    "grey.png": v.clear_still("PNG", "LA"),
}  # fmt: skip


@pytest.mark.parametrize("name", ALPHA)
def test_what_is_transparent_is_black(name, tmp_path) -> None:
    ALPHA[name](tmp_path / name)
    for frame in open_clip(tmp_path / name).read():
        shown, hidden = frame[20:-20, 12:44].astype(int), frame[20:-20, 84:116]
        assert hidden.max() <= 2
        colour = (81, 81, 81) if name == "grey.png" else RED  # by the weights of BT.601
        assert np.abs(shown - colour).max() <= 8, shown[0, 0]


# ---- H: interlaced ------------------------------------------------------------------------------

FIELDS = {
    "tff.mp4": v.combed(*H264, "-x264-params", "tff=1", "-qp", 4),
    "bff.mkv": v.combed(*H264, "-x264-params", "bff=1", "-qp", 4),
    "mpeg2.ts": v.combed(*MPEG2, "-flags", "+ildct+ilme", "-vf", "setfield=tff"),
    "prores.mov": v.combed("-c:v", "prores_ks", "-flags", "+ildct", "-vf", "setfield=tff"),
    "dv.avi": v.combed("-c:v", "dvvideo", "-pix_fmt", "yuv420p", size=(576, 720)),
}


def combing(frame: np.ndarray) -> float:
    """How much rows differ from their neighbours, on average."""
    rows = frame.astype(float).mean(2)[8:-8]
    return np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean()


@pytest.mark.parametrize("name", FIELDS)
def test_flagged_fields_are_woven_no_more(name, tmp_path) -> None:
    FIELDS[name](tmp_path / name)
    before = np.mean([combing(frame) for frame in decode(tmp_path / name)])
    after = [combing(frame) for frame in open_clip(tmp_path / name).read()]
    assert len(after) == 12
    assert before > 1.5
    assert np.mean(after) < before / 4


@pytest.mark.parametrize("encoding", [(*H264, "-qp", 4), MPEG2, ("-c:v", "ffv1")])
def test_what_is_flagged_progressive_is_left_alone(encoding, tmp_path) -> None:
    path = tmp_path / "clip.mkv"
    v.combed(*encoding)(path)
    expected = decode(path).astype(int)
    found = np.stack(list(open_clip(path).read())).astype(int)
    assert np.abs(found - expected).max() <= 3


# ---- I: names -----------------------------------------------------------------------------------

KINDS = {
    ".ts": (*H264, "-f", "mpegts"),
    ".m2ts": (*H264, "-f", "mpegts", "-mpegts_m2ts_mode", 1),
    ".mts": (*MPEG2, "-r", 25, "-f", "mpegts"),
    ".mpg": (*MPEG2, "-r", 25),
    ".vob": (*MPEG2, "-r", 25, "-f", "vob"),
    ".wmv": ("-c:v", "wmv2", "-b:v", "2M"),
    ".asf": ("-c:v", "msmpeg4", "-b:v", "2M"),
    ".flv": H264,
    ".ogv": ("-c:v", "libtheora", "-q:v", 9),
    ".3gp": H264,
    ".3g2": H264,
    ".m4v": (*H264, "-f", "mp4"),
    ".mov": ("-c:v", "mjpeg", "-q:v", 2),
    ".avi": ("-c:v", "msmpeg4v2", "-b:v", "2M"),
}


@pytest.mark.parametrize("other", [None, "", ".mp4", ".jpg", ".txt"])
@pytest.mark.parametrize("suffix", KINDS)
def test_the_first_bytes_decide(suffix, other, tmp_path) -> None:
    if other is not None and suffix not in (".ts", ".wmv", ".3gp"):
        pytest.skip("One kind of a container shows it.")
    film(*KINDS[suffix], count=12)(tmp_path / f"film{suffix}")
    name = f"film{suffix if other is None else other}"
    (tmp_path / f"film{suffix}").rename(tmp_path / name)
    numbers = [number_of(frame) for frame in open_clip(tmp_path / name).read()]
    assert sorted(set(numbers)) == list(range(12))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "TIFF", "BMP"])
@pytest.mark.parametrize("suffix", [".jfif", ".mp4", "", ".png"])
def test_a_picture_needs_no_right_name(kind, suffix, tmp_path) -> None:
    v.still(kind)(tmp_path / f"picture{suffix}")
    (frame,) = open_clip(tmp_path / f"picture{suffix}").read()
    assert np.abs(frame.astype(int) - RED).max() <= 6


# ---- J: names in zips ---------------------------------------------------------------------------

NAMES = {
    "utf-8": ["Straße 1", "Straße 2"],
    "cp437": ["Größe 1", "Größe 2"],
    "cp932": ["フレーム1", "フレーム2"],
    "gbk": ["画面一", "画面二"],
    "gb18030": ["镕基1", "镕基2"],
    "big5": ["畫面一", "畫面二"],
}


@pytest.mark.parametrize("encoding", NAMES)
def test_names_without_the_flag_are_read(encoding, tmp_path) -> None:
    picture = tmp_path / "picture.png"
    v.still("PNG")(picture)
    names = NAMES[encoding]
    with zipfile.ZipFile(tmp_path / "frames.zip", "w") as archive:
        for i in range(len(names)):
            archive.writestr(
                f"{i}{'x' * (len(names[i].encode(encoding)) - 1)}.png", picture.read_bytes()
            )
    data = (tmp_path / "frames.zip").read_bytes()
    for i, name in enumerate(names):
        raw = name.encode(encoding)
        data = data.replace(f"{i}{'x' * (len(raw) - 1)}.png".encode(), raw + b".png")
    (tmp_path / "frames.zip").write_bytes(data)
    assert open_clip(tmp_path / "frames.zip").frame_names == tuple(names)


# ---- K: codecs that are not taken ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "said"),
    [
        ("x.avi", ("-c:v", "snow", "-strict", -2, "-pix_fmt", "yuv420p"), "snow"),
        ("x.mkv", ("-c:v", "jpeg2000"), "jpeg2000"),
        ("x.mov", ("-c:v", "rpza"), "rpza"),
        ("y.avi", ("-c:v", "zmbv"), "zmbv"),
        ("x.flv", ("-c:v", "flashsv"), "flashsv"),
        ("y.mkv", ("-c:v", "vc2", "-pix_fmt", "yuv420p"), "dirac"),
    ],
)
def test_a_codec_that_is_not_taken_is_named(name, codec, said, tmp_path) -> None:
    film(*codec, count=3)(tmp_path / name)
    with pytest.raises(InputError) as caught:
        open_clip(tmp_path / name)
    check_message(caught.value, repr(name), f"the codec {said}, which is not supported")
