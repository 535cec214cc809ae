"""Membership of patches, and changes of a segmentation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bavos_core import Analysis, InputError
from bavos_core.refinement import nearest_place, soft_membership, without_seams
from bavos_core.segmentation import Segmentation

from .helpers import check_message

# ---- membership ---------------------------------------------------------------------------------


def random_neighbours(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Nearest leaves (3, 4, k) of 9, and their distances."""
    rng = np.random.default_rng(seed)
    index = np.stack([rng.permutation(9)[:5] for _ in range(12)]).reshape(3, 4, 5)
    distance = np.sort(rng.exponential(1.0, (3, 4, 5)), axis=-1).astype(np.float16)
    return index.astype(np.int32), distance


@pytest.mark.parametrize("seed", range(5))
def test_membership_is_a_softmax_of_distances(seed: int) -> None:
    index, distance = random_neighbours(seed)
    soft = soft_membership(index, distance, 9).numpy()
    assert soft.shape == (9, 3, 4)
    for y, x in np.ndindex(3, 4):
        weights = np.exp(-distance[y, x].astype(np.float64) / 0.3)
        expected = np.zeros(9)
        expected[index[y, x]] = weights / weights.sum()
        np.testing.assert_allclose(soft[:, y, x], expected, atol=1e-5)


# ---- seams --------------------------------------------------------------------------------------


def random_soft(seed: int, leaves: int = 5) -> Tensor:
    """Membership (leaves, 6, 8) that sums to 1, with zeros here and there."""
    rng = np.random.default_rng(seed)
    soft = rng.dirichlet(np.full(leaves, 0.3), (6, 8))
    only = np.eye(leaves)[rng.integers(0, leaves, (6, 8))]
    soft = np.where(rng.random((6, 8, 1)) < 0.4, only, soft)
    return torch.from_numpy(soft).float().permute(2, 0, 1)


@pytest.mark.parametrize("seed", range(20))
def test_without_seams_each_patch_keeps_its_proportions_or_is_as_the_nearest_one(seed) -> None:
    soft = random_soft(seed)
    seams = np.random.default_rng(seed).random(5) < 0.4
    seams[seed % 5] = True
    if seed % 5 == 4:
        soft = torch.eye(5)[seed % 5, :, None, None].expand(5, 6, 8).clone()
    before = soft.clone()
    found = without_seams(soft, seams).double().numpy()
    assert torch.equal(soft, before)
    others = soft.double().numpy() * ~seams[:, None, None]
    left = others.sum(0) > 1e-4
    for y, x in np.ndindex(6, 8):
        if left.any():
            held = np.argwhere(left)
            away = ((held - (y, x)) ** 2).sum(1)
            nearest = [others[:, i, j] for i, j in held[away == away.min()]]
            expected = [row / row.sum() for row in nearest]
        else:
            expected = [soft[:, y, x].numpy()]  # nothing but seams
        assert min(abs(found[:, y, x] - row).max() for row in expected) < 1e-5
    assert (~left).any()


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.lists(st.booleans(), min_size=5, max_size=5))
def test_membership_without_seams_sums_to_one_even_if_all_leaves_are_seams(seed, seams) -> None:
    found = without_seams(random_soft(seed), np.array(seams))
    torch.testing.assert_close(found.sum(0), torch.ones(6, 8))
    assert (found >= 0).all()


def test_without_any_seam_nothing_changes() -> None:
    soft = random_soft(0)
    torch.testing.assert_close(without_seams(soft, np.zeros(5, bool)), soft)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_the_nearest_place_is_none_farther_than_another(seed: int) -> None:
    rng = np.random.default_rng(seed)
    where = rng.random((7, 9)) < 0.2
    where[3, 4] = True
    rows, columns = nearest_place(where)
    held = np.argwhere(where)
    for y, x in np.ndindex(7, 9):
        assert where[rows[y, x], columns[y, x]]
        squared = (rows[y, x] - y) ** 2 + (columns[y, x] - x) ** 2
        assert squared == ((held - (y, x)) ** 2).sum(1).min()


