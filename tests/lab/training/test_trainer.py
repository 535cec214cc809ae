"""Whole runs: what they write, how they stop, and that they go on as if nothing had happened."""

import csv
import json
import multiprocessing
import signal
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bavos_core.errors import Cancelled, InputError
from bavos_io.weights import read_metadata
from bavos_lab.training import TrainResult, read_correlator, train
from bavos_lab.training.checkpoint import checkpoint_path
from bavos_lab.training.data import TrainingData
from bavos_lab.training.files import write_tensors
from bavos_lab.training.log import LOG_COLUMNS, log_path, start_log
from bavos_lab.training.trainer import Step

from .helpers import TINY, assert_same, weights_of

WITH_DROPOUT = replace(TINY, dropout=0.2, attention_dropout=0.3, mine_before_dropout=True)


class StopAfter:
    """A callback that cancels the run after some steps."""

    def __init__(self, steps: int):
        self.steps = steps
        self.seen: list[Step] = []

    def __call__(self, step: Step) -> None:
        self.seen.append(step)
        if step.step == self.steps:
            raise Cancelled


def learned_of(path: Path) -> dict[str, torch.Tensor]:
    trained = read_correlator(path)
    return {**weights_of(trained.block), "mean": trained.mean, "std": trained.std}


def log_of(out: Path) -> list[dict[str, str]]:
    """The rows of the log, without the one column that no two runs share."""
    with log_path(out).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == LOG_COLUMNS
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def unbroken(
    data: TrainingData, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainResult]:
    """A run of 12 steps in one go, and where it was written."""
    out = tmp_path_factory.mktemp("unbroken") / "block.safetensors"
    return out, train(data, WITH_DROPOUT, out=out)


# ---- what a run leaves --------------------------------------------------------------------------


def test_the_result_is_the_best_block(
    unbroken: tuple[Path, TrainResult], data: TrainingData, tmp_path: Path
) -> None:
    out, result = unbroken
    assert (result.steps, result.stopped) == (12, False)
    scores = {int(row["step"]): float(row["measure"]) for row in log_of(out) if row["measure"]}
    assert list(scores) == [3, 6, 9, 12]
    assert result.measure == max(scores.values())
    assert result.best_step == max(k for k, v in scores.items() if v == result.measure)
    seen: dict[int, dict[str, torch.Tensor]] = {}

    def remember(step: Step) -> None:
        seen[step.step] = weights_of(step.correlator.block)

    train(data, WITH_DROPOUT, out=tmp_path / "b.safetensors", on_step=remember)
    assert_same(weights_of(result.correlator.block), seen[result.best_step])
    assert_same(weights_of(read_correlator(out).block), seen[result.best_step])


def test_the_log_tells_every_step(unbroken: tuple[Path, TrainResult]) -> None:
    out, result = unbroken
    rows = log_of(out)
    assert [int(row["step"]) for row in rows] == list(range(1, 13))
    assert float(rows[-1]["semantic"]) == result.semantic
    assert float(rows[-1]["motion"]) == result.motion
    rates = [float(row["lr"]) for row in rows]
    assert rates[0] == WITH_DROPOUT.lr
    assert rates == sorted(rates, reverse=True)
    assert all(float(row["stability"]) <= 1 <= float(row["clusters"]) for row in rows[2::3])


def test_the_file_says_how_it_was_made(unbroken: tuple[Path, TrainResult]) -> None:
    about = read_metadata(unbroken[0])
    assert about["backbone"] == "descriptors"
    assert about["layer"] == ""
    assert about["size"] == "48x64"
    assert about["clips"] == "4"
    assert about["frames"] == "46"
    assert about["steps"] == "12"
    assert about["samples"] == about["best_step"]
    assert json.loads(about["settings"]) == json.loads(json.dumps(WITH_DROPOUT.to_dict()))
    assert 0 <= float(about["measure"]) <= 1
    assert about["version"]
    assert len(about["revision"]) in (0, 40)
    assert dict(read_correlator(unbroken[0]).about) == about


