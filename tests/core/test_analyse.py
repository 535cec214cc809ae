"""From a clip to its analysis: frames, stages, sources, notes."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from bavos_core import Cancelled, InputError, Settings, analyse, backbones
from bavos_core.backbones import ViTBackbone
from bavos_core.correlator import untrained
from bavos_core.pipeline import read_sample
from bavos_core.settings import Compute
from bavos_core.sources import attention_rows, choose_source
from bavos_io.clip import ArrayClip

from .helpers import TINY, assert_sound, check_message, encode, noise_clip, tiny_vit


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("exact", [False, True])
def test_no_frame_is_dropped_however_short_the_clip(frames, exact) -> None:
    analysis = analyse(noise_clip(frames, (48, 64)), Settings(**TINY, exact=exact))
    assert analysis.analysed.tolist() == list(range(frames))
    assert len(analysis.frames) == len(analysis.times) == len(analysis.frame_names) == frames
    assert_sound(analysis)


@pytest.mark.parametrize("colour", [0, 128, 255])
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("correlator", ["key-similarity", "cross-frame", "untrained"])
def test_clips_of_one_colour_give_an_answer_without_nan(colour, frames, correlator) -> None:
    clip = np.full((frames, 48, 64, 3), colour, np.uint8)
    assert_sound(analyse(clip, Settings(**TINY, correlator=correlator)))


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (5, 200)])
def test_clips_of_any_shape_work(size) -> None:
    settings = Settings(
        backbone="descriptors", size=(max(8, size[0]), max(8, size[1])), device="cpu"
    )
    assert_sound(analyse(noise_clip(2, size), settings))


def test_the_square_is_found_as_one_object_that_keeps_its_number(square_analysis) -> None:
    cut = square_analysis.segment(n_clusters=2)
    truth = square_analysis.frames[..., 0] == 220
    patches = truth.reshape(7, 6, 8, 8, 8).mean((2, 4))
    far = ~binary_dilation(patches > 0, structure=np.ones((1, 3, 3)))  # more than a patch away
    inside, outside = cut.labels[patches > 0.9], cut.labels[far]
    number = np.bincount(inside).argmax()
    assert (inside == number).mean() > 0.9
    assert (outside == number).mean() < 0.1
    assert not cut.background[number]


def test_frames_are_sampled_evenly_and_the_rest_is_said(square_clip) -> None:
    analysis = analyse(square_clip, Settings(**TINY, frames=3))
    assert analysis.analysed.tolist() == [0, 3, 6]
    assert (analysis.frames == square_clip[[0, 3, 6]]).all()
    assert any("3 of 7 frames" in note for note in analysis.notes)
    assert not any("of 7 frames" in n for n in analyse(square_clip, Settings(**TINY)).notes)


@pytest.mark.parametrize("wanted", [1, 2, 3, 6, 7, 9])
def test_a_frame_asked_for_is_among_those_that_are_analysed(wanted) -> None:
    clip = ArrayClip.of(noise_clip(7, (8, 8)))
    settings = Settings(frames=wanted, device="cpu")
    for also in range(7):
        analysed, frames = read_sample(clip, settings, Compute.choose(settings), also)
        assert also in analysed
        assert len(analysed) == len(frames) == min(wanted, 7)
        assert (np.diff(analysed) > 0).all()
        assert (frames == clip.frames[analysed]).all()


@pytest.mark.parametrize("include_frame", [-1, 7, 500])
@pytest.mark.parametrize("kind", ["array", "video"])
def test_a_frame_asked_for_that_does_not_exist_is_refused(
    include_frame, kind, square_clip, tmp_path
):
    clip = square_clip if kind == "array" else encode(tmp_path / "clip.mp4", square_clip)
    with pytest.raises(InputError) as caught:
        analyse(clip, Settings(**TINY), include_frame=include_frame)
    check_message(caught.value, str(include_frame))


def test_a_video_file_is_analysed_as_its_frames_are(square_clip, tmp_path) -> None:
    path = encode(tmp_path / "square.avi", square_clip, "-c:v", "ffv1")
    first, second = (analyse(clip, Settings(**TINY)) for clip in (str(path), square_clip))
    assert first.clip_name == "square.avi"
    assert (first.segment().labels == second.segment().labels).all()
    np.testing.assert_allclose(first.times, np.arange(7) / 10, atol=1e-6)


def test_the_same_clip_gives_the_same_result(square_clip, square_analysis) -> None:
    again = analyse(square_clip, Settings(**TINY))
    assert (again.segment(0.5).labels == square_analysis.segment(0.5).labels).all()
    assert torch.equal(again.keys, square_analysis.keys)


def test_a_loaded_backbone_is_used_as_it_is(square_clip, square_analysis) -> None:
    given = analyse(
        square_clip,
        Settings(**TINY | {"backbone": "no-such-net"}),
        backbone=backbones.load("descriptors"),
    )
    assert (given.segment().labels == square_analysis.segment().labels).all()


def test_every_stage_reports_from_zero_to_one_and_is_timed(square_clip) -> None:
    seen: dict[str, list[float]] = {}

    def note(stage: str, share: float) -> None:
        seen.setdefault(stage, []).append(share)

    analysis = analyse(square_clip, Settings(**TINY), progress=note)
    stages = ["decode", "features", "attention and clustering", "instances"]
    assert list(seen) == list(analysis.timings) == stages
    for shares in seen.values():
        assert shares == sorted(shares)
        assert (shares[0], shares[-1]) == (0.0, pytest.approx(1.0))
    assert len(seen["attention and clustering"]) > 4
    assert all(seconds >= 0 for seconds in analysis.timings.values())


@pytest.mark.parametrize("stage", ["decode", "features", "attention and clustering", "instances"])
def test_what_the_progress_callback_raises_stops_the_work(stage, square_clip) -> None:
    def stop(name: str, share: float) -> None:
        if name == stage and share > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        analyse(square_clip, Settings(**TINY), progress=stop)


def test_cross_frame_rows_are_the_backbones_own_attention_over_the_key_frames(square_clip) -> None:
    settings = Settings(**TINY, correlator="cross-frame", key_ratio=3)
    model = tiny_vit()
    backbone = ViTBackbone(model, 1, (0.5,) * 3, (0.5,) * 3)
    analysis = analyse(square_clip, settings, backbone=backbone)
    assert analysis.source == "cross-frame"
    rows = attention_rows(analysis.features, "cross-frame", None, settings)
    queries, keys = (side.double().numpy() for side in (analysis.queries, analysis.keys))
    keys = np.concatenate([keys[0], keys[3]], axis=1)  # (H, 2·N, d)
    logits = np.einsum("thnd,hmd->thnm", queries, keys) * 8**-0.5
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    expected = (weights / weights.sum(-1, keepdims=True)).mean(1).reshape(-1, 96)
    np.testing.assert_allclose(rows.rows(0, 7).numpy(), expected, rtol=1e-3, atol=1e-6)


def test_each_backbone_has_a_source_that_is_clustered_unless_another_is_asked_for() -> None:
    settings = Settings()
    for preferred in ("key-similarity", "cross-frame"):
        assert choose_source(settings, 24, preferred) == (preferred, None)
        other = Settings(correlator="untrained")
        assert choose_source(other, 24, preferred) == ("untrained", None)


def test_a_correlator_that_does_not_fit_is_refused(square_clip, tmp_path) -> None:
    path = tmp_path / "wide.pth"
    torch.save(untrained(48, seed=0).state_dict(), path)
    with pytest.raises(InputError) as caught:
        analyse(square_clip, Settings(**TINY, correlator=str(path)))
    check_message(caught.value, "wide.pth", "48 channels", "gives 24")


def test_a_correlator_that_is_absent_is_refused_by_the_option_that_named_it(square_clip) -> None:
    with pytest.raises(InputError) as caught:
        analyse(square_clip, Settings(**TINY, correlator="absent.pth"))
    check_message(caught.value, "absent.pth", "--correlator")
