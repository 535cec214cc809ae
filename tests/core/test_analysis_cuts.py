"""Cuts of an analysis, its instances, levels and tree."""

from itertools import pairwise

import numpy as np
import pytest

from bavos_core import Analysis, InputError, Settings, analyse, backbones, recluster
from bavos_core.backbones import ViTBackbone
from bavos_core.clustering import Clusters, assign, find_clusters
from bavos_core.distances import Windows
from bavos_core.edits import Edit
from bavos_core.pipeline import _background_as_one
from bavos_core.roles import BALLOT, background, seams
from bavos_core.settings import Compute
from bavos_core.sources import attention_rows, choose_source

from .helpers import (
    TINY,
    check_message,
    node_row,
    plain_attention,
    plain_unit,
    refines,
    same_partition,
    same_share,
    tiny_vit,
)

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


def test_labels_are_those_of_the_leaves(square_analysis) -> None:
    cut = square_analysis.segment(n_clusters=4)
    leaves = square_analysis.nearest[..., 0]
    assert (cut.labels == cut.leaf_cluster[leaves]).all()
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
        thin = seams(cut.labels, cut.background)[cut.leaf_cluster]
        assert (before.seams == thin).all()


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
