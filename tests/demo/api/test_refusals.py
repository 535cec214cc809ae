"""Calls that are refused."""

import pytest
from gradio_client import handle_file

from bavos_core import Edit

from .helpers import FRAMES, PATCHES, refusal


def test_text_that_says_it_is_a_video_is_refused_in_one_sentence(client, not_a_video) -> None:
    said = refusal(client, handle_file(not_a_video), "descriptors", 4, PATCHES, api_name="/segment")
    assert "notes.mp4" in said


def test_no_clip_at_all_is_refused_in_one_sentence(client) -> None:
    assert "clip" in refusal(client, None, "descriptors", 4, PATCHES, api_name="/segment")


@pytest.mark.parametrize("backbone", ["resnet50", "no-such-net", "../../etc/passwd", ""])
def test_what_is_no_backbone_is_refused_in_one_sentence(client, small_clip, backbone) -> None:
    said = refusal(client, handle_file(small_clip), backbone, 4, PATCHES, api_name="/segment")
    assert repr(backbone) in said


@pytest.mark.parametrize("patches", [0, -5, 10**7])
def test_patches_beyond_the_limits_are_refused_in_one_sentence(client, small_clip, patches) -> None:
    said = refusal(client, handle_file(small_clip), "descriptors", 4, patches, api_name="/segment")
    assert str(patches) in said


def test_zero_frames_are_refused_in_one_sentence(client, small_clip) -> None:
    refusal(client, handle_file(small_clip), "descriptors", 0, PATCHES, api_name="/segment")


@pytest.mark.parametrize(
    ("api_name", "rest"),
    [("/cut", (3, 0)), ("/attend", (0, 1, 1, -1, "key-similarity")), ("/export", (3,))],
)
@pytest.mark.parametrize("result", ["", "x", "../../etc"])
def test_an_unknown_result_is_refused_in_one_sentence(client, api_name, rest, result) -> None:
    assert "result" in refusal(client, result, *rest, api_name=api_name)


@pytest.mark.parametrize(
    "edits",
    [
        None, 3, "split", {"action": "split"}, [3], ["split"], [None], [[]], [{}],
        [{"action": "paint", "cluster": 1}], [{"action": "split", "cluster": 1}],
        [{"action": "name", "cluster": -1, "value": "a", "at": None}],
        [{"action": "role", "cluster": 1, "value": "hero", "at": None}],
        [{"action": "merge", "cluster": 1, "value": 1.5, "at": None}],
        [{"action": ["name"], "cluster": 1, "value": "a\nb" * 200}],
        [{"action": "name", "cluster": 1, "value": "a", "colour": "red"}],
        [Edit.name(1, "a").to_dict()] * 257,
    ],
)  # fmt: skip
def test_what_are_no_edits_is_refused_in_one_sentence(client, summary, edits) -> None:
    said = refusal(client, summary["result"], 3, 0, edits, api_name="/cut")
    assert "edit" in said.lower()
    assert refusal(client, summary["result"], 3, edits, api_name="/export") == said


@pytest.mark.parametrize("frame", [-1, FRAMES, 10**6])
def test_a_frame_that_was_not_analysed_is_refused_in_one_sentence(client, summary, frame) -> None:
    assert str(frame) in refusal(client, summary["result"], 3, frame, api_name="/cut")
    query = (frame, 10, 10, -1, "key-similarity")
    assert str(frame) in refusal(client, summary["result"], *query, api_name="/attend")


@pytest.mark.parametrize("source", ["nowhere", "", "Keys"])
def test_a_source_that_there_is_not_is_refused_in_one_sentence(client, summary, source) -> None:
    refusal(client, summary["result"], 0, 10, 10, -1, source, api_name="/attend")


@pytest.mark.parametrize(("y", "x"), [(-1, 5), (5, -1), (1000, 5), (5, 1000)])
def test_a_point_outside_the_picture_is_refused_in_one_sentence(client, summary, y, x) -> None:
    said = refusal(client, summary["result"], 0, y, x, -1, "key-similarity", api_name="/attend")
    assert f"is {y if x == 5 else x}; give a number from 0 to" in said


def test_a_head_that_there_is_not_is_refused_in_one_sentence(client, summary) -> None:
    said = refusal(client, summary["result"], 0, 5, 5, 99, "key-similarity", api_name="/attend")
    assert "99" in said
