"""Two real processes over gloo learn what one process learns from both their samples."""

import multiprocessing
import os
import socket
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from bavos_core.errors import Cancelled
from bavos_lab.training.data import TrainingData
from bavos_lab.training.trainer import Step, new_learner, train
from bavos_lab.training.workers import Workers, joined_workers

from .helpers import TINY, weights_of

SETTINGS = replace(TINY, steps=3)
CPU = torch.device("cpu")


def worker(rank: int, port: int, data: TrainingData, out: Path) -> None:
    """What each process does, with the environment that torchrun gives it."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo",
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip

    def stop_in_the_second(step: Step) -> None:
        if rank == 1 and step.step == 2:
            raise Cancelled

    with joined_workers(on_cuda=False) as workers:
        assert workers == Workers(rank, 2)
        own = replace(SETTINGS, seed=rank)  # each starts with its own block: the first one's wins
        learner = new_learner(data.clips, own, workers)
        learner.settings = SETTINGS
        learner.take_step(data.clips, workers)
        gradients = {name: p.grad for name, p in learner.block.named_parameters()}
        save_file(gradients, out / f"gradients{rank}.safetensors")
        train(data, SETTINGS, out=out / "block.safetensors", workers=workers)
        stopped = train(
            data, SETTINGS, out=out / "s.safetensors", workers=workers, on_step=stop_in_the_second
        )
        assert (stopped.steps, stopped.stopped) == (2, True)
        assert workers.any(rank == 1, CPU)
        assert not workers.any(False, CPU)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_two_processes_learn_as_one_with_both_samples(data: TrainingData, tmp_path: Path) -> None:
    port = free_port()
    fork = multiprocessing.get_context("fork")  # torch is loaded already
    processes = [fork.Process(target=worker, args=(rank, port, data, tmp_path)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    settings = replace(SETTINGS, batch=2)
    learner = new_learner(data.clips, settings)
    learner.take_step(data.clips)
    both = [load_file(tmp_path / f"gradients{rank}.safetensors") for rank in (0, 1)]
    for name, parameter in learner.block.named_parameters():
        assert torch.equal(both[0][name], both[1][name])
        torch.testing.assert_close(both[0][name], parameter.grad, rtol=1e-5, atol=1e-7)
    alone = train(data, settings, out=tmp_path / "alone.safetensors")
    together = load_file(tmp_path / "block.safetensors")
    for name, tensor in weights_of(alone.correlator.block).items():
        found = together[f"temporal_transformer.0.{name}"]
        torch.testing.assert_close(found, tensor, rtol=1e-4, atol=1e-5)


def test_alone_nothing_changes() -> None:
    with joined_workers(on_cuda=False) as workers:
        assert workers == Workers()
        assert workers.first
        tensors = [torch.ones(3), torch.zeros(2, 2)]
        workers.average(tensors)
        workers.agree(tensors)
        assert [tensor.sum().item() for tensor in tensors] == [3, 0]
        assert workers.any(True, CPU)
        assert not workers.any(False, CPU)
