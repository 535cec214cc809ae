"""Queries and keys small enough to be sent: few components, less than a byte each.

T analysed frames, N patches a frame, M = T·N, H heads of d channels, R components.

Logits are products of queries and keys, and softmax does not see what all keys share. So the mean
key goes, and of each head the components of Q·Kᵀ stay that are best in the least-squares sense (its
singular vectors). All of a head are rounded in the same steps, so that a weak component takes few
bits after compression; those not much stronger than a step are left out.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bavos_core import Analysis
from bavos_core.settings import AttentionSource
from bavos_core.sources import Projection, projection
from bavos_io.stopping import checkpoint

from .parts import compressed, pack

BUDGET = 3_300_000  # bytes of a part, compressed
# Steps of rounding, in units of the root mean square length of a head's queries (or keys): finer
# ones are not seen, and coarser ones are taken until the part fits the budget.
_STEPS = np.geomspace(0.03, 1.0, 160)
_WEAKEST = 1.5  # steps: the root mean square of a component that is kept
_BLOCKS, _PART = 2, 6  # the size is estimated from so many blocks, a sixth of all patches


@dataclass(frozen=True)
class Compact:
    """Rounded queries and keys: logits are unit² · Σ q·k over the components."""

    queries: Tensor | None  # (H, M, R) int8; None: the same as the keys
    keys: Tensor  # (H, M, R) int8
    unit: Tensor  # (H,) float32

    def blobs(self) -> dict[str, np.ndarray]:
        """Return the arrays that are sent."""
        scale = np.array(self.unit[:, None].expand(-1, self.keys.shape[2]))
        queries = {} if self.queries is None else {"q": np.asarray(self.queries)}
        return {"scale_q": scale, "scale_k": scale, **queries, "k": np.asarray(self.keys)}


@dataclass(frozen=True)
class Components:
    """Queries and keys of each head in its main components, the strongest first."""

    queries: Tensor | None  # (H, M, d); None: the same as the keys
    keys: Tensor  # (H, M, d)
    deviation: Tensor  # (H, d): root mean square of each component, in queries as in keys
    most: Tensor  # (H,): largest value

    def rounded(self, step: float) -> Compact:
        """Return them in steps of this size, relative to their length."""
        unit = torch.maximum(step * self.deviation.norm(dim=1), self.most / 127)
        unit = torch.where(unit > 0, unit, 1.0)
        kept = self.deviation > _WEAKEST * unit[:, None]
        rank = max(1, int(kept.sum(1).max()))

        def bytes_of(values: Tensor) -> Tensor:
            steps = (values[..., :rank] / unit[:, None, None]).round_()
            return (steps * kept[:, None, :rank]).to(torch.int8)

        return Compact(
            self.queries if self.queries is None else bytes_of(self.queries),
            bytes_of(self.keys),
            unit,
        )

    def sample(self) -> Components:
        """Return some of the patches."""
        count = self.keys.shape[1]
        length = max(1, count // (_BLOCKS * _PART))
        starts = torch.linspace(0, count - length, _BLOCKS).long()
        rows = (starts[:, None] + torch.arange(length)).flatten()
        queries = self.queries if self.queries is None else self.queries[:, rows]
        return replace(self, queries=queries, keys=self.keys[:, rows])


def attention_part(analysis: Analysis, source: AttentionSource, *, budget: int = BUDGET) -> bytes:
    """Return the part of a source of attention, in about `budget` bytes at most."""
    trained = analysis.correlator if source == "correlator" else None
    found = projection(analysis.features, source, trained, analysis.settings)
    # `framewise` has the same queries and keys
    return compact_part(found, source, framewise=source == "cross-frame", budget=budget)


def compact_part(found: Projection, source: str, *, framewise: bool, budget: int = BUDGET) -> bytes:
    """Return queries and keys as a part.

    framewise: whether they also serve attention within each frame.
    """
    sent = compact(found, budget)
    heads, _, rank = sent.keys.shape
    fields = {"source": source, "heads": heads, "rank": rank, "framewise": framewise}
    return pack(fields, sent.blobs())


def compact(found: Projection, budget: int) -> Compact:
    """Return queries and keys in the finest steps that fit into `budget` bytes, compressed."""
    values = components(found)
    sample = values.sample()
    share = sample.keys.shape[1] / values.keys.shape[1]

    def fits(step: float) -> bool:
        checkpoint()
        arrays = sample.rounded(step).blobs().values()
        return len(compressed(b"".join(map(bytes, arrays)))) <= budget * share

    finest = bisect_left(_STEPS, True, hi=len(_STEPS) - 1, key=fits)
    return values.rounded(_STEPS[finest])


def components(found: Projection) -> Components:
    """Return queries and keys (T, H, N, d) of a source in components, with the scale in them."""
    queries, keys = (x.transpose(0, 1).flatten(1, 2).float() for x in (found.queries, found.keys))
    count = keys.shape[1]
    if found.queries is found.keys:
        values, axes = torch.linalg.eigh(_gram(keys))
        strength, axes = values.flip(1).clamp_min(0), axes.flip(2)
        keys = keys @ axes.float() * found.scale**0.5
        deviation = (strength * found.scale / count).sqrt().float()
        return Components(None, keys, deviation, keys.abs().amax((1, 2)))
    queries, keys = queries * found.scale, keys - keys.mean(1, keepdim=True)
    root_q, root_k = _root(_gram(queries)), _root(_gram(keys))
    left, strength, right = torch.linalg.svd(root_q @ root_k)
    # Q·root_q⁻¹·left·√s, without the inverse: root_q⁻¹·left·s = root_k·right
    shrink = torch.where(strength > strength[:, :1] * 1e-9, strength, torch.inf).rsqrt()[:, None]
    queries = queries @ (root_k @ right.mT * shrink).float()
    keys = keys @ (root_q @ left * shrink).float()
    most = torch.maximum(queries.abs().amax((1, 2)), keys.abs().amax((1, 2)))
    return Components(queries, keys, (strength / count).sqrt().float(), most)


def _gram(values: Tensor) -> Tensor:
    """Return the products of all channels, (H, M, d) → (H, d, d) float64."""
    return (values.mT @ values).double()


def _root(gram: Tensor) -> Tensor:
    """Return the symmetric square root of matrices (H, d, d)."""
    values, axes = torch.linalg.eigh(gram)
    return (axes * values.clamp_min(0).sqrt()[:, None]) @ axes.mT
