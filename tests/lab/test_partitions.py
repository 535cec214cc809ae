"""The adjusted Rand index is scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from bavos_lab.partitions import adjusted_rand_index


@pytest.mark.parametrize("seed", range(60))
def test_it_is_scikit_learns_on_random_labels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, groups = int(rng.integers(2, 80)), int(rng.integers(1, 9))
    first = rng.integers(0, groups, count)
    second = np.where(rng.random(count) < rng.random(), first, rng.integers(0, groups, count))
    found = adjusted_rand_index(first, second)
    assert found == pytest.approx(adjusted_rand_score(first, second), abs=1e-12)


def test_what_the_numbers_are_does_not_matter() -> None:
    labels = np.array([[0, 0, 7], [7, 3, 3]])
    assert adjusted_rand_index(labels, np.array([[5, 5, 0], [0, 1, 1]])) == 1.0


@pytest.mark.parametrize("labels", [[0], [4, 4, 4], [0, 1, 2]])
def test_a_partition_is_equal_to_itself_even_a_trivial_one(labels: list[int]) -> None:
    assert adjusted_rand_index(np.array(labels), np.array(labels)) == 1.0


def test_labels_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        adjusted_rand_index(np.zeros(3), np.zeros((1, 3)))
