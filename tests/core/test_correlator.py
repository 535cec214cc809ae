"""The spatio-temporal block is a plain pre-norm Transformer block with access to its attention."""

import pytest
import torch
from torch import nn

from bavos_core.correlator import TemporalCorrelator, untrained

from .helpers import whole_pass


@pytest.fixture(scope="module")
def block() -> TemporalCorrelator:
    return untrained(48, seed=3)


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    return torch.randn(2, 30, 48, generator=torch.Generator().manual_seed(0))


def as_pytorchs_own(block: TemporalCorrelator) -> nn.TransformerEncoderLayer:
    """PyTorch's layer with the same weights, its extra biases at 0."""
    layer = nn.TransformerEncoderLayer(
        48, 8, 192, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    ours = block.state_dict()
    layer.load_state_dict(
        {
            "self_attn.in_proj_weight": ours["attn.qkv.weight"],
            "self_attn.in_proj_bias": torch.zeros(144),
            "self_attn.out_proj.weight": ours["attn.proj.weight"],
            "self_attn.out_proj.bias": ours["attn.proj.bias"],
            **{f"linear{i}.{k}": ours[f"mlp.fc{i}.{k}"] for i in "12" for k in ("weight", "bias")},
            **{f"norm{i}.{k}": ours[f"norm{i}.{k}"] for i in "12" for k in ("weight", "bias")},
        }
    )
    return layer


@torch.no_grad()
def test_the_output_is_that_of_pytorchs_own_layer(block, tokens) -> None:
    torch.testing.assert_close(
        whole_pass(block, tokens)[0], as_pytorchs_own(block)(tokens), rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_the_attention_is_that_of_pytorchs_own_layer(block, tokens) -> None:
    layer = as_pytorchs_own(block)
    x = layer.norm1(tokens)
    _, expected = layer.self_attn(x, x, x, average_attn_weights=False)
    torch.testing.assert_close(whole_pass(block, tokens)[1], expected, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_queries_and_keys_give_the_attention_of_a_full_pass(block, tokens) -> None:
    queries, keys = block.queries_keys(tokens)
    assert queries.shape == keys.shape == (2, 8, 30, 6)
    attention = (queries @ keys.mT * block.scale).softmax(-1)
    torch.testing.assert_close(attention, whole_pass(block, tokens)[1])


def test_attention_rows_sum_to_one(block, tokens) -> None:
    torch.testing.assert_close(whole_pass(block, tokens)[1].sum(-1), torch.ones(2, 8, 30))


def test_the_papers_block_has_the_papers_number_of_parameters_and_names() -> None:
    block = TemporalCorrelator(384)
    assert sum(p.numel() for p in block.parameters()) == 1_773_312
    linear = [f"{n}.{k}" for n in ("attn.proj", "mlp.fc1", "mlp.fc2") for k in ("weight", "bias")]
    norms = [f"norm{i}.{k}" for i in (1, 2) for k in ("weight", "bias")]
    assert set(block.state_dict()) == {*linear, *norms, "attn.qkv.weight"}
    assert block.scale == pytest.approx(48**-0.5)


def test_the_same_seed_gives_the_same_block_and_another_seed_another() -> None:
    first, again, other = (untrained(24, seed=s).attn.qkv.weight for s in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_an_untrained_block_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    untrained(24, seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_dropout_works_in_training_only(tokens) -> None:
    block = untrained(48, seed=3)
    assert torch.equal(whole_pass(block, tokens)[0], whole_pass(block, tokens)[0])
    block.train()
    assert not torch.equal(whole_pass(block, tokens)[0], whole_pass(block, tokens)[0])


def test_channels_that_do_not_split_into_heads_raise_a_value_error() -> None:
    with pytest.raises(ValueError, match="20 channels"):
        TemporalCorrelator(20)
