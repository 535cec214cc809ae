"""Runs that are stopped, killed, resumed and shared. Processes are real."""

import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from bavos_core import InputError, Settings
from bavos_lab.evaluation import DATASETS, PROTOCOLS, Pipeline, Run, SavedMasks, evaluate
from bavos_lab.evaluation.sequences import VideoSequence, read_labels

from .helpers import moving, write_davis, write_masks

FORK = multiprocessing.get_context("fork")  # what a test needs is imported already


class Stepping(SavedMasks):
    """Masks that tell which sequence is in hand, and wait for a word before they are read."""

    line: Connection

    def folder(self, sequence: VideoSequence) -> Path:
        self.line.send(sequence.name)
        self.line.recv()
        return super().folder(sequence)


def score_step_by_step(run: Run, line: Connection) -> None:
    masks = Stepping(run.predictions.root)  # type: ignore[attr-defined]
    object.__setattr__(masks, "line", line)
    evaluate(replace(run, predictions=masks))
    line.send("done")


class Process:
    """One that scores step by step."""

    def __init__(self, run: Run):
        self._line, line = FORK.Pipe()
        self._process = FORK.Process(target=score_step_by_step, args=(run, line))
        self._process.start()

    def at(self) -> str:
        """The sequence that it is in the middle of, or "done"."""
        return self._line.recv()

    def go_on(self) -> None:
        self._line.send("go on")

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_davis(tmp_path / "davis", "abc")


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    masks = tmp_path / "masks"
    for shift, name in enumerate("abc"):
        write_masks(masks, name, moving(5 + shift)[shift:])  # b and c lag behind by 1 and 2 pixels
    sequences = DATASETS["davis-2016"].sequences(root)
    return Run(tmp_path / "out", "DAVIS-2016", sequences, SavedMasks(masks), PROTOCOLS)


@contextmanager
def processes(run: Run, count: int) -> Iterator[list[Process]]:
    started = [Process(run) for _ in range(count)]
    try:
        yield started
    finally:
        for process in started:
            process.kill()


def scores(results: list[dict]) -> list:
    return [(r["sequence"], r["scored"], r["scores"]) for r in results]


def test_what_is_scored(run: Run) -> None:
    a, b, c = evaluate(run)
    assert a["scored"] == ["00001", "00002", "00003"]
    assert (a["objects"], a["proposals"]) == ([1], 1)
    names = [score["protocol"] for score in a["scores"]]
    assert names == [
        "official", "per-frame", "single-object, best cluster", "single-object, oracle union",
    ]  # fmt: skip
    # Squares of 7×8 pixels, shifted by 0, 1 and 2 columns.
    for result, shift in ((a, 0), (b, 1), (c, 2)):
        iou = 7 * (8 - shift) / (7 * (8 + shift))
        assert all(s["j"] == pytest.approx([iou, 1, 0]) for s in result["scores"])
        assert result["scores"][0]["j_per_frame"] == [pytest.approx([iou] * 3, abs=1e-6)]


def test_a_finished_run_is_read_and_not_made_again(run: Run) -> None:
    first = evaluate(run)
    for path in run.predictions.root.rglob("*.png"):  # type: ignore[attr-defined]
        path.unlink()
    seen: list[tuple[int, int]] = []
    assert evaluate(run, on_sequence=lambda done, total: seen.append((done, total))) == first
    assert seen == [(3, 3)]


def test_a_killed_run_goes_on_where_it_was(run: Run, tmp_path: Path) -> None:
    with processes(run, 1) as (process,):
        assert process.at() == "a"
        process.go_on()
        assert process.at() == "b"  # a is written, b in hand
        process.kill()
    assert [s.name for s in run.missing()] == ["b", "c"]
    written = run.result_path("a").stat().st_mtime_ns
    found = evaluate(run)
    assert run.result_path("a").stat().st_mtime_ns == written
    clean = Run(tmp_path / "clean", run.title, run.sequences, run.predictions, run.protocols)
    assert scores(found) == scores(evaluate(clean))


