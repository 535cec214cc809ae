"""A second device without hardware, to find tensors that were left on the first.

Inside `other_device()`, tensors on the device `OTHER` hold real numbers and compute, in fact on the
CPU, but an operation on tensors of both devices fails as it would on a GPU. `OTHER` goes by the
name "meta", the only device that PyTorch lets tensors without hardware bear.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

OTHER, CPU = torch.device("meta"), torch.device("cpu")
_COPIES = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)
_INDEXING = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default)


@contextmanager
def other_device() -> Iterator[torch.device]:
    """Give the second device, inside. It computes in float32 alone: it knows no autocast."""
    autocast = torch.autocast

    def on_cpu_only(device: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if device == OTHER.type else autocast(device, *args, **kwargs)

    with patch.object(torch, "autocast", on_cpu_only), _Operations(), _Values():
        yield OTHER


class _Away(torch.Tensor):
    """A tensor on the second device."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> _Away:
        tensor = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, device=OTHER, requires_grad=inner.requires_grad,
        )  # fmt: skip
        tensor.inner = inner
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Operations(TorchDispatchMode):
    """Sends every operation through `_run`, also those that make tensors."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Values(TorchFunctionMode):
    """Makes tensors of Python's numbers on the CPU first, since PyTorch makes them out of sight."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.new_tensor:
            made = torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype))
            return made.to(kwargs.get("device", args[0].device))
        if func is torch.tensor and "device" in kwargs:
            return torch.tensor(*args, dtype=kwargs.get("dtype")).to(kwargs["device"])
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            args = (args[0], _indices(args[1]), *args[2:])
        return func(*args, **kwargs)


def _indices(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(_indices, index))
    return torch.tensor(index) if isinstance(index, list) else index


def _run(func, args, kwargs):
    """Run an operation on the tensors inside; its results are where its tensors are, or asked for.

    Raise RuntimeError for tensors of both devices, as PyTorch does: only single numbers and indices
    may lie on the CPU.
    """
    leaves = tree_leaves((args, kwargs))
    away = [leaf for leaf in leaves if isinstance(leaf, _Away)]
    here = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.device == CPU]
    values = [
        leaf for leaf in here if leaf.ndim and not (func in _INDEXING and leaf is not args[0])
    ]
    if away and values and func not in _COPIES:
        raise RuntimeError(f"{func} got tensors of two devices")
    known = {id(leaf.inner): leaf for leaf in away}  # results of operations in place
    goes_away = _goes_away(func, args, leaves, bool(away))
    args, kwargs = tree_map(_inside, (args, kwargs))
    with torch.inference_mode(False), torch.no_grad():
        results = func(*args, **kwargs)
        return tree_map(lambda leaf: _outside(leaf, known), results) if goes_away else results


def _goes_away(func, args, leaves: list[Any], any_away: bool) -> bool:
    """Return whether results lie on the second device."""
    asked = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None)
    if asked:
        return asked == OTHER
    return isinstance(args[0], _Away) if func is torch.ops.aten.copy_.default else any_away


def _inside(leaf: Any) -> Any:
    if isinstance(leaf, torch.device):
        return CPU
    return leaf.inner if isinstance(leaf, _Away) else leaf


def _outside(leaf: Any, known: dict[int, _Away]) -> Any:
    if not isinstance(leaf, torch.Tensor):
        return leaf
    assert leaf.device == CPU, "a tensor was made out of sight"
    return known[id(leaf)] if id(leaf) in known else _Away(leaf)
