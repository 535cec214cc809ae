"""The losses: the reference's numbers, their gradients, and what must hold for any input."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bavos_lab.training.losses import (
    Pairs,
    SetSizes,
    anchor_places,
    entropy_weights,
    even_weights,
    mine_motion,
    mine_semantic,
    motion_loss,
    normalised,
    semantic_loss,
)

from .helpers import ROOT, random_tokens

PAPER = SetSizes(
    semantic_positives=30, semantic_negatives=200, motion_positives=10, motion_negatives=50
)


def random_rows(count: int, length: int, seed: int = 0) -> Tensor:
    """Distributions (count, length), some peaked and some flat."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, length)) * rng.uniform(0.1, 4, (count, 1))
    return torch.tensor(logits, dtype=torch.float32).softmax(1)


# ---- the reference ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    """Its attention (768, 768), output tokens (768, 16), 8 anchors, losses and their gradients."""
    with np.load(ROOT / "tests" / "golden" / "training_losses.npz") as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file}
    squeezed = ("attention", "grad_attention")
    flat = ("tokens", "grad_tokens")
    arrays |= {name: arrays[name][0] for name in squeezed}
    arrays |= {name: arrays[name][0].flatten(0, 1) for name in flat}
    return arrays


def test_losses_and_gradients_are_the_references(golden: dict[str, Tensor]) -> None:
    attention = golden["attention"].requires_grad_()
    tokens = golden["tokens"].requires_grad_()
    places = anchor_places(golden["anchors"], 3, 256)
    rows = normalised(attention[places]).detach()
    semantic = semantic_loss(tokens, places, mine_semantic(rows, 3, PAPER), even_weights(rows))
    motion = motion_loss(attention, rows, mine_motion(rows, 3, PAPER), entropy_weights(rows, 3))
    (semantic + motion).backward()
    found = {"semantic_loss": semantic, "motion_loss": motion,
             "grad_attention": attention.grad, "grad_tokens": tokens.grad}  # fmt: skip
    for name, value in found.items():
        assert value is not None
        np.testing.assert_allclose(
            value.detach().numpy(), golden[name].numpy(), rtol=1e-5, atol=1e-5, err_msg=name
        )


# ---- set sizes ----------------------------------------------------------------------------------


def test_set_sizes_are_the_papers_on_its_grid() -> None:
    assert SetSizes.of_grid(24 * 48) == PAPER


@given(st.integers(2, 5000))
def test_set_sizes_fit_any_grid(patches: int) -> None:
    sizes = SetSizes.of_grid(patches)
    assert sizes.semantic_positives >= 1
    assert sizes.motion_positives >= 1
    assert sizes.semantic_positives + sizes.semantic_negatives <= patches
    assert sizes.motion_positives + sizes.motion_negatives <= patches


def test_one_patch_holds_no_pair() -> None:
    with pytest.raises(ValueError, match="at least 2 patches, not 1"):
        SetSizes.of_grid(1)


def test_sets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="30 positives and 200 negatives do not fit into 100"):
        mine_semantic(random_rows(3, 300), 3, PAPER)


# ---- mining -------------------------------------------------------------------------------------


def test_anchors_lie_at_the_same_place_in_all_frames() -> None:
    assert anchor_places(torch.tensor([1, 4]), 3, 10).tolist() == [1, 4, 11, 14, 21, 24]


def test_semantic_sets_are_the_extremes_of_each_frame() -> None:
    row = torch.tensor([[0.4, 0.1, 0.2, 0.05, 0.03, 0.02, 0.15, 0.05]])
    sizes = SetSizes(
        semantic_positives=1, semantic_negatives=2, motion_positives=1, motion_negatives=1
    )
    pairs = mine_semantic(row, 2, sizes)
    assert pairs.positives.tolist() == [[0, 6]]
    assert [set(pairs.negatives[0, :2].tolist()), set(pairs.negatives[0, 2:].tolist())] == [
        {1, 3},
        {4, 5},
    ]


def test_motion_sets_lie_in_the_anchors_own_frame() -> None:
    rows = torch.tensor(
        [
            [0.3, 0.1, 0.2, 0.4, 0.0, 0.0],  # an anchor of the first frame
            [0.0, 0.1, 0.2, 0.2, 0.1, 0.4],  # and of the second
        ]
    )
    sizes = SetSizes(
        semantic_positives=1, semantic_negatives=1, motion_positives=1, motion_negatives=1
    )
    pairs = mine_motion(rows, 2, sizes)
    assert pairs.positives.tolist() == [[0], [5]]
    assert pairs.negatives.tolist() == [[1], [4]]


