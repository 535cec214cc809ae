"""The temporal correlator: one spatio-temporal Transformer block on frozen features (paper, 3.2).

T frames, N patches a frame, C channels, H heads of d = C / H channels.
Parameter names are the reference code's (`temporal_transformer.0.*`), so its files load.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

HEADS = 8


class Attention(nn.Module):
    """Multi-head self-attention without bias on `qkv`, with access to the attention matrix."""

    def __init__(self, channels: int, heads: int, *, dropout: float, attention_dropout: float):
        super().__init__()
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.proj = nn.Linear(channels, channels)
        self.drop = nn.Dropout(dropout)
        self.attention_drop = nn.Dropout(attention_dropout)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of x (..., L, C): three tensors (..., H, L, d)."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (..., L, 3, H, d)
        queries, keys, values = qkv.unbind(-3)
        return queries.transpose(-3, -2), keys.transpose(-3, -2), values.transpose(-3, -2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, L, C) → output (B, L, C), attention before dropout (B, H, L, L)."""
        queries, keys, values = self.split(x)
        attention = (self.scale * queries @ keys.mT).softmax(-1)
        out = (self.attention_drop(attention) @ values).transpose(-3, -2).flatten(-2)
        return self.drop(self.proj(out)), attention


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, channels: int, hidden: int, *, dropout: float):
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) → (..., C)."""
        return self.drop(self.fc2(self.drop(nn.functional.gelu(self.fc1(x)))))


class TemporalCorrelator(nn.Module):
    """Pre-norm block over all patches of all frames: 8 heads, MLP ratio 4 (paper, 3.2).

    Only `norm1` and the query and key parts of `attn.qkv` are used at inference.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int = HEADS,
        dropout: float = 0.1,
        attention_dropout: float = 0.4,
    ):
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be split evenly into {heads} heads.")
        self.norm1 = nn.LayerNorm(channels, eps=1e-5)
        self.attn = Attention(channels, heads, dropout=dropout, attention_dropout=attention_dropout)
        self.norm2 = nn.LayerNorm(channels, eps=1e-5)
        self.mlp = Mlp(channels, 4 * channels, dropout=dropout)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """tokens (B, L, C) → output tokens (B, L, C), attention (B, H, L, L)."""
        mixed, attention = self.attn(self.norm1(tokens))
        tokens = tokens + mixed
        return tokens + self.mlp(self.norm2(tokens)), attention

    @torch.no_grad()
    def queries_keys(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """features (T, N, C) → queries and keys, each (T, H, N, d), in the block's own dtype."""
        queries, keys, _ = self.attn.split(self.norm1(features))
        return queries, keys

    @property
    def scale(self) -> float:
        """The softmax scale, d^-1/2."""
        return self.attn.scale


def untrained(channels: int, *, seed: int) -> TemporalCorrelator:
    """A correlator with random weights (paper, Fig. 1c), the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TemporalCorrelator(channels).eval()
