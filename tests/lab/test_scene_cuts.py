"""Roles of all cuts in one sweep are those of `segment`, cut by cut."""

from dataclasses import replace

import numpy as np
import pytest

from bavos_core import Analysis, ClusterTree, Settings, analyse
from bavos_lab.scene import base_part, unpack
from bavos_lab.scene.cuts import all_cuts, background_at_every_cut


def of_segment(analysis: Analysis, most: int) -> np.ndarray:
    return np.concatenate([analysis.segment(n_clusters=n).background for n in range(1, most + 1)])


def test_flags_are_those_of_every_cut(analysis: Analysis) -> None:
    most = min(analysis.tree.leaves, 255)
    flags = unpack(base_part(analysis))[1]["background"]
    np.testing.assert_array_equal(flags, of_segment(analysis, most))


@pytest.mark.parametrize("tau", [0.05, 0.6, 1.7, 30.0])
def test_flags_follow_the_tau_of_the_settings(square: Analysis, tau) -> None:
    other = replace(square, settings=replace(square.settings, tau=tau))
    found = background_at_every_cut(other, 12)
    np.testing.assert_array_equal(found, of_segment(other, 12))


@pytest.mark.parametrize("seed", range(4))
def test_flags_of_clips_of_noise(seed) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (1 + seed, 40, 48, 3), np.uint8)
    analysis = analyse(frames, Settings(backbone="descriptors", size=(40, 48)))
    most = analysis.tree.leaves
    found = background_at_every_cut(analysis, most)
    np.testing.assert_array_equal(found, of_segment(analysis, most))


def test_a_single_leaf_has_one_cut(square: Analysis) -> None:
    tree = ClusterTree(np.zeros((0, 4)), square.tree.counts.sum(0, keepdims=True), np.ones((1, 1)))
    alone = replace(
        square,
        tree=tree,
        nearest=np.zeros_like(square.nearest[..., :1]),
        distance=np.zeros_like(square.distance[..., :1]),
    )
    np.testing.assert_array_equal(background_at_every_cut(alone, 1), of_segment(alone, 1))


def test_all_cuts_are_those_of_the_tree(analysis: Analysis) -> None:
    tree = analysis.tree
    for clusters, cut in enumerate(all_cuts(tree), 1):
        np.testing.assert_array_equal(cut, tree.cut_into(clusters))
