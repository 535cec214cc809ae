"""Workers on a Ray cluster of one node, which is real. All tests of Ray share it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bavos_core import InputError
from bavos_lab.evaluation import DATASETS, Run, SavedMasks, evaluate
from bavos_lab.evaluation.spread import evaluate_over
from bavos_lab.workers import Share
from bavos_lab.workers.cluster import cluster_share, joined, over_cluster

from ..batch.helpers import OPTIONS, batch, bytes_of, manifest, write_frames
from ..evaluation.helpers import moving, write_davis, write_masks
from .tasks import Deadly, Refusing, Told

ROOT = Path(__file__).resolve().parents[3]
TWO = Share(workers=2, threads=1)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a cluster that this process has joined."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")  # its workers inherit it
        with joined("local", cpus=2):
            yield ray.get_runtime_context().gcs_address


def test_items_are_spread_and_come_back_once(address: str) -> None:
    results = dict(over_cluster(Told(), enumerate(range(40)), TWO))
    assert [results[number][0] for number in range(40)] == list(range(40))
    assert os.getpid() not in {pid for _, pid, _ in results.values()}
    assert {threads for *_, threads in results.values()} == {"1"}


def test_a_worker_that_is_killed_costs_only_the_item_that_kills(
    address: str, tmp_path: Path
) -> None:
    task = Deadly(always=(3,), once=(50,), room=tmp_path)
    results = dict(over_cluster(task, enumerate(range(300)), TWO))  # three items to a block
    assert results == {n: None if n == 3 else n * n for n in range(300)}


def test_a_task_that_cannot_begin_ends_the_run(address: str) -> None:
    with pytest.raises(InputError, match="no weights"):
        list(over_cluster(Refusing(), enumerate(range(8)), TWO))


def test_workers_are_as_many_as_the_cluster_and_the_items_allow(address: str) -> None:
    assert cluster_share(None, 100, on_cuda=False) == Share(2, 1)
    assert cluster_share(1, 100, on_cuda=False) == Share(1, 2)
    assert cluster_share(None, 1, on_cuda=False) == Share(1, 2)


def test_a_batch_gives_the_same_bytes_as_without_ray(address: str, tmp_path: Path) -> None:
    for number in range(1, 5):
        write_frames(tmp_path / "clips" / f"clip{number}", 10 * number, frames=number)
    (tmp_path / "clips" / "bad.mp4").write_text("no film")
    command = [
        sys.executable, "-m", "bavos_core", "batch", str(tmp_path / "clips"), "--workers", "2",
        "--out", str(tmp_path / "ray"), "--ray", address, *OPTIONS,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["done"] == 4
    batch(tmp_path / "clips", tmp_path / "calm")
    assert bytes_of(tmp_path / "ray") == bytes_of(tmp_path / "calm")
    rows, calm = manifest(tmp_path / "ray"), manifest(tmp_path / "calm")
    for name in ("source", "status", "error", "key", "folder", "digest", "settings", "notes"):
        assert [row[name] for row in rows] == [row[name] for row in calm]


def test_a_data_set_is_scored_as_without_ray(address: str, tmp_path: Path) -> None:
    sequences = DATASETS["davis-2016"].sequences(write_davis(tmp_path / "davis", "abc"))
    masks = tmp_path / "masks"
    for shift, name in enumerate("abc"):
        write_masks(masks, name, moving(5 + shift)[shift:])

    def run(out: str) -> Run:
        return Run(tmp_path / out, "DAVIS-2016", sequences, SavedMasks(masks), ("official",))

    seen: list[int] = []
    over = partial(over_cluster, share=TWO)
    found = evaluate_over(run("ray"), over, on_sequence=lambda done, _: seen.append(done))
    alone = evaluate(run("alone"))
    assert [r["scores"] for r in found] == [r["scores"] for r in alone]
    assert seen[-1] == 3


def test_a_cluster_that_does_not_answer_is_an_error_in_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from bavos_lab.workers.cluster import joined\n"
         "from bavos_io.errors import InputError\n"
         "try:\n  joined('nowhere').__enter__()\nexcept InputError as e:\n  print(e)"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.startswith("No Ray cluster answers at 'nowhere'"), done.stderr
    assert done.stdout.count("\n") == 1
