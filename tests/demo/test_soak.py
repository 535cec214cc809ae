"""A short form of the load test in experiments/soak.py."""

import sys

import pytest

from experiments.soak import soak


@pytest.mark.skipif(sys.platform != "linux", reason="memory and children are read from /proc")
def test_a_crowd_gets_its_own_answers_or_clear_refusals_and_leaves_nothing() -> None:
    report = soak(6, sessions=4, warm_seconds=0, keep_seconds=5)
    assert report["wrong"] == []
    assert report["tracebacks"] == 0, report["log"]
    assert report["left_when_stopped"] == []
    gradios = 1  # folder, which appears with the first upload and stays
    assert report["after"]["files"] <= report["before"]["files"] + gradios
    assert {"segment", "cut", "attend", "export"} <= set(report["requests"])