# ---- what a person changes ---------------------------------------------------------------------


@pytest.fixture
def cut(square_analysis: Analysis) -> Segmentation:
    """The wandering square, cut into six."""
    return square_analysis.segment(n_clusters=6)


def test_merged_clusters_are_one_and_the_others_keep_their_numbers(cut: Segmentation) -> None:
    found = cut.merged(4, 1)
    expected = np.where(cut.labels == 4, 1, cut.labels)
    np.testing.assert_array_equal(found.labels, expected)
    np.testing.assert_array_equal(found.leaf_cluster == 1, np.isin(cut.leaf_cluster, (1, 4)))
    assert found.clusters == 6
    assert 4 not in found.objects
    assert (cut.labels == 4).any()  # the old one is as it was


def test_an_object_merged_with_scenery_stays_an_object(cut: Segmentation) -> None:
    thing = cut.objects[0]
    scenery = int(np.flatnonzero(cut.background)[0])
    assert thing in cut.merged(scenery, thing).objects
    assert scenery in cut.merged(thing, scenery).objects


@pytest.mark.parametrize("pair", [(0, 6), (6, 0), (-1, 2), (2, -1)])
def test_clusters_that_do_not_exist_cannot_be_merged(pair, cut: Segmentation) -> None:
    with pytest.raises(InputError) as caught:
        cut.merged(*pair)
    check_message(caught.value, "no cluster", "0 to 5")


def test_a_cluster_cannot_be_merged_into_itself(cut: Segmentation) -> None:
    with pytest.raises(InputError) as caught:
        cut.merged(1, 1)
    check_message(caught.value, "Cluster 1", "cannot be merged into itself")


@pytest.mark.parametrize("cluster", [-1, 6])
def test_what_does_not_exist_has_no_role_and_cannot_be_split(cluster, cut: Segmentation) -> None:
    for change in (
        lambda: cut.with_role(cluster, "object"),
        lambda: cut.split(cluster, np.zeros_like(cut.leaf_cluster)),
    ):
        with pytest.raises(InputError) as caught:
            change()
        check_message(caught.value, f"no cluster {cluster}", "0 to 5")


def test_a_role_is_given_to_one_cluster_and_the_old_cut_stays_as_it_was(cut: Segmentation) -> None:
    before = cut.background.copy()
    for cluster in range(cut.clusters):
        for role in ("object", "background"):
            found = cut.with_role(cluster, role)
            assert found.background[cluster] == (role == "background")
            assert (np.delete(found.background, cluster) == np.delete(before, cluster)).all()
            assert (cluster in found.objects) == (role == "object")
    assert (cut.background == before).all()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_cluster_is_split_into_its_parts_and_all_else_stays(count, cut: Segmentation) -> None:
    own = cut.leaf_cluster == 1
    parts = np.where(own, np.arange(len(own)) % count, -1)
    parts[np.flatnonzero(own)[-1]] = count - 1
    found = cut.split(1, parts)
    assert found.clusters == 6 + count - 1
    numbers = (1, *range(6, 6 + count - 1))
    for part, number in enumerate(numbers):
        assert ((found.leaf_cluster == number) == (own & (parts == part))).all()
        assert found.background[number] == cut.background[1]
    assert (found.leaf_cluster[~own] == cut.leaf_cluster[~own]).all()
    assert (found.labels == found.leaf_cluster[cut.leaves]).all()
    assert (found.cut, cut.clusters) == (6, 6)
    assert found.splits == {1: numbers}


def test_clusters_have_the_names_given_or_their_role_and_number(cut: Segmentation) -> None:
    cut = cut.with_role(0, "background").with_role(1, "object")
    named = cut.named({2: "dog"}).named({3: "ball"})
    assert [named.name(i) for i in (0, 1, 2, 3)] == ["Background 1", "Object 2", "dog", "ball"]
    assert named.named({2: ""}).name(2) == cut.name(2)
    assert named.with_role(2, "background").name(2) == "dog"
    assert cut.with_role(1, "background").name(1) == "Background 2"
