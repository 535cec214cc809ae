"""`evaluate` on the command line, and the files that it writes."""

import csv
import fcntl
import json
import re
import signal
from pathlib import Path

import pytest
from PIL import Image

from bavos_core.cli import main

from .helpers import moving, write_davis, write_grey, write_masks, write_picture


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two sequences of two objects, and masks of them: right for a, one pixel behind for b."""
    write_davis(tmp_path / "davis", "ab", year=2017, objects=2)
    write_masks(tmp_path / "masks", "a", moving(5, objects=2))
    write_masks(tmp_path / "masks", "b", moving(6, objects=2)[1:])
    return tmp_path


def run(data: Path, *more: object) -> int:
    arguments = ["davis-2017", "--root", data / "davis", "--out", data / "out", *more]
    return main(["evaluate", *map(str, arguments)])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_saved_masks(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "--predictions", data / "masks") == 0
    printed = capsys.readouterr().out
    assert "made-up" not in printed  # the reader of DAVIS has met DAVIS
    report = (data / "out" / "results.md").read_text()
    assert printed.strip() in report
    assert report.startswith("# DAVIS-2017, unsupervised annotations, val\n")
    iou = 7 / 9
    first = rows(data / "out" / "sequences.csv")
    assert [(row["sequence"], row["protocol"]) for row in first[:2]] == [
        ("a", "official"), ("a", "per-frame"),
    ]  # fmt: skip
    assert [float(row["j_mean"]) for row in first if row["protocol"] == "official"] == [
        1.0, pytest.approx(iou, abs=1e-6),
    ]  # fmt: skip
    totals = {row["protocol"]: row for row in rows(data / "out" / "totals.csv")}
    assert len(totals) == 4
    assert float(totals["official"]["j_mean"]) == pytest.approx((1 + iou) / 2, abs=1e-6)
    assert totals["official"]["objects"] == "4" and totals["official"]["sequences"] == "2"
    assert totals["single-object, best cluster"]["fg_ari_video"] == ""
    assert totals["official"]["seconds_per_frame"] == ""
    assert float(totals["official"]["scoring_seconds_per_frame"]) > 0


def test_a_reader_that_never_met_real_files_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = moving(3)
    for t in range(3):
        write_picture(tmp_path / "st" / "JPEGImages" / "girl" / f"{t:05d}.png", maps[t])
        write_grey(tmp_path / "st" / "GroundTruth" / "girl" / f"{t:05d}.png", maps[t])
    write_masks(tmp_path / "masks", "girl", maps)
    arguments = ("segtrack-v2", "--root", tmp_path / "st", "--out", tmp_path / "out",
                 "--predictions", tmp_path / "masks")  # fmt: skip
    assert main(["evaluate", *map(str, arguments)]) == 0
    said = "The reader of SegTrack v2 has been tested on made-up files only"
    assert said in capsys.readouterr().out
    assert said in (tmp_path / "out" / "results.md").read_text()


def test_every_table_and_file_names_the_protocol(data: Path) -> None:
    run(data, "--predictions", data / "masks", "--protocol", "per-frame")
    for name in ("results.md", "totals.csv", "sequences.csv", "sequences/a.json", "run.json"):
        text = (data / "out" / name).read_text()
        assert "per-frame" in text and 'official"' not in text


def test_totals_weigh_objects_as_davis_does(data: Path) -> None:
    # A third sequence with one object, found not at all: 2 + 2 + 1 objects.
    write_davis(data / "davis", "c", year=2017)
    (data / "davis" / "ImageSets" / "2017" / "val.txt").write_text("a\nb\nc\n")
    write_masks(data / "masks", "c", [0 * m for m in moving(5)])
    run(data, "--predictions", data / "masks", "--protocol", "official")
    (total,) = rows(data / "out" / "totals.csv")
    assert float(total["j_mean"]) == pytest.approx((2 * 1 + 2 * 7 / 9) / 5, abs=1e-6)
    assert float(total["miou"]) == pytest.approx((1 + 7 / 9 + 0) / 3, abs=1e-6)


def test_the_gallery_shows_the_worst_first(data: Path) -> None:
    write_masks(data / "masks", "b", moving(9, objects=2)[8:], first=2)  # worst in the middle
    run(data, "--predictions", data / "masks", "--gallery", 1)
    (path,) = (data / "out" / "gallery").iterdir()
    assert path.name == "01-b.jpg"
    with Image.open(path) as sheet:  # three frames, and three rows of them
        assert sheet.size == (3 * 320, 3 * 240)
    assert "![01-b.jpg](gallery/01-b.jpg) b: J&F" in (data / "out" / "results.md").read_text()


def test_no_gallery(data: Path) -> None:
    run(data, "--predictions", data / "masks", "--gallery", 0)
    assert not list((data / "out" / "gallery").iterdir())
    assert "Worst" not in (data / "out" / "results.md").read_text()


def test_the_pipeline_with_settings(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--backbone", "descriptors", "--size", "48x64", "--frames", "3", "--device", "cpu")
    assert run(data, *more, "--sequences", "b") == 0
    (row,) = [r for r in rows(data / "out" / "sequences.csv") if r["protocol"] == "official"]
    assert row["sequence"] == "b" and float(row["seconds_per_frame"]) > 0
    report = (data / "out" / "results.md").read_text()
    assert report.startswith("# DAVIS-2017, unsupervised annotations, b\n")
    assert "backbone descriptors" in report
    made = (data / "out" / "masks" / "b" / "00000.png").stat().st_mtime_ns
    assert run(data, *more, "--sequences", "b") == 0
    assert (data / "out" / "masks" / "b" / "00000.png").stat().st_mtime_ns == made
    capsys.readouterr()
    assert run(data, *more, "--sequences", "b", "--tau", 2) == 2
    assert "another value of 'settings'" in capsys.readouterr().err


def test_stopped_it_says_how_much_is_left(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Another process holds b, so this one waits until it is interrupted.
    (data / "out" / ".locks").mkdir(parents=True)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with (data / "out" / ".locks" / "b.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            signal.setitimer(signal.ITIMER_REAL, 2)
            assert run(data, "--predictions", data / "masks") == 130
    finally:
        signal.signal(signal.SIGALRM, before)
    assert re.search(r"stopped with [12] of 2 sequences left", capsys.readouterr().err)
    assert run(data, "--predictions", data / "masks") == 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--predictions", "nowhere"), "There is no folder nowhere"),
        (("--predictions", ".", "--tau", "2"), "leave out --predictions or --tau"),
        (("--sequences", "x"), "480p/x is missing; get DAVIS-2017"),
        (("--gallery", "-1"), "give 0 or more"),
        (("--size", "0x9", "--backbone", "descriptors"), "The size is"),
    ],
)
def test_bad_input_ends_with_one_line(
    data: Path, more: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, *more) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (data / "out").exists()


@pytest.mark.parametrize(
    "more", [("--protocol", "best"), ("--subset", "9"), ("--subset", "5:2"), ("--size", "big")]
)
def test_bad_usage_is_refused(
    data: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(data, *more)
    assert stopped.value.code == 2
    assert more[1] in capsys.readouterr().err


def test_a_sequence_without_masks_is_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "masks" / "b").rename(data / "away")
    assert run(data, "--predictions", data / "masks") == 2
    assert f"There is no folder {data / 'masks' / 'b'}" in capsys.readouterr().err


def test_workers_score_as_one_process_does(data: Path, tmp_path: Path) -> None:
    saved = ["--predictions", data / "masks"]
    assert run(data, *saved, "--workers", 2) == 0
    spread = rows(data / "out" / "sequences.csv")
    (data / "out").rename(data / "spread")
    assert run(data, *saved) == 0
    timed = {"seconds_per_frame", "scoring_seconds_per_frame"}
    alone = rows(data / "out" / "sequences.csv")
    assert [{k: v for k, v in row.items() if k not in timed} for row in spread] == [
        {k: v for k, v in row.items() if k not in timed} for row in alone
    ]


def test_what_is_wrong_with_masks_is_said_by_workers_too(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next((data / "masks" / "b").glob("*.png")).write_bytes(b"no picture")
    assert run(data, "--predictions", data / "masks", "--workers", 1) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_another_grouping_is_scored_and_named(data: Path) -> None:
    assert run(data, "--backbone", "descriptors", "--grouping", "kmeans") == 0
    made = json.loads((data / "out" / "run.json").read_text())
    assert (made["grouping"], made["slots"]) == ("kmeans", None)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--grouping", "slots"], "--grouping slots needs trained slots; give --slots FILE."),
        (["--slots", "x"], "Only --grouping slots uses slots; leave out --slots."),
        (
            ["--predictions", "x", "--grouping", "ncut"],
            "Saved masks are not grouped again; leave out --predictions or --grouping.",
        ),
    ],
)
def test_groupings_that_make_no_sense_are_refused(
    data: Path, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, *options) == 2
    assert sentence in capsys.readouterr().err
