"""Written videos: every frame at its time, colours as they were, sound kept."""

import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bavos_core import InputError, export, open_clip
from bavos_io.clip import ArrayClip, TimedFrame, Timeline
from bavos_io.writing import VideoWriter

from .helpers import check_message, ffmpeg, make_video, noise_clip
from .test_cases import CASES


def played(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the times, frames and end of a video as another program, ffmpeg, decodes it."""
    (height, width) = open_clip(path).size
    common = ("-fps_mode", "passthrough", "-map", "0:v:0")
    pictures = run_ffmpeg("-i", path, *common, "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    report = run_ffmpeg(
        "-i", path, *common, "-enc_time_base", "demux", "-f", "framecrc", "-"
    ).decode()
    unit = next(eval_fraction(line) for line in report.splitlines() if line.startswith("#tb"))
    fields = [line.split(",") for line in report.splitlines() if line[:1] == "0"]
    times = np.array([int(field[2]) * unit for field in fields])
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        end = float((stream.duration or 0) * stream.time_base)  # Matroska does not say it
    return times, np.frombuffer(pictures, np.uint8).reshape(-1, height, width, 3), end


def run_ffmpeg(*options: object) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *map(str, options)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def eval_fraction(line: str) -> float:
    over, under = line.split(":")[1].split("/")
    return int(over) / int(under)


def copy_of(source: Path, target: Path) -> None:
    clip = open_clip(source)
    export.write_frames(target, clip.timed(), size=clip.size, sound=clip.sound())


# ---- times --------------------------------------------------------------------------------------


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gaps=st.lists(st.floats(0.004, 12), min_size=1, max_size=30))
def test_every_frame_is_shown_at_its_time_whatever_the_gaps(gaps, tmp_path) -> None:
    ends = np.cumsum(gaps)
    clip = Timeline(np.array([0, *ends[:-1]]), float(ends[-1]))
    frames = noise_clip(len(gaps), (16, 16))
    export.write_frames(tmp_path / "v.mp4", clip.timed(frames), size=(16, 16))
    times, found, end = played(tmp_path / "v.mp4")
    assert len(found) == len(gaps)
    np.testing.assert_allclose(times, clip.times, atol=1e-4)
    assert end == pytest.approx(clip.end, abs=1e-3)


def anamorphic(path: Path) -> Path:
    return make_video(path, "-vf", "setsar=3/2", "-c:v", "libx264", "-pix_fmt", "yuv420p")


def turned(path: Path) -> Path:
    plain = make_video(path.with_name("plain.mp4"), "-c:v", "libx264", "-pix_fmt", "yuv420p")
    ffmpeg("-display_rotation", 90, "-i", plain, "-c", "copy", path)
    return path


def odd(path: Path) -> Path:
    return make_video(path, "-vf", "scale=63:47", "-c:v", "ffv1")


def hlg(path: Path) -> Path:
    return make_video(
        path, "-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=none",
        "-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc",
    )  # fmt: skip


CLIPS = {
    **{name: lambda path, name=name: CASES / name for name in (
        "lowlight.mp4", "slides.gif", "hold.gif", "two_edits.mp4", "vp8_altref.webm",
        "intra_refresh_cut.mkv", "pq.mov", "hd709.mp4", "hd_untagged.mp4", "phone.3gp",
        "anim.png", "resize.webm", "clear.webm",
    )},
    "turned.mp4": turned, "anamorphic.mp4": anamorphic, "odd.avi": odd, "hlg.mov": hlg,
}  # fmt: skip


@pytest.mark.parametrize("name", CLIPS)
def test_a_player_shows_the_frame_of_the_source_at_any_time(name, tmp_path) -> None:
    source = CLIPS[name](tmp_path / name)
    clip = open_clip(source)
    frames = list(clip.read())
    copy_of(source, tmp_path / "copy.mp4")
    times, found, end = played(tmp_path / "copy.mp4")
    assert len(found) == len(frames)
    height, width = clip.size
    assert found.shape[1:3] == (height + height % 2, width + width % 2)
    assert end == pytest.approx(clip.end, abs=0.01)
    half = np.diff([*clip.times, clip.end]).min() / 2
    np.testing.assert_allclose(times, clip.times, atol=min(half, 1e-3))
    for at in np.random.default_rng(0).uniform(0, clip.end, 20):
        shown = np.searchsorted(times, at, side="right") - 1
        meant = np.searchsorted(clip.times, at, side="right") - 1
        assert abs(clip.times[meant] - clip.times[shown]) <= 1e-6 or abs(at - times).min() < half
        difference = np.abs(blocks(found[meant][:height, :width]) - blocks(frames[meant]))
        assert difference.mean() <= 4
        assert difference.max() <= 15


def blocks(frame: np.ndarray) -> np.ndarray:
    """Return the mean colours of blocks of 12 pixels, since chroma is coded at half the size."""
    height, width = (side // 12 * 12 for side in frame.shape[:2])
    return frame[:height, :width].reshape(height // 12, 12, width // 12, 12, 3).mean((1, 3))


def test_written_colours_are_tagged_and_right(tmp_path) -> None:
    copy_of(CASES / "hd709.mp4", tmp_path / "copy.mp4")
    assert b"nclx\0\1\0\1\0\1" in (tmp_path / "copy.mp4").read_bytes()  # BT.709 thrice
    frame = next(open_clip(tmp_path / "copy.mp4").read())
    assert np.abs(frame[540, 80].astype(int) - (199, 31, 32)).max() <= 5


# ---- sound --------------------------------------------------------------------------------------


def beeping(path: Path, *options: object, offset: float = 0) -> Path:
    """Half a second of silence, then a tone; pictures of 2 seconds."""
    sound = ("-f", "lavfi", "-itsoffset", offset, "-i",
             "aevalsrc='if(gt(t,0.5),0.5*sin(2000*t),0)':d=2:s=44100")  # fmt: skip
    return make_video(path, "-map", 0, "-map", 1, *options, frames=20, more_inputs=sound)


def onset(path: Path) -> float:
    """Return the second at which the sound of a file begins to be heard, as ffmpeg decodes it."""
    sound = run_ffmpeg("-i", path, "-map", "0:a", "-af", "aresample=async=1:first_pts=0", "-ac", 1,
                       "-ar", 48000, "-f", "s16le", "-")  # fmt: skip
    samples = np.frombuffer(sound, np.int16)
    return float(np.flatnonzero(abs(samples) > 3000)[0] / 48000)


@pytest.mark.parametrize("offset", [0, 0.3])
@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("aac.mp4", ("-c:a", "aac")),
        ("opus.webm", ("-c:v", "libvpx", "-c:a", "libopus")),
        ("pcm.mov", ("-c:a", "pcm_s16le")),
        ("mp3.avi", ("-c:v", "mpeg4", "-c:a", "libmp3lame")),
    ],
)
def test_the_sound_is_kept_and_stays_with_the_picture(name, codecs, offset, tmp_path) -> None:
    source = beeping(tmp_path / name, *codecs, offset=offset)
    copy_of(source, tmp_path / "copy.mp4")
    assert onset(tmp_path / "copy.mp4") == pytest.approx(onset(source), abs=0.06)


def test_the_sound_of_a_part_is_that_of_the_part(tmp_path) -> None:
    source = beeping(tmp_path / "in.mp4", "-c:a", "aac")
    clip = open_clip(source, start=0.3, end=1.5)
    export.write_frames(tmp_path / "part.mp4", clip.timed(), size=clip.size, sound=clip.sound())
    assert onset(tmp_path / "part.mp4") == pytest.approx(0.2, abs=0.06)
    assert played(tmp_path / "part.mp4")[2] == pytest.approx(1.2, abs=0.02)


def test_a_clip_without_sound_has_none(tmp_path) -> None:
    assert list(open_clip(make_video(tmp_path / "still.mp4")).sound()) == []
    assert list(ArrayClip.of(noise_clip(2, (8, 8))).sound()) == []


# ---- what goes wrong ----------------------------------------------------------------------------


def test_a_video_in_a_folder_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(InputError) as caught, VideoWriter(tmp_path / "no" / "v.mp4", size=(8, 8)):
        pass
    check_message(caught.value, "'v.mp4' could not be written")


def test_a_video_that_is_broken_off_leaves_nothing(tmp_path) -> None:
    def frames():
        yield TimedFrame(0, 1, noise_clip(1, (16, 16))[0])
        raise KeyError

    with pytest.raises(KeyError):
        export.write_frames(tmp_path / "v.mp4", frames(), size=(16, 16))
    assert list(tmp_path.iterdir()) == []
