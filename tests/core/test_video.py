"""Clips of every kind come in upright, complete and in order; the rest is refused in words."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bavos_core import open_clip
from bavos_io.clip import shrunk
from bavos_io.decoder import Decoder
from bavos_io.sampling import spread

from .helpers import (
    encode,
    ffmpeg,
    make_video,
    noise_clip,
    read_all,
    save_pictures,
)  # fmt: skip
from .odd_files import H264


def grey_levels(count: int) -> np.ndarray:
    """Frames (count, 16, 16, 3), each one grey, no two alike."""
    levels = np.linspace(5, 250, count).round().astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, 16, 16, 3)).copy()


# ---- containers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("clip.mp4", H264),
        ("clip.MP4", H264),
        ("clip.mov", (*H264, "-f", "mov")),
        ("clip.m4v", (*H264, "-f", "mp4")),
        ("clip.mkv", H264),
        ("clip.webm", ("-c:v", "libvpx", "-b:v", "500k", "-deadline", "realtime")),
        ("clip.gif", ()),
        ("clip.avi", ("-c:v", "mpeg4", "-bf", 2, "-q:v", 3)),
    ],
)
def test_every_container_is_read_whole_and_more_than_once(name, encoding, tmp_path) -> None:
    clip = open_clip(make_video(tmp_path / name, *encoding, frames=7))
    assert clip.name == name
    assert clip.size == (48, 64)
    assert clip.frame_names == tuple(f"{i:05d}" for i in range(7))
    np.testing.assert_allclose(clip.times, np.arange(7) / 10, atol=0.011)
    assert clip.times[0] == 0
    frames = list(clip.read())
    assert [f.shape for f in frames] == [(48, 64, 3)] * 7
    assert all(f.dtype == np.uint8 for f in frames)
    assert (np.stack(list(clip.read())) == frames).all()


def test_colours_are_rgb_and_nearly_those_that_were_encoded(tmp_path) -> None:
    frames = np.zeros((3, 32, 48, 3), np.uint8)
    frames[:, :, :16], frames[:, :, 16:32] = (220, 30, 20), (20, 200, 30)
    frames[:, :, 32:] = (9, 9, 240)
    found = read_all(encode(tmp_path / "colours.mp4", frames))
    difference = np.abs(found.astype(int) - frames)[:, 2:-2, [5, 22, 40]]
    assert difference.max() < 25
    assert read_all(encode(tmp_path / "colours.gif", frames, "-f", "gif")).argmax(-1)[0, 5, 5] == 0


@pytest.mark.parametrize("name", ["levels.mp4", "levels.mkv", "levels.avi"])
def test_chosen_frames_are_really_those(name, tmp_path) -> None:
    encoding = ("-pix_fmt", "yuv444p", "-crf", 4, "-g", 12)  # with B-frames
    lossless = ("-c:v", "ffv1") if name.endswith("avi") else encoding
    frames = grey_levels(50)
    clip = open_clip(encode(tmp_path / name, frames, *lossless))
    assert len(clip.times) == 50
    for chosen in ([0], [49], [3, 17, 42], list(range(1, 50, 2)), list(range(50))):
        found = np.stack(list(clip.read(chosen)))
        assert np.abs(found.astype(int) - frames[chosen]).max() <= 2


@pytest.mark.parametrize("size", ["63x47", "1x1", "2x97", "321x3"])
def test_odd_sizes_are_kept(size, tmp_path) -> None:
    width, height = map(int, size.split("x"))
    frames = noise_clip(2, (height, width))
    clip = open_clip(encode(tmp_path / "odd.avi", frames, "-c:v", "ffv1"))
    assert clip.size == (height, width)
    assert (np.stack(list(clip.read())) == frames).all()


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_clips_of_one_or_two_frames_work(frames, suffix, tmp_path) -> None:
    path = make_video(tmp_path / f"short.{suffix}", frames=frames)
    assert len(open_clip(path).times) == len(read_all(path)) == frames


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_rotation_flag_is_obeyed(turn, tmp_path) -> None:
    plain = make_video(tmp_path / "in.mp4", *H264)
    ffmpeg("-display_rotation", turn, "-i", plain, "-c", "copy", tmp_path / "turned.mp4")
    clip = open_clip(tmp_path / "turned.mp4")
    expected = np.rot90(read_all(plain), turn // 90, axes=(1, 2))
    assert clip.size == expected.shape[1:3]
    assert np.abs(np.stack(list(clip.read())).astype(int) - expected).mean() < 3


def test_pixels_that_are_not_square_are_made_so(tmp_path) -> None:
    path = make_video(tmp_path / "anamorphic.mp4", "-vf", "setsar=2/1", *H264)
    assert open_clip(path).size == (48, 128)
    assert read_all(path).shape == (5, 48, 128, 3)


def test_sound_is_ignored(tmp_path) -> None:
    sine = ("-f", "lavfi", "-i", "sine=duration=0.5")
    first_sound = ("-c:a", "aac", "-map", "1:a", "-map", "0:v")
    path = make_video(tmp_path / "loud.mp4", *first_sound, *H264, more_inputs=sine)
    assert len(open_clip(path).times) == 5
    assert (read_all(path) == read_all(make_video(tmp_path / "still.mp4", *H264))).all()


def test_a_gif_of_variable_rate_keeps_its_times(tmp_path) -> None:
    lengths = [100, 300, 50, 200]  # milliseconds
    first, *others = (Image.fromarray(f) for f in grey_levels(4))
    first.save(tmp_path / "v.gif", save_all=True, append_images=others, duration=lengths, loop=0)
    clip = open_clip(tmp_path / "v.gif")
    np.testing.assert_allclose(clip.times, [0, 0.1, 0.4, 0.45], atol=1e-6)
    found = np.stack(list(clip.read()))
    assert np.abs(found.astype(int) - grey_levels(4)).max() <= 2


def test_a_clip_cut_without_recoding_has_as_many_times_as_frames(tmp_path) -> None:
    frames = grey_levels(30)
    whole = encode(tmp_path / "whole.mp4", frames, "-pix_fmt", "yuv444p", "-crf", 4, "-g", 10)
    ffmpeg("-ss", 0.55, "-i", whole, "-c", "copy", tmp_path / "cut.mp4")  # not at a key frame
    clip = open_clip(tmp_path / "cut.mp4")
    found = [int(f.mean()) for f in clip.read()]
    assert len(clip.times) == len(found)
    np.testing.assert_allclose(clip.times, np.arange(len(found)) / 10, atol=1e-3)
    assert [int(f.mean()) for f in clip.read([0, 5, 9])] == [found[i] for i in (0, 5, 9)]


def test_a_clip_that_starts_late_starts_at_zero(tmp_path) -> None:
    path = make_video(tmp_path / "late.mkv", "-output_ts_offset", 5, *H264)
    np.testing.assert_allclose(open_clip(path).times, np.arange(5) / 10, atol=0.002)


def test_a_damaged_tail_costs_only_the_tail(tmp_path) -> None:
    frames = noise_clip(20, (48, 64))
    whole = encode(tmp_path / "whole.mkv", frames, *H264).read_bytes()
    (tmp_path / "half.mkv").write_bytes(whole[: len(whole) // 2])
    found = read_all(tmp_path / "half.mkv")
    assert 3 <= len(found) < 20
    assert (found[:3] == read_all(tmp_path / "whole.mkv")[:3]).all()


@pytest.mark.parametrize("name", ["-i.mp4", "a b'c.mp4", "100%d é:ü.mp4", "file:x.mp4"])
def test_file_names_are_only_names(name, tmp_path, monkeypatch) -> None:
    make_video(tmp_path / "plain.mp4", frames=2).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    clip = open_clip(name)
    assert clip.name == name
    assert len(list(clip.read())) == 2


def test_a_reader_that_is_left_early_can_be_opened_again(tmp_path) -> None:
    clip = open_clip(make_video(tmp_path / "clip.mp4", frames=9))
    first = next(clip.read())
    assert (next(clip.read()) == first).all()
    assert len(list(clip.read())) == 9


@pytest.mark.parametrize("max_side", [16, 33, 64, 1000])
def test_a_longest_side_shrinks_video_and_pictures_alike(max_side, tmp_path) -> None:
    make_video(tmp_path / "clip.mp4", frames=2)
    save_pictures(tmp_path / "frames", ["0.png", "1.png"], size=(48, 64))
    expected = (48, 64) if max_side >= 64 else (round(48 * max_side / 64), max_side)
    assert shrunk((48, 64), max_side) == expected
    for name in ("clip.mp4", "frames"):
        clip = open_clip(tmp_path / name, max_side=max_side)
        assert clip.size == expected
        assert [f.shape for f in clip.read()] == [(*expected, 3)] * 2


# ---- which frames ------------------------------------------------------------------------------


@given(st.integers(1, 3000), st.integers(1, 200))
def test_sampled_frames_are_spread_evenly_from_first_to_last(total, wanted) -> None:
    chosen = spread(total, wanted)
    assert len(chosen) == min(total, wanted)
    assert all(0 <= index < total for index in chosen)
    gaps = np.diff(chosen)
    assert (gaps >= 1).all()
    if wanted > 1:
        assert (chosen[0], chosen[-1]) == (0, total - 1)
        assert (chosen == np.linspace(0, total - 1, len(chosen)).round()).all()


@given(st.integers(1, 300), st.integers(1, 40), st.data())
def test_a_sample_can_include_any_frame(total, wanted, data) -> None:
    include = data.draw(st.integers(0, total - 1))
    chosen = spread(total, wanted, include)
    assert include in chosen
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(total, wanted)
    assert len(set(chosen) - set(spread(total, wanted))) <= 1


def test_a_single_sampled_frame_is_the_middle_one() -> None:
    assert spread(9, 1) == [4]


@pytest.mark.parametrize("side", [None, 20, 32, 64, 1000])
def test_a_clip_is_opened_once_and_resized_without_the_decoder(side, tmp_path, monkeypatch) -> None:
    path = make_video(tmp_path / "clip.mp4")
    starts: list[Path] = []
    start = Decoder.__init__
    monkeypatch.setattr(
        Decoder,
        "__init__",
        lambda self, path, **more: starts.append(path) or start(self, path, **more),
    )
    clip = open_clip(path)
    assert len(starts) == 1
    small = clip.resized(side)
    assert small.size == shrunk(clip.size, side)
    assert clip.size == (48, 64)
    assert len(starts) == 1
    indices, frames = small.sample(5)  # all of them, in one pass
    assert len(starts) == 2
    assert {frame.shape for frame in frames} == {(*small.size, 3)}
    assert indices.tolist() == [0, 1, 2, 3, 4]
    assert small.times is clip.times
    assert len(starts) == 2  # the pass has told the times
    np.testing.assert_array_equal(frames, list(open_clip(path, max_side=side).read()))
