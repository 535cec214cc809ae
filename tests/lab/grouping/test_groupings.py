"""Groupings beside attention: each finds what is easy to find, and they agree with other tools."""

import copy

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.metrics import adjusted_rand_score

from bavos_core import Analysis, InputError, export
from bavos_lab.grouping import GROUPINGS
from bavos_lab.grouping.kmeans import kmeans
from bavos_lab.grouping.ncut import _graph, normalised_cut
from bavos_lab.grouping.regroup import regrouped
from bavos_lab.grouping.slots import Slots, SlotSettings

GRID = (8, 12)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Two things that move over a ground, (T, N)."""
    found = np.zeros((4, *GRID), int)
    for t, frame in enumerate(found):
        frame[1:4, t : t + 4] = 1
        frame[5:8, 8 - t : 11 - t] = 2
    return found.reshape(4, -1)


@pytest.fixture(scope="module")
def tokens(truth: np.ndarray) -> torch.Tensor:
    """Features (T, N, 16): a direction for each thing, and noise."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.eye(16)[:3] * 4
    return directions[torch.from_numpy(truth)] + 0.4 * torch.randn(4, 96, 16, generator=generator)


@pytest.fixture(scope="module")
def slots() -> Slots:
    """Slots for these features that have learned nothing."""
    torch.manual_seed(0)
    return Slots(SlotSettings(channels=16, slots=3, width=32, hidden=32)).eval()


def test_kmeans_finds_what_scikit_learn_finds(tokens, truth) -> None:
    found = kmeans(tokens, 3)
    theirs = KMeans(3, n_init=3, random_state=0).fit_predict(tokens.flatten(0, 1).numpy())
    assert adjusted_rand_score(found.ravel(), theirs) == 1
    assert adjusted_rand_score(found.ravel(), truth.ravel()) == 1


def test_normalised_cut_finds_what_scikit_learn_finds(tokens, truth) -> None:
    found = normalised_cut(tokens, GRID, 3)
    graph = _graph(torch.nn.functional.normalize(tokens, dim=-1), GRID).toarray()
    theirs = SpectralClustering(3, affinity="precomputed", random_state=0).fit_predict(graph)
    assert adjusted_rand_score(found.ravel(), theirs) > 0.9
    assert adjusted_rand_score(found.ravel(), truth.ravel()) > 0.9


def test_the_graph_joins_like_patches_of_a_frame_and_the_next_and_neighbours(tokens) -> None:
    graph = _graph(torch.nn.functional.normalize(tokens, dim=-1), GRID)
    assert (graph != graph.T).nnz == 0
    frame = np.repeat(np.arange(4), 96)
    first, second = graph.nonzero()
    assert set(np.abs(frame[first] - frame[second])) == {0, 1}
    assert graph[0, 1] == graph[0, GRID[1]] == 1


def test_slots_compete_for_patches_as_written_down_one_by_one(slots) -> None:
    generator = torch.Generator().manual_seed(1)
    inputs, before = torch.randn(1, 5, 32, generator=generator), slots.first[None]
    with torch.no_grad():
        found = slots._attend(inputs, before)[0]
        now, patches = list(before[0]), slots.normed_inputs(inputs[0])
        for _ in range(slots.settings.rounds):
            queries = [slots.query(slots.normed_slots(slot)) for slot in now]
            won = torch.zeros(3, 5)
            for n, patch in enumerate(patches):
                bids = torch.stack([slots.key(patch) @ query / 32**0.5 for query in queries])
                won[:, n] = torch.exp(bids) / torch.exp(bids).sum()
            for k in range(3):
                mean = sum(w * slots.value(p) for w, p in zip(won[k], patches, strict=True))
                slot = slots.update((mean / won[k].sum())[None], now[k][None])[0]
                now[k] = slot + slots.refine(slot)
    assert torch.allclose(found, torch.stack(now), atol=1e-4)


def test_training_decodes_features_better(tokens, slots) -> None:
    model = copy.deepcopy(slots)
    optimiser, losses = torch.optim.Adam(model.parameters(), 3e-3), []
    for _ in range(40):
        optimiser.zero_grad()
        losses.append(model.loss(tokens[None], GRID))
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.8 * losses[0]


def test_a_patch_is_shared_out_among_the_slots(tokens, slots) -> None:
    with torch.no_grad():
        for features, share in slots.frames(tokens[None], GRID):
            assert features.shape == (1, 96, 16)
            assert torch.allclose(share.sum(1), torch.ones(1, 96), atol=1e-5)


def test_slots_come_back_from_their_file(tokens, slots, tmp_path) -> None:
    slots.save(tmp_path / "slots.safetensors")
    again = Slots.load(tmp_path / "slots.safetensors")
    assert again.settings == slots.settings
    assert (again.groups(tokens, GRID) == slots.groups(tokens, GRID)).all()


def test_slots_of_other_features_are_refused(slots) -> None:
    with pytest.raises(InputError, match="features of 16 channels, not 24"):
        slots.groups(torch.zeros(2, 96, 24), GRID)


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_a_file_without_slots_is_refused(tmp_path, content) -> None:
    path = tmp_path / "other.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"'other\.safetensors' holds no slots"):
        Slots.load(path)


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_an_analysis_with_other_groups_is_used_like_any_other(
    square: Analysis, grouping, tmp_path
) -> None:
    torch.manual_seed(0)
    slots = Slots(SlotSettings(channels=square.tokens.shape[-1], slots=5)).eval()
    found = regrouped(square, grouping, slots)
    cut = found.segment()
    if grouping == "attention":
        assert found is square
        return
    if grouping != "slots":
        assert cut.clusters == max(2, square.segment().clusters)
        expected = (
            kmeans(square.tokens, cut.clusters)
            if grouping == "kmeans"
            else normalised_cut(square.tokens, square.grid, cut.clusters)
        )
    else:
        expected = slots.groups(square.tokens, square.grid)
    assert adjusted_rand_score(cut.labels.ravel(), expected.ravel()) == 1
    assert found.segment(n_clusters=1).clusters == 1
    document = export.write_all(tmp_path / "out", found, cut, None)
    assert document["clusters"] == cut.clusters
