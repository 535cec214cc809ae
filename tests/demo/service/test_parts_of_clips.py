"""Parts of clips."""

from typing import Any

import numpy as np
import pytest

from bavos_core import InputError
from demo import recipe
from demo.panels.start import Start
from demo.presets import PRESETS
from demo.service import Service

from .helpers import FEW, FILES, ignore

PART = (0.9, 1.9)  # holds the frames at 1 and 1.5 seconds, of four at 0, 0.5, 1 and 1.5


@pytest.fixture(scope="module")
def part(service: Service, small_clip):
    return service.segment(str(small_clip), "descriptors", FEW, ignore, part=PART)


def test_a_part_is_analysed_and_its_overlay_lasts_as_long(service, part, decode) -> None:
    result, overlay = part, service.files.overlay(part, part.analysis.segment())
    assert result.analysis.part == (pytest.approx(1), 1.9)
    np.testing.assert_allclose(result.analysis.times, [0, 0.5], atol=0.01)
    assert len(decode(overlay)) == 2


def test_downloads_are_those_of_the_part(service, part, decode) -> None:
    files = {path.name: path for path in service.downloads(part.id, 4, (), ignore)}
    assert set(files) == FILES  # without a manifest: nothing is replaced there
    assert len(decode(files["overlay.mp4"])) == 2


def test_a_part_of_an_example_is_not_the_example(with_example, small_clip) -> None:
    whole = with_example.segment(str(small_clip), "descriptors", PRESETS["fast"], ignore)
    some = with_example.segment(str(small_clip), "descriptors", PRESETS["fast"], ignore, part=PART)
    again = with_example.segment(str(small_clip), "descriptors", PRESETS["fast"], ignore)
    assert [len(r.analysis.times) for r in (whole, some, again)] == [4, 2, 4]


def test_a_part_that_is_none_is_bad_input(service, small_clip) -> None:
    with pytest.raises(InputError, match="start < end"):
        service.segment(str(small_clip), "descriptors", FEW, ignore, part=(1.0, 0.5))


def test_the_code_names_the_part(service, part, small_clip) -> None:
    result = part
    cut = service.cut(result.id, 4)[1]
    code = recipe.code(result, cut, (), "")
    start = result.analysis.part[0]
    assert f" --start {start!r} --end 1.9 " in code
    assert f", {start!r}, 1.9, api_name" in code
    names: dict[str, Any] = {}
    python = code.split("# Python\n")[1].split("# This server")[0]
    exec(python.replace("CLIP", str(small_clip)), names)
    np.testing.assert_array_equal(names["cut"].labels, cut.labels)


def test_the_end_of_the_slider_is_the_end_of_the_clip(service, small_clip) -> None:
    clip, start, end = "clip", "start", "end"
    head = Start(clip, None, None, None, None, start, end, None)
    for chosen, expected in {
        (0, 0): (0, None),  # hidden
        (0, 2.0): (0, None),
        (0.5, 2.0): (0.5, None),
        (0.5, 1.5): (0.5, 1.5),
    }.items():
        values = {clip: str(small_clip), start: chosen[0], end: chosen[1]}
        assert head.part(values, service.clips) == expected
