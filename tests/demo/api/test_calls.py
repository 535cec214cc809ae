"""Answers of /segment, /cut and /attend."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from gradio_client import handle_file

from bavos_core import Edit

from .helpers import FRAMES, PATCHES, width_and_height

# ---- endpoints ----------------------------------------------------------------------------------


def test_the_api_offers_exactly_the_documented_endpoints(client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {"/segment", "/cancel", "/cut", "/attend", "/export", "/html"}


def test_parameters_have_the_names_of_the_library(client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    names = {
        endpoint: [parameter["parameter_name"] for parameter in described["parameters"]]
        for endpoint, described in endpoints.items()
    }
    assert names["/cut"] == ["result", "n_clusters", "sample_index", "edits"]
    assert names["/attend"] == [
        "result", "sample_index", "y", "x", "head", "source", "rows"
    ]  # fmt: skip
    assert names["/export"] == ["result", "n_clusters", "edits"]


# ---- segment ------------------------------------------------------------------------------------


def test_segment_describes_the_clip_and_what_was_found(summary, example_facts) -> None:
    assert summary["backbone"] == "descriptors"
    assert summary["frames"] == example_facts["frames"]
    assert summary["size"] == example_facts["size"][::-1]
    assert len(summary["analysed"]) == FRAMES
    assert len(summary["background"]) == summary["clusters"] <= summary["leaves"]


def test_segment_reports_the_seconds_of_every_stage(summary) -> None:
    stages = {"decode", "features", "attention and clustering"}
    assert stages < set(summary["seconds"])
    assert all(seconds >= 0 for seconds in summary["seconds"].values())


def test_the_overlay_decodes_to_as_many_frames_as_the_clip(segmented, decode, example) -> None:
    overlay, clip = decode(segmented[1]), decode(example)
    assert overlay.shape == clip.shape
    assert abs(overlay.astype(int) - clip).mean() > 5  # something is painted on it


def test_two_results_have_different_ids(client, summary, small_clip) -> None:
    other, _ = client.predict(
        handle_file(small_clip), "descriptors", 2, PATCHES, api_name="/segment"
    )
    assert other["result"] != summary["result"]


def test_an_unreachable_backbone_is_replaced_within_seconds_and_a_notice_says_so(
    client, small_clip
) -> None:
    start = time.perf_counter()
    found, _ = client.predict(
        handle_file(small_clip), "dino-vits8", 2, PATCHES, api_name="/segment"
    )
    overhead = time.perf_counter() - start - sum(found["seconds"].values())
    assert overhead < 30  # loading the bundled backbone; a hub would be waited for longer
    assert found["backbone"] == "bundled-vits14"
    assert any("dino-vits8" in notice for notice in found["notices"])


def test_fewer_patches_give_a_coarser_grid(client, summary, small_clip) -> None:
    found, _ = client.predict(handle_file(small_clip), "descriptors", 2, 48, api_name="/segment")
    assert np.prod(found["grid"]) == pytest.approx(48, rel=0.2)
    assert np.prod(summary["grid"]) == pytest.approx(PATCHES, rel=0.1)


def test_a_part_of_a_clip_can_be_asked_for(client, small_clip) -> None:
    given = (handle_file(small_clip), "descriptors", 4, 48)
    part, _ = client.predict(*given, 0.9, 1.9, api_name="/segment")
    rest, _ = client.predict(*given, 0.9, api_name="/segment")
    assert [found["frames"] for found in (part, rest)] == [2, 2]
    assert part["start"] == rest["start"] == pytest.approx(1)


# ---- cut ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("clusters", [1, 2, 5, 17])
def test_cut_gives_as_many_clusters_as_asked_and_a_picture(client, summary, clusters) -> None:
    numbers, picture = client.predict(summary["result"], clusters, 1, api_name="/cut")
    assert numbers["clusters"] == len(numbers["background"]) == clusters
    assert numbers["leaves"] == summary["leaves"]
    assert width_and_height(picture) == summary["size"][::-1]


def test_a_finer_cut_has_a_lower_tau_and_another_picture(client, summary) -> None:
    coarse, first = client.predict(summary["result"], 3, 0, api_name="/cut")
    fine, second = client.predict(summary["result"], 30, 0, api_name="/cut")
    assert fine["tau"] < coarse["tau"]
    assert Path(first).read_bytes() != Path(second).read_bytes()


def test_cut_tells_names_and_roles(client, summary) -> None:
    numbers, _ = client.predict(summary["result"], 9, 0, api_name="/cut")
    assert numbers["roles"] == ["background" if b else "object" for b in numbers["background"]]
    assert numbers["names"] == [f"{r.capitalize()} {i + 1}" for i, r in enumerate(numbers["roles"])]
    assert numbers["splits"] == {}
    assert {"background", "object"} == set(numbers["roles"])


def test_edits_that_are_sent_are_made(client, summary) -> None:
    plain, before = client.predict(summary["result"], 8, 1, api_name="/cut")
    scenery = plain["roles"].index("background")
    edits = [
        Edit.name(scenery, "Grass"),
        Edit.role(scenery, "object"),
        Edit.split(scenery, at=8),
        Edit.role(8, "background", at=8),
        Edit.merge(7, 6),
    ]
    sent = [edit.to_dict() for edit in edits]
    numbers, picture = client.predict(summary["result"], 8, 1, sent, api_name="/cut")
    parts = numbers["splits"][str(scenery)]
    assert parts == [scenery, *range(8, numbers["clusters"])]
    assert numbers["names"][scenery] == "Grass"
    assert (numbers["roles"][scenery], numbers["roles"][8]) == ("object", "background")
    assert numbers["roles"][7] is None  # it is empty
    assert Path(picture).read_bytes() != Path(before).read_bytes()
    paths = client.predict(summary["result"], 8, sent, api_name="/export")
    masks = next(json.loads(Path(p).read_text()) for p in paths if p.endswith("masks.json"))
    assert [category["name"] for category in masks["categories"]] == numbers["names"]
    background = [category["supercategory"] == "background" for category in masks["categories"]]
    assert background == numbers["background"]
    assert 8 not in {annotation["category_id"] for annotation in masks["annotations"]}
    again, _ = client.predict(summary["result"], 8, 1, api_name="/cut")
    assert again == plain  # edits are of one question only


def test_cut_tells_which_clusters_are_instances(client, summary, served) -> None:
    tree = served.store._results[summary["result"]].analysis.tree
    joins = np.flatnonzero(tree.instances)
    assert len(joins) > 0, "choose an example that holds things which attend alike"
    apart = tree.leaves - int(joins.min())  # clusters as soon as the lowest of them is undone
    numbers, _ = client.predict(summary["result"], apart, 0, api_name="/cut")
    assert numbers["instances"]
    for group in numbers["instances"]:
        assert len(group) > 1
        assert set(group) <= set(range(apart))
    joined = tree.leaves - int(joins.max()) - 1
    numbers, _ = client.predict(summary["result"], joined, 0, api_name="/cut")
    assert numbers["instances"] == []


# ---- attend -------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [-1, 0])
@pytest.mark.parametrize("source", ["framewise", "cross-frame", "untrained", "key-similarity"])
def test_attend_gives_a_distribution_a_picture_and_a_video(
    client, summary, decode, source, head
) -> None:
    numbers, picture, video = client.predict(
        summary["result"], 1, 100, 200, head, source, True, api_name="/attend"
    )
    row = np.array(numbers["row"])
    assert row.shape == (FRAMES, *summary["grid"])
    assert row.min() >= 0
    assert row.sum() == pytest.approx(1, abs=1e-4)
    assert width_and_height(picture) == summary["size"][::-1]
    assert Path(picture).read_bytes().startswith(b"\x89PNG")
    assert decode(video).shape == (FRAMES, *summary["size"], 3)


def test_every_source_of_the_summary_is_tested_above(summary) -> None:
    assert set(summary["sources"]) == {"framewise", "cross-frame", "untrained", "key-similarity"}


def test_a_source_by_its_old_name_gives_the_same(client, summary) -> None:
    place = (summary["result"], 1, 100, 200, -1)
    old, new = (
        client.predict(*place, source, True, api_name="/attend")[0]
        for source in ("keys", "key-similarity")
    )
    assert old == new


def test_sources_and_places_differ_in_their_rows(client, summary) -> None:
    def row(y: float, x: float, source: str) -> np.ndarray:
        answer = client.predict(summary["result"], 1, y, x, -1, source, True, api_name="/attend")
        return np.array(answer[0]["row"])

    here = row(100, 200, "key-similarity")
    assert abs(here - row(20, 20, "key-similarity")).max() > 1e-5
    assert abs(here - row(100, 200, "untrained")).max() > 1e-5
