"""The benchmark compares like with like, and says what it left out."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from core.helpers import plain_attention, plain_kl

from bavos_core.cli import main
from bavos_core.clustering import assign, find_clusters
from bavos_core.distances import Windows
from bavos_lab.benchmark import METHODS, Case, as_table, measure, run_benchmark
from bavos_lab.benchmark.command import add_options
from bavos_lab.benchmark.naive import naive_centroids, naive_distances, naive_labels, naive_rows
from bavos_lab.benchmark.scene import scene

TINY = Case(frames=4, grid=(6, 10), key_frames=2, heads=2)


def test_the_naive_version_is_written_right() -> None:
    attention = scene(4, (5, 6), 2, heads=2)
    rows = naive_rows(attention, 0, 4).double().numpy()
    expected = plain_attention(attention.queries, attention.keys, attention.scale).mean(0)
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-7)
    found = naive_distances(torch.tensor(rows[:9]), torch.tensor(rows[5:20]))
    np.testing.assert_allclose(found, plain_kl(rows[:9, None], rows[5:20]), atol=1e-6)


@pytest.mark.parametrize("heads", [1, 8])
@pytest.mark.parametrize("tau", [0.25, 1.0])
def test_naive_and_exact_find_the_same_clusters(heads: int, tau: float) -> None:
    attention = scene(7, (9, 14), 2, heads=heads)
    centroids, found = (
        naive_centroids(attention, tau),
        find_clusters(Windows(attention), tau).centroids,
    )
    assert 1 < len(found) < 7 * 9 * 14
    torch.testing.assert_close(found, centroids, rtol=1e-3, atol=1e-6)
    labels = assign(Windows(attention), found).labels.flatten()
    assert (labels == naive_labels(attention, centroids)).float().mean() >= 0.999


@pytest.mark.parametrize("method", METHODS)
def test_every_method_measures_time_and_labels_every_patch(method) -> None:
    run, labels = measure(TINY, method)
    stages = {name: value for name, value in run.seconds.items() if name != "total"}
    assert run.seconds["total"] == pytest.approx(sum(stages.values()))
    assert min(stages.values()) > 0
    assert labels.shape == (4 * 60,)
    assert 1 <= len(np.unique(labels)) <= run.clusters


def test_the_old_name_of_a_method_is_taken_with_a_note() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    with pytest.warns(FutureWarning, match="plain is now called naive"):
        options = parser.parse_args(["--out", "figures.json", "--methods", "plain", "exact"])
    assert options.methods == ["naive", "exact"]


def test_runs_agree_and_what_does_not_fit_is_left_out_in_words() -> None:
    small = Case(frames=2, grid=(24, 40), key_frames=2, heads=2)
    huge = Case(frames=70, grid=(400, 600), key_frames=7)
    seen = []
    document = run_benchmark(
        cases=(small, huge), methods=("naive", "exact"), minutes=10, report=seen.append
    )
    assert [(run.case, run.method) for run in seen] == [
        (small, "naive"), (small, "exact"), (huge, "exact"), (huge, "naive"),
    ]  # fmt: skip
    naive, exact, *left_out = document["runs"]
    assert naive["agreement"] == pytest.approx({"exact": 1.0}, abs=0.01)
    assert exact["agreement"] == pytest.approx({"naive": 1.0}, abs=0.01)
    rows = 1920 * 1920 * 4 / 2**20  # MiB of one window's rows, of which naive holds many
    assert rows < naive["peak_mib"] < 40 * rows
    assert exact["peak_mib"] < naive["peak_mib"]
    assert all(run["why"].startswith("left out") and not run["seconds"] for run in left_out)
    table = as_table(document)
    assert table.count("\n") == 5
    assert "left out: more than the" in table


def test_the_command_writes_every_figure_and_prints_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "figures.json"
    assert main(["benchmark", "--out", str(out), "--device", "cpu", "--minutes", "0.001"]) == 0
    document = json.loads(out.read_text())
    assert len(document["runs"]) == 9 * len(METHODS)
    assert document["machine"]["torch"] == torch.__version__
    assert all(run["why"] for run in document["runs"])  # nothing fits into 60 ms
    assert capsys.readouterr().out.startswith("| case | method |")
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "figures.txt"], "must end in .json"),
        (["--out", "nowhere/figures.json"], "make it first"),
        (["--out", "figures.json", "--minutes", "0"], "above 0"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(
    arguments: list[str], words: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
