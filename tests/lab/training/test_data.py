"""Training clips: how they are read, what is kept of them, and what samples are drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bavos_core.errors import InputError
from bavos_core.settings import Compute
from bavos_lab.training.data import (
    AugmentedClip,
    CachedClip,
    TrainingData,
    augmented,
    load_clips,
    statistics,
)
from bavos_lab.training.samples import draw_crop, draw_frames, draw_sample, sample_generator

from .helpers import TINY, pictures, tiny_backbone, write_mp4, write_pictures

CPU = Compute(torch.device("cpu"), "fp32")


def numbered_clip(name: str, frames: int, grid: tuple[int, int], channels: int = 2) -> CachedClip:
    """A clip whose features tell frame and patch."""
    shape = (frames, grid[0] * grid[1])
    frame = torch.arange(frames)[:, None].expand(shape)
    patch = torch.arange(shape[1]).expand(shape)
    features = torch.stack([frame, patch], -1).repeat(1, 1, channels // 2)
    return CachedClip(name, grid, features.half())


# ---- reading ------------------------------------------------------------------------------------


def test_folders_videos_and_zips_are_read_in_order(data: TrainingData) -> None:
    assert [(clip.name, len(clip)) for clip in data.clips] == [
        ("a", 10), ("b", 11), ("c.zip", 12), ("d.mp4", 13),
    ]  # fmt: skip
    assert {clip.grid for clip in data.clips} == {(6, 8)}
    assert data.frames == 46
    assert data.notes == ()
    assert data.layer is None  # descriptors have no blocks


def test_features_are_kept_as_float16_and_their_memory_is_told(data: TrainingData) -> None:
    assert data.clips[0].features.dtype == torch.float16
    assert data.nbytes == 46 * 48 * 24 * 2


def test_frames_of_a_long_clip_are_left_out(folder: Path) -> None:
    found = load_clips(folder, replace(TINY, clip_frames=4))
    assert [len(clip) for clip in found.clips] == [4, 4, 4, 4]


def test_without_a_size_the_grid_has_the_clips_shape(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", 3, seed=0)
    (clip,) = load_clips(tmp_path, replace(TINY, size=None)).clips
    assert clip.grid == (29, 40)  # about 1152 patches for 48×64 pixels


def test_a_vit_tells_its_layer(folder: Path) -> None:
    assert load_clips(folder, TINY, backbone=tiny_backbone()).layer == 1


def test_progress_names_the_clip(folder: Path) -> None:
    told = []
    load_clips(folder, TINY, on_clip=lambda name, share: told.append((name, share)))
    assert told == [("a", 0.0), ("b", 0.25), ("c.zip", 0.5), ("d.mp4", 0.75)]


def test_unreadable_and_short_clips_are_left_out_with_a_note(tmp_path: Path) -> None:
    write_pictures(tmp_path / "good", 5, seed=0)
    write_pictures(tmp_path / "short", 2, seed=0)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    write_pictures(tmp_path / "mixed", 4, seed=0)
    Image.new("RGB", (20, 20)).save(tmp_path / "mixed" / "00002.png")
    (tmp_path / "README.txt").write_text("no clip")
    (tmp_path / ".hidden").mkdir()
    found = load_clips(tmp_path, TINY)
    assert [clip.name for clip in found.clips] == ["good"]
    notes = {note.split(" ")[0]: note for note in found.notes}
    assert notes.keys() == {"short", "nothing", "broken.mp4", "mixed"}
    assert "2 frames and a sample needs 3" in notes["short"]
    assert "make all frames one size" in notes["mixed"]


def test_a_cut_off_video_counts_what_it_still_holds(tmp_path: Path) -> None:
    write_mp4(tmp_path / "a.mp4", 13, seed=0)
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) // 3])
    found = load_clips(tmp_path, TINY)
    assert [clip.name for clip in found.clips] == ["a.mp4"]
    assert found.notes[0].startswith("b.mp4 is left out: ")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("none", "is not a folder"),
        ("empty", "holds no clips"),
        ("pictures", "holds pictures, not clips"),
        ("broken", "No clip of 'broken' can be trained on. x.mp4 is left out"),
    ],
)
def test_folders_without_clips(tmp_path: Path, content: str, complaint: str) -> None:
    folder = tmp_path / content
    if content == "pictures":
        write_pictures(folder, 4, seed=0)
    elif content != "none":
        folder.mkdir()
    if content == "broken":
        (folder / "x.mp4").write_bytes(b"broken")
    with pytest.raises(InputError, match=complaint):
        load_clips(folder, TINY)


@pytest.mark.parametrize(("augment", "held"), [(False, "features"), (True, "frames")])
def test_too_much_memory_is_refused(tmp_path: Path, augment: bool, held: str) -> None:
    for name in "ab":
        write_pictures(tmp_path / name, 20, seed=0)
    settings = replace(TINY, size=(192, 256), cache_mib=1, augment=augment)
    with pytest.raises(InputError, match=f"The {held} of these clips take .* MiB.*--cache-mib"):
        load_clips(tmp_path, settings)


def test_a_grid_of_one_patch_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="single patch"):
        load_clips(folder, replace(TINY, size=(8, 8)))
    with pytest.raises(InputError, match="single patch"):
        load_clips(folder, replace(TINY, size=(8, 64), columns=1))


# ---- cache and augmentation ---------------------------------------------------------------------


def test_kept_features_are_the_frames_features(folder: Path) -> None:
    backbone = tiny_backbone()
    cached = load_clips(folder, TINY, backbone=backbone).clips
    fresh = load_clips(folder, replace(TINY, augment=True), backbone=backbone).clips
    for kept, made in zip(cached, fresh, strict=True):
        assert isinstance(made, AugmentedClip)
        frames = [0, 3, 6]
        torch.testing.assert_close(
            kept.tokens(frames), made.tokens(frames), rtol=2e-3, atol=2e-2
        )  # float16, and bfloat16 where the processor has it


def test_the_same_change_for_all_frames() -> None:
    image = torch.from_numpy(pictures(1, seed=0)).permute(0, 3, 1, 2).float() / 255
    changed = augmented(image.expand(3, -1, -1, -1), np.random.default_rng(1))
    assert torch.equal(changed[0], changed[1])
    assert torch.equal(changed[0], changed[2])
    assert 0 <= changed.min() <= changed.max() <= 1


def test_changes_come_as_often_as_in_the_paper() -> None:
    image = torch.from_numpy(pictures(1, seed=0)).permute(0, 3, 1, 2).float() / 255
    many = [augmented(image, np.random.default_rng(i)) for i in range(200)]
    grey = np.mean([torch.allclose(c[:, 0], c[:, 1], atol=1e-3) for c in many])
    same = np.mean([torch.equal(c, image) for c in many])
    assert grey == pytest.approx(0.2, abs=0.08)
    assert same == pytest.approx(0.8 * 0.2 * 0.5, abs=0.06)


def test_augmented_samples_differ_and_repeat(folder: Path) -> None:
    settings = replace(TINY, augment=True)
    clips = load_clips(folder, settings, backbone=tiny_backbone()).clips

    def tokens(step: int) -> torch.Tensor:
        return draw_sample(clips, sample_generator(0, step, 0), settings).tokens

    assert torch.equal(tokens(1), tokens(1))
    assert not torch.equal(tokens(1), tokens(2))
    state = torch.get_rng_state()
    tokens(3)
    assert torch.equal(torch.get_rng_state(), state)


# ---- samples ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "gap", "expected"), [(20, 4, 4), (9, 4, 4), (8, 4, 3), (5, 4, 2), (3, 4, 1)]
)
def test_frames_are_a_gap_apart_as_far_as_the_clip_goes(
    length: int, gap: int, expected: int
) -> None:
    starts = set()
    for seed in range(200):
        frames = draw_frames(length, np.random.default_rng(seed), replace(TINY, gap=gap))
        assert np.diff(frames).tolist() == [expected, expected]
        assert 0 <= frames[0] <= frames[-1] < length
        starts.add(frames[0])
    assert starts == set(range(length - 2 * expected)), "every start is possible"


def test_one_frame_samples() -> None:
    assert draw_frames(1, np.random.default_rng(0), replace(TINY, frames=1)) == [0]


def test_crops_are_the_same_columns_of_all_frames() -> None:
    clip = numbered_clip("a", 4, (3, 8))
    lefts = set()
    for seed in range(60):
        crop = draw_crop(clip.tokens([0, 2, 3]), (3, 8), np.random.default_rng(seed), 5)
        assert crop.shape == (3, 15, 2)
        assert crop[:, 0, 0].tolist() == [0, 2, 3]
        columns = crop[..., 1].reshape(3, 3, 5) % 8
        left = int(columns[0, 0, 0])
        assert (columns == torch.arange(left, left + 5)).all()
        lefts.add(left)
    assert lefts == {0, 1, 2, 3}


@pytest.mark.parametrize("columns", [None, 8, 30])
def test_no_crop(columns: int | None) -> None:
    tokens = numbered_clip("a", 3, (3, 8)).tokens([0, 1, 2])
    assert draw_crop(tokens, (3, 8), np.random.default_rng(0), columns) is tokens


def test_a_sample_depends_on_seed_step_and_index_only(data: TrainingData) -> None:
    def sample(*key: int) -> torch.Tensor:
        return draw_sample(data.clips, sample_generator(*key), TINY).tokens

    first = sample(0, 5, 1)
    sample(0, 6, 0)
    assert torch.equal(sample(0, 5, 1), first)
    assert not any(
        torch.equal(sample(*other), first) for other in [(1, 5, 1), (0, 6, 1), (0, 5, 0)]
    )


def test_all_clips_are_drawn_and_anchors_are_different_patches(data: TrainingData) -> None:
    seen = set()
    for step in range(60):
        sample = draw_sample(data.clips, sample_generator(0, step, 0), TINY)
        assert sample.tokens.shape == (3, 36, 24)
        assert len(sample.anchors.unique()) == 4
        assert 0 <= sample.anchors.min() <= sample.anchors.max() < 36
        seen |= {
            clip.name
            for clip in data.clips
            if (clip.tokens(range(len(clip)))[:, :, None] == sample.tokens[0, 0]).all(-1).any()
        }
    assert seen == {"a", "b", "c.zip", "d.mp4"}


def test_no_more_anchors_than_patches() -> None:
    clip = numbered_clip("a", 3, (1, 3))
    sample = draw_sample([clip], sample_generator(0, 0, 0), replace(TINY, anchors=8))
    assert sorted(sample.anchors.tolist()) == [0, 1, 2]


# ---- all clips ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "trained", "measured"),
    [
        (3, "abdeg", "cf"),
        (7, "abcdef", "g"),
        (8, "abcdefg", "a"),
        (1, "abcdefg", "a"),
        (0, "abcdefg", "a"),
    ],
)
def test_every_kth_clip_is_held_out(every: int, trained: str, measured: str) -> None:
    data = TrainingData("x", tuple(numbered_clip(name, 3, (2, 2)) for name in "abcdefg"))
    names = ["".join(clip.name for clip in part) for part in data.split(every)]
    assert names == [trained, measured]


def test_the_fingerprint_tells_clips_apart() -> None:
    clip = numbered_clip("a", 3, (2, 2))
    prints = [
        TrainingData("x", clips).fingerprint
        for clips in [
            (clip,),
            (clip, clip),
            (numbered_clip("b", 3, (2, 2)),),
            (numbered_clip("a", 4, (2, 2)),),
            (numbered_clip("a", 3, (1, 4)),),
        ]
    ]
    assert len(set(prints)) == 5
    assert TrainingData("y", (numbered_clip("a", 3, (2, 2)),)).fingerprint == prints[0]


def test_statistics_standardise_every_channel() -> None:
    rng = np.random.default_rng(0)
    features = torch.tensor(rng.normal([3, -1, 7], [0.5, 2, 0], (6, 20, 3)), dtype=torch.float16)
    clips = [CachedClip("a", (4, 5), features[:4]), CachedClip("b", (4, 5), features[4:])]
    mean, std = statistics(clips, "channel")
    flat = features.float().flatten(0, 1)
    torch.testing.assert_close(mean, flat.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(std[:2], flat.std(0, correction=0)[:2], rtol=1e-4, atol=1e-5)
    assert std[2] == 1  # a channel that never varies
    common_mean, common = statistics(clips, "common")
    assert torch.equal(common_mean, mean)
    assert common.unique().numel() == 1
    torch.testing.assert_close(common[0] ** 2, flat.var(0, correction=0).mean(), rtol=1e-3, atol=0)


def test_both_kinds_of_clip_have_the_same_statistics(folder: Path) -> None:
    found = [
        statistics(load_clips(folder, settings, backbone=tiny_backbone()).clips, "channel")
        for settings in (TINY, replace(TINY, augment=True))
    ]
    for kept, made in zip(*found, strict=True):
        torch.testing.assert_close(kept, made, rtol=1e-2, atol=1e-2)
