"""`analyse` once, then cut, look, save and load: small real runs with the descriptors."""

import io
import json
from itertools import pairwise
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation
from sklearn.metrics import adjusted_rand_score

from bavos_core import Analysis, Cancelled, InputError, Settings, analyse, backbones, recluster
from bavos_core.backbones import ViTBackbone
from bavos_core.clustering import Clusters, assign, find_clusters
from bavos_core.correlator import TemporalCorrelator, TrainedCorrelator, read_correlator, untrained
from bavos_core.distances import Windows
from bavos_core.edits import Edit
from bavos_core.pipeline import _background_as_one, read_sample
from bavos_core.roles import BALLOT, background, seams
from bavos_core.settings import Compute
from bavos_core.sources import attention_rows, choose_source
from bavos_core.video import ArrayClip

from .helpers import (
    TINY,
    check_message,
    encode,
    node_row,
    noise_clip,
    plain_attention,
    refines,
    same_partition,
    tiny_vit,
)

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("framewise", "cross-frame", "untrained", "correlator", "key-similarity")


@pytest.fixture(scope="module")
def block_file(tmp_path_factory) -> Path:
    """A block with weights of its own, for the 24 channels of the descriptors."""
    path = tmp_path_factory.mktemp("block") / "block.pth"
    torch.save({k: 2 * v for k, v in untrained(24, seed=11).state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def learned_analysis(square_clip, block_file) -> Analysis:
    """With a trained block."""
    return analyse(square_clip, Settings(**TINY, correlator=str(block_file)))


def assert_sound(analysis: Analysis) -> None:
    """No NaN anywhere, and masks for every frame that was analysed."""
    cut = analysis.segment()
    frames = len(analysis.analysed)
    assert cut.labels.shape == (frames, *analysis.grid)
    assert set(np.unique(cut.labels)) <= set(range(cut.clusters))
    assert cut.soft.shape == (frames, cut.clusters, *analysis.grid)
    assert cut.soft.isfinite().all()
    assert np.isfinite(analysis.tree.merges).all()
    for source in analysis.sources():
        heat = analysis.attend(frames - 1, *(side / 2 for side in analysis.size), source=source)
        assert heat.shape == (frames, *analysis.grid)
        assert np.isfinite(heat).all()
        assert heat.sum() == pytest.approx(1, abs=1e-4)


# ---- analysing ----------------------------------------------------------------------------------


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


# ---- another correlator -----------------------------------------------------------------------


def test_another_block_finds_what_an_analysis_with_it_finds(
    square_analysis, learned_analysis, block_file
) -> None:
    found = recluster(square_analysis, read_correlator(block_file))
    assert found.source == "correlator"
    # Features are kept as float16, so borders of clusters may move by a patch or two.
    same = same_share(found.segment().labels, learned_analysis.segment().labels)
    assert same > 0.95
    heat = found.attend(1, 20, 30)
    assert np.allclose(heat, learned_analysis.attend(1, 20, 30), rtol=1e-3)
    assert_sound(found)


def test_without_a_block_it_is_back_at_the_keys_and_the_old_one_is_untouched(
    square_analysis, learned_analysis
) -> None:
    before = learned_analysis.segment().labels.copy()
    back = recluster(learned_analysis, None)
    assert (back.source, back.correlator) == ("key-similarity", None)
    assert same_share(back.segment().labels, square_analysis.segment().labels) > 0.95
    assert back.frames is learned_analysis.frames
    assert learned_analysis.source == "correlator"
    assert (learned_analysis.segment().labels == before).all()


def test_finding_anew_reports_and_times_its_two_stages(square_analysis) -> None:
    seen: list[tuple[str, float]] = []
    found = recluster(square_analysis, None, progress=lambda *news: seen.append(news))
    stages = ["attention and clustering", "instances"]
    assert list(dict.fromkeys(stage for stage, _ in seen)) == stages
    for stage in stages:
        shares = [share for name, share in seen if name == stage]
        assert shares == sorted(shares)
        assert (shares[0], shares[-1]) == (0.0, pytest.approx(1.0))
    assert set(found.timings) == set(square_analysis.timings)
    assert found.timings["decode"] == square_analysis.timings["decode"]


def test_a_block_of_other_channels_is_refused(square_analysis) -> None:
    block = TrainedCorrelator(untrained(16, seed=0), torch.zeros(16), torch.ones(16))
    with pytest.raises(InputError, match="16 channels, and descriptors gives 24") as caught:
        recluster(square_analysis, block)
    check_message(caught.value)


def same_share(first: np.ndarray, second: np.ndarray) -> float:
    """Adjusted Rand index of two labellings."""
    return adjusted_rand_score(first.ravel(), second.ravel())


def test_the_backbones_own_queries_and_keys_are_kept(square_clip, square_analysis) -> None:
    images = backbones.to_images(square_clip, (6, 8), 8)
    features = backbones.load("descriptors").encode(
        images, Compute.choose(square_analysis.settings)
    )
    assert square_analysis.framewise_scale == features.scale
    torch.testing.assert_close(square_analysis.keys, features.keys.half())
    torch.testing.assert_close(square_analysis.queries, features.queries.half())
    torch.testing.assert_close(square_analysis.tokens, features.tokens, rtol=2e-3, atol=1e-4)


# ---- objects ------------------------------------------------------------------------------------


def exact_and_expected(
    clip: np.ndarray, tau: float, correlator: str
) -> tuple[Analysis, Clusters, np.ndarray]:
    """An exact analysis at τ, and the paper's clusters and labels (7, 6, 8), found step by step."""
    settings = Settings(**TINY, exact=True, key_ratio=3, tau=tau, correlator=correlator)
    images = backbones.to_images(clip, (6, 8), 8)
    features = backbones.load("descriptors").encode(images, Compute.choose(settings))
    rows = attention_rows(
        features, *choose_source(settings, features.channels, "key-similarity"), settings
    )
    assert rows.width == 2 * 48  # two key frames of seven
    expected = find_clusters(Windows(rows), tau)
    labels = assign(Windows(rows), expected.centroids).labels.unflatten(1, (6, 8)).numpy()
    return analyse(clip, settings), expected, labels


@pytest.mark.parametrize("tau", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("correlator", ["key-similarity", "cross-frame", "untrained"])
def test_exact_leaves_and_levels_are_the_papers(tau, correlator, square_clip) -> None:
    analysis, expected, labels = exact_and_expected(square_clip, tau, correlator)
    assert analysis.tree.leaves == len(expected.centroids)
    assert (analysis.nearest[..., 0] == labels).all()
    assert (analysis.levels.reshape(-1, 7 * 48) == np.stack(expected.levels())).all()


@pytest.mark.parametrize("tau", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("correlator", ["key-similarity", "cross-frame", "untrained"])
def test_exact_mode_gives_the_papers_clusters_at_the_settings_tau(tau, correlator, square_clip):
    analysis, expected, labels = exact_and_expected(square_clip, tau, correlator)
    found = analysis.segment(tau)
    assert found.clusters == len(expected.centroids)
    assert same_partition(found.labels, labels)


def test_without_arguments_the_cut_is_at_the_settings_tau(square_analysis) -> None:
    default, same = square_analysis.segment(), square_analysis.segment(1.0)
    assert default.tau == 1.0
    assert (default.labels == same.labels).all()


def test_a_number_of_clusters_gives_that_many(square_analysis) -> None:
    for clusters in (1, 2, 5, square_analysis.tree.leaves):
        cut = square_analysis.segment(n_clusters=clusters)
        assert cut.clusters == clusters
        assert (square_analysis.segment(cut.tau).leaf_cluster == cut.leaf_cluster).all()


def test_labels_and_membership_are_those_of_the_leaves(square_analysis) -> None:
    cut = square_analysis.segment(n_clusters=4)
    leaves = square_analysis.nearest[..., 0]
    assert (cut.labels == cut.leaf_cluster[leaves]).all()
    torch.testing.assert_close(cut.soft.sum(1), torch.ones(7, 6, 8))
    assert (np.diff(square_analysis.distance.astype(float), axis=-1) >= 0).all()


def test_a_finer_cut_only_splits(square_analysis) -> None:
    coarse, fine = (square_analysis.segment(tau).labels for tau in (2.0, 0.5))
    assert fine.max() > coarse.max() > 0
    assert all(len(np.unique(coarse[fine == c])) == 1 for c in np.unique(fine))


@pytest.mark.parametrize("tau", [0, -1, float("nan")])
def test_a_tau_that_is_not_above_zero_is_refused(tau, square_analysis) -> None:
    with pytest.raises(InputError) as caught:
        square_analysis.segment(tau)
    check_message(caught.value, str(tau))


# ---- instances and saliency ---------------------------------------------------------------------


TWINS = TINY | {"size": (96, 128), "tau": 2.0}


def two_squares() -> np.ndarray:
    """Two squares of one colour that move towards each other: (7, 96, 128, 3) uint8."""
    frames = np.full((7, 96, 128, 3), 40, np.uint8)
    for t, frame in enumerate(frames):
        frame[24:56, 16 + 2 * t : 48 + 2 * t] = (220, 180, 40)
        frame[40:72, 80 - 2 * t : 112 - 2 * t] = (220, 180, 40)
    return frames


@pytest.fixture(scope="module")
def twins() -> Analysis:
    """Two squares that attention does not tell apart, on a 12×16 grid."""
    return analyse(two_squares(), Settings(**TWINS))


def test_two_things_of_a_kind_get_a_number_each_that_they_keep(twins: Analysis) -> None:
    cut = twins.segment()
    found = []
    for top, left, way in ((24, 16, 2), (40, 80, -2)):
        inner = [cut.labels[t, top // 8 + 1 : top // 8 + 3, (left + way * t) // 8 + 2]
                 for t in range(7)]  # fmt: skip
        numbers = np.unique(inner)
        assert len(numbers) == 1
        found.append(int(numbers[0]))
    assert found[0] != found[1]
    assert twins.tree.instances.any()
    exact = analyse(two_squares(), Settings(**TWINS, exact=True))
    assert not exact.tree.instances.any()


def test_instances_are_kept_in_the_file(twins: Analysis, tmp_path) -> None:
    twins.save(tmp_path / "one.npz")
    after = Analysis.load(tmp_path / "one.npz")
    assert (after.tree.instances == twins.tree.instances).all()
    assert (after.segment().labels == twins.segment().labels).all()


def test_finding_anew_tells_instances_apart_and_drops_edits(twins: Analysis) -> None:
    found = recluster(twins.edited(Edit.name(0, "sky")), None)
    assert found.edits == ()
    assert found.tree.instances.any()
    assert same_share(found.segment().labels, twins.segment().labels) > 0.95


@pytest.mark.parametrize(
    ("parts", "scenery", "expected"),
    [
        ([0, 1, 2, -1], [False, False, False], [0, 1, 2, -1]),
        ([0, 1, 2, -1], [True, False, True], [0, 1, 0, -1]),
        ([0, 1, 2, -1], [False, True, True], [0, 1, 1, -1]),
        ([0, 1, 2, 3], [True, True, False, True], [0, 0, 1, 0]),
        ([0, 1, -1, -1], [True, True], [0, 0, -1, -1]),
        ([0, 1, -1, -1], [False, True], [0, 1, -1, -1]),
    ],
)
def test_instances_that_are_scenery_are_one(parts, scenery, expected) -> None:
    found = _background_as_one(np.array(parts).reshape(1, 2, 2), np.array(scenery))
    assert found.ravel().tolist() == expected


def test_the_saliency_of_a_vit_is_kept_also_in_the_file_and_descriptors_have_none(
    square_clip, square_analysis, tmp_path
) -> None:
    assert square_analysis.saliency is None
    backbone = ViTBackbone(tiny_vit(), 1, (0.5,) * 3, (0.5,) * 3)
    analysis = analyse(square_clip, Settings(**TINY), backbone=backbone)
    assert analysis.saliency.shape == (7, 6, 8)
    images = backbones.to_images(square_clip, (6, 8), 8)
    seen = backbone.encode(images, Compute.choose(analysis.settings)).saliency
    np.testing.assert_allclose(analysis.saliency.reshape(7, 48), seen, rtol=1e-4)
    for before in (analysis, square_analysis):
        before.save(tmp_path / "one.npz")
        after = Analysis.load(tmp_path / "one.npz")
        assert np.array_equal(after.saliency, before.saliency)
        cut = before.segment()
        ballot = [before.tree.cut(t * cut.tau)[before.nearest[..., 0]] for t in BALLOT]
        about = cut.labels, cut.clusters, before.saliency, ballot
        assert (cut.background == background(*about)).all()
        assert (cut.thin == seams(cut.labels, background(*about))).all()


# ---- the process and the tree -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["square_analysis", "exact_analysis", "learned_analysis"])
def test_levels_are_nested_within_windows_first_and_end_in_the_leaves(kind, request) -> None:
    analysis = request.getfixturevalue(kind)
    levels = analysis.levels
    assert levels.dtype == np.int32
    assert levels.shape[1:] == (7, 6, 8)
    window = np.broadcast_to(np.arange(7)[:, None, None] // 3, (7, 6, 8))
    assert refines(levels[0], window)
    for finer, coarser in pairwise(levels):
        assert refines(finer, coarser)
        assert coarser.max() < finer.max()
    assert levels[-1].max() + 1 == analysis.tree.leaves


@pytest.mark.parametrize("kind", ["square_analysis", "exact_analysis", "learned_analysis"])
def test_the_tree_counts_the_patches_nearest_to_each_leaf_in_each_frame(kind, request) -> None:
    analysis = request.getfixturevalue(kind)
    tree, nearest = analysis.tree, analysis.nearest[..., 0]
    expected = [[(frame == leaf).sum() for frame in nearest] for leaf in range(tree.leaves)]
    assert tree.counts.tolist() == expected
    assert tree.rows.shape == (tree.leaves, len(analysis.key_frames) * 48)
    assert np.isfinite(tree.rows).all()


def test_rows_of_the_tree_are_the_mean_attention_of_each_leafs_patches(exact_analysis) -> None:
    analysis = exact_analysis
    unit = plain_unit(analysis)
    scale = analysis._projection("key-similarity").scale
    rows = plain_attention(unit, unit[[0, 3]], scale)[0]
    for leaf in range(analysis.tree.leaves):
        mine = rows[analysis.nearest[..., 0].ravel() == leaf]
        if len(mine):
            np.testing.assert_allclose(
                node_row(analysis.tree, leaf), mine.mean(0), rtol=5e-3, atol=1e-6
            )


@pytest.mark.parametrize(
    ("frames", "options", "expected"),
    [
        (7, {}, [0]),
        (7, {"key_ratio": 1}, [0, 1, 2, 3, 4, 5, 6]),
        (7, {"key_ratio": 3}, [0, 3]),
        (7, {"key_ratio": 9}, [0]),
        (7, {"exact": True, "key_ratio": 2}, [0, 2, 4]),
        (3, {"key_ratio": 1}, [0, 3, 6]),
        (3, {"key_ratio": 2}, [0]),
        (4, {"key_ratio": 2}, [0, 4]),
    ],
)
def test_key_frames_are_every_rth_of_the_analysed_frames(frames, options, expected, square_clip):
    analysis = analyse(square_clip, Settings(**TINY, frames=frames, **options))
    assert analysis.key_frames.tolist() == expected
    assert analysis.tree.rows.shape[1] == 48 * len(expected)


# ---- attention ----------------------------------------------------------------------------------


def plain_heat(analysis: Analysis, source: str, frame: int, patch: int) -> np.ndarray:
    """Attention of one patch, per head: (H, T, N), worked out in numpy from the analysis alone."""
    queries, keys = (t.float().numpy() for t in (analysis.queries, analysis.keys))
    frames, _, patches, _ = keys.shape
    if source == "framewise":
        pairs = [(queries[t : t + 1], keys[t : t + 1]) for t in range(frames)]
        rows = [plain_attention(*pair, analysis.framewise_scale)[:, patch] for pair in pairs]
        return np.stack(rows, axis=1) / frames
    if source == "cross-frame":
        scale = analysis.framewise_scale
    elif source == "key-similarity":
        queries = keys = plain_unit(analysis)
        scale = analysis._projection("key-similarity").scale
    else:
        block = analysis.correlator.block if source == "correlator" else untrained(24, seed=0)
        queries, keys = plain_projection(block, analysis.tokens.numpy())
        scale = 3**-0.5  # 24 channels, 8 heads
    row = plain_attention(queries[frame : frame + 1, :, patch : patch + 1], keys, scale)[:, 0]
    return row.reshape(-1, frames, patches)


def plain_unit(analysis: Analysis) -> np.ndarray:
    tokens = analysis.tokens.numpy().astype(np.float64)
    centred = tokens - tokens.mean((0, 1))
    return (centred / np.linalg.norm(centred, axis=-1, keepdims=True))[:, None]


def plain_projection(block: TemporalCorrelator, tokens: np.ndarray) -> tuple[np.ndarray, ...]:
    """LayerNorm 1 and the query and key parts of `qkv`, 8 heads: (T, 8, N, 3) each."""
    weights = {k: v.detach().numpy() for k, v in block.state_dict().items()}
    x = tokens - tokens.mean(-1, keepdims=True)
    x = x / np.sqrt(tokens.var(-1, keepdims=True) + 1e-5)
    x = x * weights["norm1.weight"] + weights["norm1.bias"]
    both = (x @ weights["attn.qkv.weight"][:48].T).reshape(*x.shape[:2], 2, 8, 3)
    return tuple(both[:, :, i].swapaxes(1, 2) for i in (0, 1))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("frame", "row", "column"), [(0, 0, 0), (3, 2, 5), (6, 5, 7)])
def test_attention_at_a_patch_centre_is_the_plain_one(source, frame, row, column, learned_analysis):
    expected = plain_heat(learned_analysis, source, frame, row * 8 + column)
    where = {"frame": frame, "y": row * 8 + 4, "x": column * 8 + 4, "source": source}
    found = learned_analysis.attend(**where)
    assert found.dtype == np.float32
    assert found.shape == (7, 6, 8)
    np.testing.assert_allclose(found.reshape(7, 48), expected.mean(0), rtol=1e-3, atol=1e-6)
    for head in range(len(expected)):
        one = learned_analysis.attend(**where, head=head).reshape(7, 48)
        np.testing.assert_allclose(one, expected[head], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("source", SOURCES)
def test_attention_is_a_distribution_and_the_mean_of_its_heads(source, learned_analysis) -> None:
    for frame, y, x in ((0, 0, 0), (3, 17.3, 40.9), (6, 48, 64), (2, 47.9, 0.1)):
        heat = learned_analysis.attend(frame, y, x, source=source)
        assert (heat >= 0).all()
        assert heat.sum() == pytest.approx(1, abs=1e-5)
        heads = [
            learned_analysis.attend(frame, y, x, source=source, head=h)
            for h in range(learned_analysis.heads(source))
        ]
        np.testing.assert_allclose(heat, np.mean(heads, axis=0), rtol=1e-4, atol=1e-8)
        if source == "framewise":
            np.testing.assert_allclose(heat.sum((1, 2)), 1 / 7, rtol=1e-5)


@pytest.mark.parametrize("source", ["framewise", "cross-frame", "untrained", "key-similarity"])
def test_between_patch_centres_queries_are_mixed_by_their_nearness(source, square_analysis) -> None:
    projection = square_analysis._projection(source)
    queries = projection.queries.numpy()
    # Rows 2 and 3, columns 2 and 3 of 8: a quarter of the way down, half of the way across.
    four = {18: 0.375, 19: 0.375, 26: 0.125, 27: 0.125}
    mixed = sum(weight * queries[:, :, n] for n, weight in four.items())  # (T, H, d)
    found = square_analysis.attend(1, 2 * 8 + 4 + 2, 2 * 8 + 4 + 4, source=source)
    keys = projection.keys.numpy()
    if source == "framewise":
        rows = [plain_attention(mixed[t, None, :, None], keys[t : t + 1], projection.scale)
                for t in range(7)]  # fmt: skip
        expected = np.concatenate([r.mean(0) for r in rows]) / 7
    else:
        expected = plain_attention(mixed[1, None, :, None], keys, projection.scale).mean(0)
    np.testing.assert_allclose(found.ravel(), expected.ravel(), rtol=1e-3, atol=1e-6)


QUERIES = [(0, 4, 4), (6, 47.9, 0.1), (3, 17.3, 40.9), (3, 17.3, 40.9), (0, 48, 64)]


@pytest.mark.parametrize("source", [None, *SOURCES])
def test_many_queries_at_once_give_what_each_gives_alone(source, learned_analysis) -> None:
    for head in (None, *range(learned_analysis.heads(source))):
        found = learned_analysis.attend_all(QUERIES, head=head, source=source)
        assert found.dtype == np.float32
        assert found.shape == (len(QUERIES), 7, 6, 8)
        np.testing.assert_allclose(found.sum((1, 2, 3)), 1, atol=1e-5)
        for query, heat in zip(QUERIES, found, strict=True):
            alone = learned_analysis.attend(*query, head=head, source=source)
            np.testing.assert_allclose(heat, alone, rtol=1e-5, atol=1e-9)


def test_one_query_that_does_not_exist_among_many_is_refused(square_analysis) -> None:
    for wrong in ((7, 4, 4), (0, 49, 4), (0, 4, -1)):
        with pytest.raises(InputError) as caught:
            square_analysis.attend_all([(0, 4, 4), wrong, (1, 4, 4)])
        check_message(caught.value)


def test_no_query_at_all_gives_no_attention(square_analysis) -> None:
    assert square_analysis.attend_all([]).shape == (0, 7, 6, 8)


def test_the_picture_itself_decides_where_a_point_lies_not_the_grids_size() -> None:
    clip = noise_clip(2, (96, 128))  # twice the size that the backbone sees
    analysis = analyse(clip, Settings(**TINY))
    expected = plain_heat(analysis, "key-similarity", 1, 2 * 8 + 5).mean(0)
    found = analysis.attend(1, 2 * 16 + 8, 5 * 16 + 8, source="key-similarity")
    np.testing.assert_allclose(found.reshape(2, 48), expected, rtol=1e-3, atol=1e-6)


def test_the_outermost_half_patch_belongs_to_the_outermost_centre(square_analysis) -> None:
    for y, x, centre_y, centre_x in ((0, 0, 4, 4), (48, 64, 44, 60), (0, 64, 4, 60)):
        found = square_analysis.attend(2, y, x)
        assert (found == square_analysis.attend(2, centre_y, centre_x)).all()


def test_the_source_is_the_one_that_was_clustered_unless_given(square_analysis, learned_analysis):
    for analysis, source in ((square_analysis, "key-similarity"), (learned_analysis, "correlator")):
        assert analysis.source == source
        assert (analysis.attend(1, 9, 9) == analysis.attend(1, 9, 9, source=source)).all()


def test_learned_is_a_source_only_where_there_is_a_block(square_clip, learned_analysis) -> None:
    by_keys = analyse(square_clip, Settings(**TINY, correlator="key-similarity"))
    assert by_keys.sources() == ("framewise", "cross-frame", "untrained", "key-similarity")
    assert learned_analysis.sources() == SOURCES
    with pytest.raises(InputError) as caught:
        by_keys.attend(0, 4, 4, source="correlator")
    check_message(caught.value, "--correlator")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"frame": 7}, ("frame 7", "0 to 6")),
        ({"frame": -1}, ("frame -1",)),
        ({"y": 48.5}, ("64×48",)),
        ({"y": -0.5}, ("64×48",)),
        ({"x": 65}, ("x=65",)),
        ({"x": float("nan")}, ("nan",)),
        ({"y": float("inf")}, ("inf",)),
        ({"head": 8, "source": "untrained"}, ("head 8", "0 to 7")),
        ({"head": 1}, ("head 1",)),
        ({"head": -1}, ("head -1",)),
        ({"source": "dreams"}, ("'dreams'", "framewise")),
    ],
)
def test_a_query_that_does_not_exist_is_refused(wrong, words, square_analysis) -> None:
    with pytest.raises(InputError) as caught:
        square_analysis.attend(**({"frame": 0, "y": 4, "x": 4} | wrong))
    check_message(caught.value, *words)


# ---- file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["square_analysis", "exact_analysis", "learned_analysis"])
def test_a_saved_analysis_gives_the_same_cuts_and_attention(kind, request, tmp_path) -> None:
    before = request.getfixturevalue(kind)
    before.save(tmp_path / "one.npz")
    after = Analysis.load(tmp_path / "one.npz")
    for tau in (0.3, 1.0, 2.5):
        first, second = before.segment(tau), after.segment(tau)
        assert (first.labels == second.labels).all()
        assert torch.equal(first.soft, second.soft)
        assert (first.background == second.background).all()
    assert before.sources() == after.sources()
    for source in before.sources():
        found = after.attend(3, 20.5, 33, source=source)
        expected = before.attend(3, 20.5, 33, source=source)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_a_saved_analysis_keeps_every_field(learned_analysis, tmp_path) -> None:
    learned_analysis.save(tmp_path / "one.npz")
    after = Analysis.load(tmp_path / "one.npz")
    for name in ("settings", "clip_name", "frame_names", "grid", "source", "framewise_scale",
                 "notes", "timings", "peak_memory_mib", "size"):  # fmt: skip
        assert getattr(after, name) == getattr(learned_analysis, name), name
    arrays = ("times", "analysed", "frames", "nearest", "distance", "levels", "key_frames")
    for name in (*arrays, "tree.merges", "tree.counts", "tree.rows"):
        first, second = attrgetter(name)(learned_analysis), attrgetter(name)(after)
        assert (first.dtype, first.shape) == (second.dtype, second.shape), name
        assert (first == second).all(), name


def test_saving_leaves_one_file_and_replaces_what_was_there(square_analysis, tmp_path) -> None:
    path = tmp_path / "one.npz"
    path.write_text("something old")
    square_analysis.save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert Analysis.load(path).clip_name == square_analysis.clip_name


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def drop(name: str):
    def damage(path: Path) -> None:
        arrays = arrays_of(path)
        del arrays[name]
        np.savez(path, **arrays)

    return damage


def change_meta(**changes: object):
    def damage(path: Path) -> None:
        arrays = arrays_of(path)
        meta = json.loads(arrays["meta"].tobytes()) | changes
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        np.savez(path, **arrays)

    return damage


def flip_bytes(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    path.write_bytes(data)


def bare_array(path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    path.write_bytes(buffer.getvalue())


def pickled(path: Path) -> None:
    np.savez(path, meta=np.array([{"format": 1}], object))


DAMAGES = {
    "empty": lambda p: p.write_bytes(b""),
    "text": lambda p: p.write_text("not an analysis"),
    "cut-short": lambda p: p.write_bytes(p.read_bytes()[:-500]),
    "cut-in-half": lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
    "bytes-zeroed": flip_bytes,
    "bare-array": bare_array,
    "pickled": pickled,
    "other-npz": lambda p: np.savez(p, a=np.zeros(3)),
    "no-meta": drop("meta"),
    "no-merges": drop("merges"),
    "no-counts": drop("counts"),
    "no-rows": drop("rows"),
    "no-levels": drop("levels"),
    "no-keys": drop("keys"),
    "no-frames": drop("frames"),
    "meta-of-no-json": lambda p: np.savez(p, **arrays_of(p) | {"meta": np.zeros(3, np.uint8)}),
    "meta-is-a-list": lambda p: np.savez(
        p, **arrays_of(p) | {"meta": np.frombuffer(b"[1, 2]", np.uint8)}
    ),
    "another-version": change_meta(format=999),
    "unknown-settings": change_meta(settings={"zeta": 1}),
    "no-instances": drop("instances"),
    "unknown-edit": change_meta(edits=[{"action": "paint", "cluster": 0}]),
    "edits-are-text": change_meta(edits="none"),
    "edits-are-a-number": change_meta(edits=3),
    "absent": lambda p: p.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_with_a_sentence(damage, square_analysis, tmp_path) -> None:
    path = tmp_path / "one.npz"
    square_analysis.save(path)
    DAMAGES[damage](path)
    with pytest.raises(InputError) as caught:
        Analysis.load(path)
    check_message(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("version", [1, 2, 3, "4", None])
def test_a_file_of_another_version_is_refused_as_such(version, square_analysis, tmp_path) -> None:
    path = tmp_path / "one.npz"
    square_analysis.save(path)
    change_meta(format=version)(path)
    with pytest.raises(InputError) as caught:
        Analysis.load(path)
    check_message(caught.value, "one.npz", "another version", "analyse the clip again")


def test_an_edit_without_a_place_concerns_no_part_of_a_split(square_analysis) -> None:
    """Numbers after those of the hierarchy's cut belong to other clusters at finer cuts."""
    split = square_analysis.edited(Edit.split(0, at=2))
    assert split.segment(n_clusters=2).clusters > 2
    meant_for_finer = split.edited(Edit.name(2, "dog"))
    assert meant_for_finer.segment(n_clusters=2).names == {}
    assert meant_for_finer.segment(n_clusters=3).names == {2: "dog"}
    assert split.edited(Edit.name(2, "dog", at=2)).segment(n_clusters=2).names == {2: "dog"}


def test_seconds_are_kept_under_plain_names(square_analysis) -> None:
    assert {type(stage) for stage in square_analysis.timings} == {str}  # servers refuse other keys
