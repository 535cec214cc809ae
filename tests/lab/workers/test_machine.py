"""Cores and GPUs are shared out among workers."""

import os

import pytest
import torch

from bavos_lab.workers import Share
from bavos_lab.workers.machine import cores, share_out

CORES = len(os.sched_getaffinity(0))


def test_cores_are_shared_out() -> None:
    assert cores() == CORES
    assert share_out(1, 100, on_cuda=False) == Share(1, CORES)
    assert share_out(CORES, 100, on_cuda=False) == Share(CORES, 1)
    assert share_out(10 * CORES, 100, on_cuda=False).threads == 1


def test_there_are_no_more_workers_than_items() -> None:
    assert share_out(8, 1, on_cuda=False) == Share(1, CORES)


@pytest.mark.parametrize(
    ("visible", "names"), [(None, "012"), ("4,6,7", "467"), ("4,6,7,9", "467")]
)
def test_gpus_are_shared_out(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, names: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert share_out(None, 100, on_cuda=True).workers == 3
    assert share_out(None, 100, on_cuda=True).devices == tuple(names)
    assert share_out(None, 2, on_cuda=True).workers == 2
    assert share_out(None, 100, on_cuda=False).devices == ()


def test_workers_are_told_their_threads_and_their_gpu() -> None:
    share = Share(3, 4, devices=("2", "5"))
    seen = [share.environment(number)["CUDA_VISIBLE_DEVICES"] for number in range(3)]
    assert seen == ["2", "5", "2"]
    assert share.environment(0)["OMP_NUM_THREADS"] == "4"
    assert "CUDA_VISIBLE_DEVICES" not in Share(1, 1).environment(0)
