"""Attention in bfloat16 by plain matrix products, where torch's fused kernel is slow.

The fused kernel multiplies bfloat16 natively with AMX only. On processors with AVX-512 bfloat16
alone it is as slow as in float32, and plain products are 1.6 times as fast (docs/benchmarks.md);
timm's own, without `fused_attn`, are slower than the kernel since they are not done in blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..settings import Compute, bf16_units

_LOGITS_AT_ONCE = 2**21  # over all heads: 4 MiB, which fits into a cache


class EagerAttention(TorchFunctionMode):
    """A context in which unmasked bfloat16 attention is computed by plain products."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, or its replacement."""
        options = kwargs or {}
        if func is F.scaled_dot_product_attention and len(args) == 3 and _are_defaults(options):
            queries, keys, values = args
            one_shape = queries.shape == keys.shape == values.shape and queries.ndim == 4
            if one_shape and queries.dtype == keys.dtype == values.dtype == torch.bfloat16:
                return plain_attention(queries, keys, values)
        return func(*args, **options)


def _are_defaults(options: Mapping[str, Any]) -> bool:
    """Return whether options of torch's attention have their default meaning."""
    return all(
        option is None or option is False or (name == "dropout_p" and option == 0)
        for name, option in options.items()  # a mask has no truth value of its own
    )


def plain_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return softmax(q kᵀ / √d) v for (T, H, L, d) bfloat16, each step rounded to bfloat16."""
    shape, d = queries.shape, queries.shape[-1]
    q, v = queries.flatten(0, 1), values.flatten(0, 1)  # (T·H, L, d)
    k = (keys.flatten(0, 1) * d**-0.5).mT.contiguous()
    out = torch.empty_like(q)
    rows = max(1, _LOGITS_AT_ONCE // (len(q) * k.shape[2]))
    logits = q.new_empty(len(q), rows, k.shape[2])  # the same memory for all blocks
    for start in range(0, q.shape[1], rows):
        block = slice(start, start + rows)
        weights = logits[:, : q[:, block].shape[1]]
        torch.bmm(q[:, block], k, out=weights)
        torch.softmax(weights, -1, out=weights)
        out[:, block] = weights @ v
    return out.view(shape)


def pays_off(compute: Compute) -> bool:
    """Return whether plain products are faster on this processor."""
    on_cpu = compute.device.type == "cpu" and compute.precision == "bf16"
    return on_cpu and bf16_units() == ["avx512_bf16"]