def test_without_measure_the_last_block_is_kept(data: TrainingData, tmp_path: Path) -> None:
    stop = StopAfter(99)
    settings = replace(TINY, measure_every=0, steps=3)
    result = train(data, settings, out=tmp_path / "b.safetensors", on_step=stop)
    assert (result.best_step, result.measure) == (3, None)
    assert [step.measure for step in stop.seen] == [None] * 3
    assert_same(weights_of(result.correlator.block), weights_of(stop.seen[-1].correlator.block))


def test_a_folder_is_enough(folder: Path, data: TrainingData, tmp_path: Path) -> None:
    settings = replace(TINY, steps=2)
    from_folder = train(folder, settings, out=tmp_path / "a.safetensors")
    from_data = train(data, settings, out=tmp_path / "b.safetensors")
    assert_same(weights_of(from_folder.correlator.block), weights_of(from_data.correlator.block))


def test_held_out_clips_are_not_learned_from(data: TrainingData, tmp_path: Path) -> None:
    settings = replace(TINY, holdout_every=4, steps=4)
    without = TrainingData("x", data.clips[:3])
    whole = train(data, settings, out=tmp_path / "a.safetensors")
    part = train(without, replace(settings, holdout_every=0), out=tmp_path / "b.safetensors")
    assert torch.equal(whole.correlator.mean, part.correlator.mean)
    assert (whole.semantic, whole.motion) == (part.semantic, part.motion)


