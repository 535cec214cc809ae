"""How thoroughly a clip is analysed, and the seconds that this is expected to take."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bavos_core import Analysis
from demo import strings
from demo.presets import PRESETS, Pace, Preset
from demo.settings import DemoSettings

presets = st.builds(Preset, st.integers(1, 96), st.integers(1, 4096))


@pytest.fixture
def pace(tiny_analysis: Analysis) -> Pace:
    """Knows one run of three frames."""
    learned = Pace()
    seconds = {"decode": 1.0, "features": 2.0, "attention and clustering": 3.0}
    learned.learn(replace(tiny_analysis, timings=seconds))
    return learned


def test_nothing_is_foretold_before_the_first_run() -> None:
    assert Pace().seconds(PRESETS["fast"]) is None


def test_the_run_that_was_learned_from_is_foretold_exactly(pace, tiny_analysis) -> None:
    ran = Preset(len(tiny_analysis.analysed), int(np.prod(tiny_analysis.grid)))
    assert pace.seconds(ran) == pytest.approx(6)


@given(first=presets, second=presets)
def test_more_frames_and_patches_never_take_less(first: Preset, second: Preset) -> None:
    pace = Pace()
    pace._per_row, pace._per_product, pace._rest = 1e-4, 1e-7, 1.0
    if first.frames <= second.frames and first.patches <= second.patches:
        assert pace.seconds(first) <= pace.seconds(second)


@given(presets, st.integers(1, 200))
def test_a_preset_keeps_within_the_servers_limit(preset: Preset, most: int) -> None:
    within = preset.within(DemoSettings(max_frames=most))
    assert within.frames == min(preset.frames, most)
    assert within.patches == preset.patches


def test_labels_state_frames_patches_and_after_a_run_seconds(pace) -> None:
    before = strings.presets(Pace(), DemoSettings())
    assert before[0] == ("Fast: 12 × 648", "fast")
    after = strings.presets(pace, DemoSettings())
    assert all(label.startswith(old) for (label, _), (old, _) in zip(after, before, strict=True))
    assert all(label.endswith(" s") for label, _ in after)


def test_finer_presets_cost_more() -> None:
    costs = [(preset.rows, preset.products) for preset in PRESETS.values()]
    assert costs == sorted(costs)
