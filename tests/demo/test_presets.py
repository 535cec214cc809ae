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


def learned_from(analysis: Analysis) -> Pace:
    """Knows one run."""
    learned = Pace([Preset(len(analysis.analysed), int(np.prod(analysis.grid)))])
    seconds = {"decode": 1.0, "features": 2.0, "attention and clustering": 3.0}
    learned.learn(replace(analysis, timings=seconds))
    return learned


@pytest.fixture
def pace(tiny_analysis: Analysis) -> Pace:
    return learned_from(tiny_analysis)


def test_nothing_is_foretold_before_the_first_run_with_a_backbone(pace) -> None:
    assert Pace().seconds("descriptors", PRESETS["fast"], 1.0) is None
    assert pace.seconds("dino-vits8", PRESETS["fast"], 1.0) is None


def test_the_run_that_was_learned_from_is_foretold_exactly(pace, tiny_analysis) -> None:
    ran = Preset(len(tiny_analysis.analysed), int(np.prod(tiny_analysis.grid)))
    assert pace.seconds("descriptors", ran, 4.0) == pytest.approx(4 + 2 + 3)


@given(first=presets, second=presets)
def test_more_frames_and_patches_never_take_less(
    tiny_analysis, first: Preset, second: Preset
) -> None:
    pace = learned_from(tiny_analysis)
    if first.frames <= second.frames and first.patches <= second.patches:
        seconds = [pace.seconds("descriptors", it, 1.0) for it in (first, second)]
        assert seconds[0] <= seconds[1]


def test_the_run_nearest_in_size_is_what_counts(pace, tiny_analysis) -> None:
    large = np.zeros(4, np.int64)
    seconds = {"decode": 1.0, "features": 20.0, "attention and clustering": 3000.0}
    pace.learn(replace(tiny_analysis, timings=seconds, analysed=large))
    assert pace.seconds("descriptors", Preset(3, int(np.prod(tiny_analysis.grid))), 0) < 6
    assert pace.seconds("descriptors", Preset(4, int(np.prod(tiny_analysis.grid))), 0) > 3000


def test_a_run_of_one_patch_teaches_nothing(pace, tiny_analysis) -> None:
    before = pace.seconds("descriptors", PRESETS["fine"], 0)
    one = replace(
        tiny_analysis, grid=(1, 1), timings={"features": 9.0, "attention and clustering": 9.0}
    )
    pace.learn(one)
    assert pace.seconds("descriptors", PRESETS["fine"], 0) == before


@given(presets, st.integers(1, 200), st.integers(1, 5000))
def test_a_preset_keeps_within_the_servers_limits(preset: Preset, frames: int, few: int) -> None:
    within = preset.within(DemoSettings(max_frames=frames, max_patches=few))
    assert within == Preset(min(preset.frames, frames), min(preset.patches, few))


def test_labels_state_frames_and_patches_within_the_limit() -> None:
    assert strings.presets(DemoSettings())[0] == ("Fast 12×648", "fast")
    assert strings.presets(DemoSettings(max_frames=6))[2] == ("Fine 6×1600", "fine")
    assert strings.presets(DemoSettings(max_patches=500))[2] == ("Fine 32×500", "fine")


def test_finer_presets_cost_more() -> None:
    costs = [(preset.rows, preset.products) for preset in PRESETS.values()]
    assert costs == sorted(costs)