def test_two_processes_share_a_run(run: Run) -> None:
    with processes(run, 2) as (one, other):
        assert {one.at(), other.at()} == {"a", "b"}
        one.go_on()
        assert one.at() == "c"
        other.go_on()  # nothing is free now, so it waits for c
        one.go_on()
        assert one.at() == other.at() == "done"
    assert not run.missing()


def test_what_a_process_died_over_is_taken_on_by_another(run: Run) -> None:
    with processes(run, 2) as (one, other):
        lost, kept = one.at(), other.at()
        assert {lost, kept} == {"a", "b"}
        other.go_on()
        assert other.at() == "c"
        other.go_on()  # waits for what the first one holds
        one.kill()
        assert other.at() == lost
        other.go_on()
        assert other.at() == "done"
    assert len(evaluate(run)) == 3


def test_a_folder_of_another_run_is_refused(run: Run, tmp_path: Path) -> None:
    evaluate(run)
    other = Run(run.out, run.title, run.sequences, run.predictions, ("official",))
    with pytest.raises(InputError, match=r"another value of 'protocols'.*--out another folder"):
        evaluate(other)
    moved = Run(run.out, run.title, run.sequences, SavedMasks(tmp_path), run.protocols)
    with pytest.raises(InputError, match="another value of 'predictions'"):
        evaluate(moved)


def test_an_error_keeps_what_was_done(run: Run) -> None:
    path = run.predictions.root / "b" / "00002.png"  # type: ignore[attr-defined]
    path.unlink()
    with pytest.raises(InputError, match=r"There is no mask .*b/00002\.png"):
        evaluate(run)
    assert [s.name for s in run.missing()] == ["b", "c"]


def test_masks_of_another_size_are_scaled(run: Run) -> None:
    doubled = [m.repeat(2, 0).repeat(2, 1) for m in moving(5)]
    write_masks(run.predictions.root, "a", doubled)  # type: ignore[attr-defined]
    assert evaluate(run)[0]["scores"][0]["j"][0] == 1.0


def test_a_sequence_cannot_be_taken_twice(run: Run) -> None:
    with pytest.raises(InputError, match="Two sequences have one name"):
        evaluate(Run(run.out, run.title, [*run.sequences, run.sequences[0]], run.predictions,
                     run.protocols))  # fmt: skip


def test_a_place_that_cannot_be_written_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written to"):
        evaluate(Run(tmp_path / "file", run.title, run.sequences, run.predictions, run.protocols))


def test_the_pipelines_masks_are_kept_whole_or_not_at_all(run: Run, tmp_path: Path) -> None:
    settings = Settings(backbone="descriptors", size=(48, 64), device="cpu", frames=3)
    out = tmp_path / "pipeline"
    pipeline = Pipeline(settings, out / "masks")
    half = out / "masks" / ".a.part"  # what a killed process leaves behind
    half.mkdir(parents=True)
    (half / "00000.png").write_bytes(b"half")
    found = evaluate(Run(out, run.title, run.sequences, pipeline, run.protocols))
    assert not half.exists()
    for result in found:
        files = sorted(p.name for p in (out / "masks" / result["sequence"]).iterdir())
        assert files == [f"{t:05d}.png" for t in range(5)] + ["summary.json"]
        assert result["pipeline_seconds"] > 0 and result["proposals"] >= 1
    saved = Run(
        tmp_path / "again", run.title, run.sequences, SavedMasks(out / "masks"), run.protocols
    )
    assert scores(evaluate(saved)) == scores(found)
    assert json.loads((out / "run.json").read_text())["settings"]["size"] == [48, 64]


def test_the_pipelines_proposals_cover_every_pixel(run: Run, tmp_path: Path) -> None:
    settings = Settings(backbone="descriptors", size=(48, 64), device="cpu", frames=3)
    folder = Pipeline(settings, tmp_path / "kept").folder(run.sequences[0])
    assert all((read_labels(path)[0] > 0).all() for path in folder.glob("*.png"))
