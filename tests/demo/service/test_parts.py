"""Parts of clips, and pictures that are smaller than the clip."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bavos_core import InputError
from demo import images, recipe
from demo.edits import Edits
from demo.panels.start import Inputs
from demo.service import Service

from .helpers import FEW, FILES, ignore

PART = (0.9, 1.9)  # holds the frames at 1 and 1.5 seconds, of four at 0, 0.5, 1 and 1.5


@pytest.fixture(scope="module")
def part(service: Service, small_clip):
    return service.segment(str(small_clip), "descriptors", FEW, ignore, part=PART)


def test_a_part_is_analysed_and_its_overlay_lasts_as_long(part, decode) -> None:
    result, overlay = part
    assert result.analysis.part == (pytest.approx(1), 1.9)
    np.testing.assert_allclose(result.analysis.times, [0, 0.5], atol=0.01)
    assert len(decode(overlay)) == 2


def test_downloads_are_those_of_the_part(service, part, decode) -> None:
    files = {path.name: path for path in service.downloads(part[0].id, 4, Edits(), ignore)}
    assert set(files) == FILES  # without a manifest: nothing is replaced there
    assert len(decode(files["overlay.mp4"])) == 2


def test_a_part_of_an_example_is_not_the_example(with_example, small_clip) -> None:
    whole, _ = with_example.segment(str(small_clip), "descriptors", FEW, ignore)
    some, _ = with_example.segment(str(small_clip), "descriptors", FEW, ignore, part=PART)
    again, _ = with_example.segment(str(small_clip), "descriptors", FEW, ignore)
    assert [len(r.analysis.times) for r in (whole, some, again)] == [4, 2, 4]


def test_a_part_that_is_none_is_bad_input(service, small_clip) -> None:
    with pytest.raises(InputError, match="start < end"):
        service.segment(str(small_clip), "descriptors", FEW, ignore, part=(1.0, 0.5))


def test_the_code_names_the_part(service, part, small_clip) -> None:
    result = part[0]
    cut = service.cut(result.id, 4)[1]
    code = recipe.code(result, cut, Edits(), "")
    start = result.analysis.part[0]
    assert f" --start {start!r} --end 1.9 " in code
    assert f", {start!r}, 1.9, api_name" in code
    names: dict[str, Any] = {}
    python = code.split("# Python\n")[1].split("# This server")[0]
    exec(python.replace("CLIP", str(small_clip)), names)
    np.testing.assert_array_equal(names["cut"].labels, cut.labels)


def test_the_end_of_the_slider_is_the_end_of_the_clip(service, small_clip) -> None:
    clip, start, end = "clip", "start", "end"
    inputs = Inputs(clip, None, start, end, None, None)
    for chosen, expected in {
        (0, 0): (0, None),  # hidden
        (0, 2.0): (0, None),
        (0.5, 2.0): (0.5, None),
        (0.5, 1.5): (0.5, 1.5),
    }.items():
        values = {clip: str(small_clip), start: chosen[0], end: chosen[1]}
        assert inputs.part(values, service.clips) == expected


def test_a_click_into_a_smaller_picture_is_a_point_of_the_clip(result) -> None:
    analysis = replace(result.analysis, size=(960, 1280))
    assert images.picture_size(analysis) == (96, 128)
    assert images.clicked(analysis, 1, (127, 0)) == (1, 5.0, 1275.0)