@pytest.mark.parametrize(
    ("out", "complaint"),
    [
        ("block.pt", "must be a file name that ends in .safetensors"),
        (".", "must be a file name"),
        ("nowhere/block.safetensors", "There is no folder"),
    ],
)
def test_places_that_cannot_be_written(
    data: TrainingData, tmp_path: Path, out: str, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        train(data, TINY, out=tmp_path / out)
    assert list(tmp_path.iterdir()) == []


# ---- stopping and going on ----------------------------------------------------------------------


def test_a_cancelled_run_keeps_what_was_learned(data: TrainingData, tmp_path: Path) -> None:
    out, stop = tmp_path / "block.safetensors", StopAfter(2)  # before the first measure
    result = train(data, TINY, out=out, on_step=stop)
    assert (result.steps, result.best_step, result.stopped) == (2, 2, True)
    assert result.measure is not None
    assert_same(weights_of(result.correlator.block), weights_of(stop.seen[-1].correlator.block))
    assert_same(weights_of(read_correlator(out).block), weights_of(result.correlator.block))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "block.checkpoint.safetensors", "block.csv", "block.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize("stops", [(5,), (1, 2, 11), (3, 12)])
def test_a_resumed_run_is_the_unbroken_run(
    unbroken: tuple[Path, TrainResult], data: TrainingData, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    out = tmp_path / "block.safetensors"
    resume = None
    for stop in (*stops, 99):
        result = train(data, WITH_DROPOUT, out=out, on_step=StopAfter(stop), resume=resume)
        resume = checkpoint_path(out)
    assert_same(learned_of(out), learned_of(unbroken[0]))
    assert log_of(out) == log_of(unbroken[0])
    expected = unbroken[1]
    assert (result.steps, result.best_step, result.measure, result.semantic) == (
        expected.steps, expected.best_step, expected.measure, expected.semantic,
    )  # fmt: skip


def test_a_finished_run_can_be_resumed_and_stays(
    unbroken: tuple[Path, TrainResult], data: TrainingData, tmp_path: Path
) -> None:
    out = tmp_path / "again.safetensors"
    stop = StopAfter(99)
    train(data, WITH_DROPOUT, out=out, on_step=stop, resume=checkpoint_path(unbroken[0]))
    assert stop.seen == []
    assert_same(learned_of(out), learned_of(unbroken[0]))


def run_and_tell(data: TrainingData, out: Path, line: Connection) -> None:
    torch.set_num_threads(1)  # the threads of the process before the fork are gone

    def on_step(step: Step) -> None:
        if step.step == 7:
            line.send("here")
            signal.pause()

    train(data, WITH_DROPOUT, out=out, on_step=on_step)


def test_a_killed_run_loses_at_most_the_steps_since_its_checkpoint(
    unbroken: tuple[Path, TrainResult], data: TrainingData, tmp_path: Path
) -> None:
    out = tmp_path / "block.safetensors"
    fork = multiprocessing.get_context("fork")  # torch is loaded already
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=run_and_tell, args=(data, out, theirs))
    process.start()
    assert ours.recv() == "here"  # after step 7; checkpoints are saved after steps 4 and 8
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not out.exists()
    assert json.loads(read_metadata(checkpoint_path(out))["state"])["step"] == 4
    stop = StopAfter(99)
    train(data, WITH_DROPOUT, out=out, resume=checkpoint_path(out), on_step=stop)
    assert stop.seen[0].step == 5
    assert_same(learned_of(out), learned_of(unbroken[0]))
    assert log_of(out) == log_of(unbroken[0])


# ---- checkpoints that do not fit ----------------------------------------------------------------


@pytest.fixture
def checkpoint(unbroken: tuple[Path, TrainResult]) -> Path:
    return checkpoint_path(unbroken[0])


def resume_with(path: Path, data: TrainingData, tmp_path: Path, **changed: object) -> None:
    train(data, replace(WITH_DROPOUT, **changed), out=tmp_path / "r.safetensors", resume=path)


def test_a_checkpoint_holds_everything_and_no_code(checkpoint: Path) -> None:
    tensors = load_file(checkpoint)
    names = set(weights_of(read_correlator(checkpoint.with_name("block.safetensors")).block))
    parts = ("block", "best", "exp_avg", "exp_avg_sq")
    assert set(tensors) == {f"{part}.{name}" for part in parts for name in names} | {
        "features.mean", "features.std",
    }  # fmt: skip
    about = read_metadata(checkpoint)
    assert json.loads(about["settings"])["dropout"] == 0.2
    assert json.loads(about["state"])["step"] == 12


def test_other_settings_are_refused(checkpoint: Path, data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"made with lr 0.001, not 0.5; resume with the same"):
        resume_with(checkpoint, data, tmp_path, lr=0.5)


def test_other_clips_are_refused(checkpoint: Path, data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="made from other clips"):
        resume_with(checkpoint, TrainingData("x", data.clips[:3]), tmp_path)


def test_files_that_are_no_checkpoint_are_refused(
    unbroken: tuple[Path, TrainResult], data: TrainingData, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"block.safetensors is not a checkpoint"):
        resume_with(unbroken[0], data, tmp_path)
    with pytest.raises(InputError, match=r"There is no file 'none.safetensors'"):
        resume_with(tmp_path / "none.safetensors", data, tmp_path)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(checkpoint_path(unbroken[0]).read_bytes()[:5000])
    with pytest.raises(InputError, match="no readable weights file"):
        resume_with(broken, data, tmp_path)


@pytest.mark.parametrize("lost", ["features.std", "exp_avg.attn.qkv.weight", "best.norm1.bias"])
def test_partial_checkpoints_are_refused_by_name(
    checkpoint: Path, data: TrainingData, tmp_path: Path, lost: str
) -> None:
    tensors = load_file(checkpoint)
    part = tmp_path / "part.safetensors"
    write_tensors(part, {k: v for k, v in tensors.items() if k != lost}, read_metadata(checkpoint))
    with pytest.raises(InputError, match=rf"part.safetensors is damaged \(.*{lost}"):
        resume_with(part, data, tmp_path)
    write_tensors(part, {**tensors, lost: torch.zeros(3)}, read_metadata(checkpoint))
    with pytest.raises(InputError, match=rf"wrong shape: {lost}"):
        resume_with(part, data, tmp_path)


ROW = ",".join("1234567")  # after the number of the step


@pytest.mark.parametrize(
    "left",
    [
        "step,other\n1,2\n",
        "",
        "no log at all",
        f"{','.join(LOG_COLUMNS)}\n1,{ROW}\n2\n,{ROW}\n3,{ROW}\n4,{ROW},8\n5,{ROW}\nx,{ROW}\n3,",
    ],
)
def test_a_log_keeps_whole_rows_of_its_own_run_alone(tmp_path: Path, left: str) -> None:
    path = tmp_path / "block.csv"
    path.write_text(left)
    start_log(path, after=3)
    kept = [["1", *ROW.split(",")], ["3", *ROW.split(",")]] if left.startswith("step,sem") else []
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [list(LOG_COLUMNS), *kept]