@given(
    frames=st.integers(1, 4),
    anchors=st.integers(1, 5),
    patches=st.integers(2, 40),
    flat=st.booleans(),
    seed=st.integers(0, 99),
)
def test_mined_sets(frames: int, anchors: int, patches: int, flat: bool, seed: int) -> None:
    rows = random_rows(frames * anchors, frames * patches, seed)
    if flat:  # nothing but ties
        rows = torch.full_like(rows, 1 / rows.shape[1])
    sizes = SetSizes.of_grid(patches)
    semantic, motion = mine_semantic(rows, frames, sizes), mine_motion(rows, frames, sizes)
    assert semantic.positives.shape == (len(rows), frames * sizes.semantic_positives)
    assert semantic.negatives.shape == (len(rows), frames * sizes.semantic_negatives)
    assert motion.positives.shape == (len(rows), sizes.motion_positives)
    assert motion.negatives.shape == (len(rows), sizes.motion_negatives)
    for pairs in (semantic, motion):
        for positives, negatives in zip(pairs.positives, pairs.negatives, strict=True):
            together = torch.cat([positives, negatives])
            assert len(together.unique()) == len(together), "a patch on both sides"
            assert together.min() >= 0
            assert together.max() < frames * patches
    own_frame = torch.arange(frames).repeat_interleave(anchors)
    assert (motion.positives // patches == own_frame[:, None]).all()
    assert (motion.negatives // patches == own_frame[:, None]).all()
    assert (
        rows.gather(1, motion.positives).amin(1) >= rows.gather(1, motion.negatives).amax(1)
    ).all()


# ---- weights ------------------------------------------------------------------------------------


@given(frames=st.integers(1, 4), anchors=st.integers(1, 8), seed=st.integers(0, 99))
def test_weights_sum_to_one_and_every_frame_counts_alike(
    frames: int, anchors: int, seed: int
) -> None:
    rows = random_rows(frames * anchors, frames * 12, seed)
    weights = entropy_weights(rows, frames)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.view(frames, -1).sum(1), torch.full((frames,), 1 / frames))
    torch.testing.assert_close(even_weights(rows).sum(), torch.tensor(1.0))


def test_peaked_rows_count_more() -> None:
    rows = torch.tensor([[0.97, 0.01, 0.01, 0.01], [0.25, 0.25, 0.25, 0.25]])
    peaked, flat = entropy_weights(rows, 1)
    assert peaked / flat == pytest.approx(
        np.exp(np.log(4) + 0.97 * np.log(0.97) + 0.03 * np.log(0.01)), rel=1e-5
    )


def test_weights_and_anchors_have_no_gradient() -> None:
    rows = random_rows(2, 8).requires_grad_()
    others = random_rows(4, 8, seed=1).requires_grad_()
    pairs = Pairs(torch.tensor([[0], [1]]), torch.tensor([[2], [3]]))
    weights = entropy_weights(rows, 1)
    assert not weights.requires_grad
    motion_loss(others, rows, pairs, weights).backward()
    assert rows.grad is None
    assert others.grad is not None
    assert others.grad.abs().sum() > 0


# ---- the losses, pair by pair -------------------------------------------------------------------


def test_semantic_loss_is_what_loops_give() -> None:
    tokens = random_tokens(1, 6, channels=4)[0]
    anchors, weights = torch.tensor([0, 1]), torch.tensor([0.25, 0.75])
    pairs = Pairs(torch.tensor([[0, 2], [3, 1]]), torch.tensor([[3, 4], [5, 2]]))

    def cosine(a: int, b: int) -> float:
        u, v = tokens[a].numpy(), tokens[b].numpy()
        return float(u @ v / np.sqrt((u @ u) * (v @ v)))

    expected = 0.0
    for a in (0, 1):
        pull = np.mean([max(0.9 - cosine(a, int(p)), 0) for p in pairs.positives[a]])
        push = np.mean([max(cosine(a, int(n)) - 0.1, 0) for n in pairs.negatives[a]])
        expected += float(weights[a]) * (pull + push)
    assert semantic_loss(tokens, anchors, pairs, weights).item() == pytest.approx(
        expected, rel=1e-5
    )


def test_motion_loss_is_what_loops_give() -> None:
    rows, anchors = random_rows(5, 7), random_rows(2, 7, seed=3)
    weights = torch.tensor([0.4, 0.6])
    pairs = Pairs(torch.tensor([[0, 1], [2, 0]]), torch.tensor([[3, 4], [4, 1]]))

    def evidence(a: int, u: int) -> float:
        p, q = anchors[a].double().numpy(), rows[u].double().numpy()
        return float((p * np.log(q + 1e-10)).sum())

    expected = 0.0
    for a in (0, 1):
        hinges = [
            max(evidence(a, int(n)) - evidence(a, int(p)) + 1, 0)
            for p in pairs.positives[a]
            for n in pairs.negatives[a]
        ]
        expected += float(weights[a]) * np.mean(hinges)
    assert motion_loss(rows, anchors, pairs, weights).item() == pytest.approx(expected, rel=1e-5)


def test_thinned_rows_count_as_distributions() -> None:
    rows, anchors = random_rows(4, 6), random_rows(1, 6, seed=2)
    pairs, weights = Pairs(torch.tensor([[0, 1]]), torch.tensor([[2, 3]])), torch.ones(1)
    whole = motion_loss(rows, anchors, pairs, weights)
    torch.testing.assert_close(motion_loss(0.3 * rows, 5 * anchors, pairs, weights), whole)
    empty = torch.zeros_like(rows)  # dropout can take everything
    assert motion_loss(empty, anchors, pairs, weights).isfinite()
