"""The HTTP API from the outside: gradio_client against a server that really runs."""

import json
import time
import xml.etree.ElementTree as ET
import zipfile
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from pycocotools import mask as coco

from bavos_core import Edit

FRAMES = 4  # analysed
PATCHES = 300  # of a frame, about
FILES = {
    "bavos.zip", "overlay.mp4", "masks.zip", "masks.json", "labels.npz",
    "hierarchy.json", "hierarchy.svg", "summary.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def client(server: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A client that keeps what it is sent in a folder of its own."""
    downloads = tmp_path_factory.mktemp("client")
    return Client(server, verbose=False, download_files=str(downloads), analytics_enabled=False)


@pytest.fixture(scope="module")
def segmented(client: Client, example: Path) -> tuple[dict, str]:
    """Summary and overlay of the example."""
    return client.predict(handle_file(example), "descriptors", FRAMES, PATCHES, api_name="/segment")


@pytest.fixture(scope="module")
def summary(segmented: tuple[dict, str]) -> dict:
    return segmented[0]


@pytest.fixture(scope="module")
def exported(client: Client, summary: dict) -> dict[str, Path]:
    """All files of the export, by name."""
    paths = client.predict(summary["result"], summary["clusters"], api_name="/export")
    return {Path(path).name: Path(path) for path in paths}


@pytest.fixture(scope="module")
def masks(exported: dict[str, Path]) -> dict:
    return json.loads(exported["masks.json"].read_text())


@pytest.fixture(scope="module")
def pngs(exported: dict[str, Path]) -> dict[str, Image.Image]:
    """The pictures of masks.zip by their names there."""
    with zipfile.ZipFile(exported["masks.zip"]) as archive:
        assert archive.testzip() is None
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
        return {name: Image.open(BytesIO(archive.read(name))) for name in names}


@pytest.fixture(scope="module")
def hierarchy(exported: dict[str, Path]) -> dict:
    return json.loads(exported["hierarchy.json"].read_text())


def refusal(client: Client, *values: object, api_name: str) -> str:
    """What the server says when it refuses a call: one line, a sentence, no traceback."""
    with pytest.raises(AppError) as caught:
        client.predict(*values, api_name=api_name)
    message = str(caught.value)
    assert message.endswith("."), message
    assert "\n" not in message
    assert len(message) < 250
    for trace in ("Traceback", 'File "', "Error:", ".py"):
        assert trace not in message
    return message


def width_and_height(path: str) -> list[int]:
    with Image.open(path) as picture:
        picture.load()
        return list(picture.size)


# ---- endpoints ---------------------------------------------------------------------------------


def test_the_api_offers_exactly_the_documented_endpoints(client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {"/segment", "/cancel", "/cut", "/attend", "/export"}


def test_parameters_have_the_names_of_the_library(client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    names = {
        endpoint: [parameter["parameter_name"] for parameter in described["parameters"]]
        for endpoint, described in endpoints.items()
    }
    assert names["/cut"] == ["result", "n_clusters", "sample_index", "edits"]
    assert names["/attend"] == ["result", "sample_index", "y", "x", "head", "source"]
    assert names["/export"] == ["result", "n_clusters", "edits"]


# ---- segment -----------------------------------------------------------------------------------


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


# ---- cut ---------------------------------------------------------------------------------------


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
    assert [cluster["name"] for cluster in masks["clusters"]] == numbers["names"]
    assert [cluster["background"] for cluster in masks["clusters"]] == numbers["background"]
    assert 7 not in {annotation["cluster"] for annotation in masks["annotations"]}
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


# ---- attend ------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [-1, 0])
@pytest.mark.parametrize("source", ["framewise", "cross-frame", "untrained", "key-similarity"])
def test_attend_gives_a_distribution_a_picture_and_a_video(
    client, summary, decode, source, head
) -> None:
    numbers, picture, video = client.predict(
        summary["result"], 1, 100, 200, head, source, api_name="/attend"
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
        client.predict(*place, source, api_name="/attend")[0]
        for source in ("keys", "key-similarity")
    )
    assert old == new


def test_sources_and_places_differ_in_their_rows(client, summary) -> None:
    def row(y: float, x: float, source: str) -> np.ndarray:
        answer = client.predict(summary["result"], 1, y, x, -1, source, api_name="/attend")
        return np.array(answer[0]["row"])

    here = row(100, 200, "key-similarity")
    assert abs(here - row(20, 20, "key-similarity")).max() > 1e-5
    assert abs(here - row(100, 200, "untrained")).max() > 1e-5


# ---- export ------------------------------------------------------------------------------------


def test_export_gives_every_file_of_the_contract(exported) -> None:
    assert set(exported) == FILES


def test_the_exported_overlay_has_the_clips_own_size_and_frames(
    exported, decode, example_facts
) -> None:
    width, height = example_facts["size"]
    assert decode(exported["overlay.mp4"]).shape == (example_facts["frames"], height, width, 3)


def test_the_zip_holds_one_palette_png_per_frame_in_davis_colours(pngs, example_facts) -> None:
    names = [f"masks/{i:05d}.png" for i in range(example_facts["frames"])]
    assert sorted(pngs) == names
    for picture in pngs.values():
        assert picture.mode == "P"
        assert list(picture.size) == example_facts["size"]
        assert picture.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]


def test_the_run_length_masks_agree_with_the_pngs(masks, pngs, summary) -> None:
    value = {cluster["id"]: cluster["png_value"] for cluster in masks["clusters"]}
    painted = {name: np.full(summary["size"], -1) for name in masks["frames"]}
    for annotation in masks["annotations"]:
        pixels = coco.decode(annotation["segmentation"]).astype(bool)
        canvas = painted[annotation["file_name"]]
        assert (canvas[pixels] == -1).all()  # no pixel belongs to two clusters
        assert annotation["area"] == pixels.sum()
        canvas[pixels] = value[annotation["cluster"]]
    for name, canvas in painted.items():
        np.testing.assert_array_equal(canvas, np.asarray(pngs[f"masks/{name}.png"]), name)


def test_background_is_value_0_and_each_object_has_its_own(masks, summary) -> None:
    assert [cluster["background"] for cluster in masks["clusters"]] == summary["background"]
    for cluster in masks["clusters"]:
        assert cluster["png_value"] == (0 if cluster["background"] else cluster["id"] + 1)


def test_the_labels_file_holds_the_patch_grid_of_every_analysed_frame(exported, summary) -> None:
    with np.load(exported["labels.npz"], allow_pickle=False) as file:
        assert file["labels"].shape == (FRAMES, *summary["grid"])
        assert 0 <= file["labels"].min() <= file["labels"].max() < summary["clusters"]
        assert file["analysed"].tolist() == summary["analysed"]
        assert file["times"].shape == (summary["frames"],)
        assert file["background"].tolist() == summary["background"]
        assert file["size"].tolist() == summary["size"]


def test_the_nodes_of_the_hierarchy_exist_add_up_and_rise(hierarchy, summary) -> None:
    nodes, leaves = hierarchy["nodes"], summary["leaves"]
    assert [node["id"] for node in nodes] == list(range(2 * leaves - 1))
    for node in nodes[:leaves]:
        assert node["children"] == []
        assert node["distance"] == 0
    for node in nodes[leaves:]:
        children = [nodes[child] for child in node["children"]]
        assert len(children) == 2
        assert node["patches"] == sum(child["patches"] for child in children)
        assert set(node["frames"]) == {f for child in children for f in child["frames"]}
        assert all(child["distance"] <= node["distance"] for child in children)
    assert all(a["distance"] <= b["distance"] for a, b in pairwise(nodes[leaves:]))


def test_every_node_but_the_root_is_the_child_of_one(hierarchy) -> None:
    children = sorted(child for node in hierarchy["nodes"] for child in node["children"])
    assert children == list(range(len(hierarchy["nodes"]) - 1))


def test_the_root_holds_all_patches_of_all_analysed_frames(hierarchy, summary) -> None:
    root = hierarchy["nodes"][-1]
    assert root["patches"] == FRAMES * np.prod(summary["grid"])
    assert root["frames"] == summary["analysed"]


def test_the_picture_of_the_hierarchy_is_well_formed(exported) -> None:
    assert ET.parse(exported["hierarchy.svg"]).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_the_summary_file_tells_settings_versions_and_seconds(exported, summary) -> None:
    found = json.loads(exported["summary.json"].read_text())
    assert found["settings"]["backbone"] == "descriptors"
    assert found["clusters"] == summary["clusters"]
    assert found["frames_analysed"] == FRAMES
    assert {"python", "torch", "timm", "numpy"} <= set(found["versions"])
    assert {"decode", "features", "attention and clustering"} <= set(found["seconds"])
    assert found["peak_memory_mib"] > 0


def test_export_at_another_granularity_has_as_many_clusters(client, summary) -> None:
    paths = client.predict(summary["result"], 3, api_name="/export")
    path = next(path for path in paths if path.endswith("masks.json"))
    assert len(json.loads(Path(path).read_text())["clusters"]) == 3


# ---- what cannot be used -----------------------------------------------------------------------


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


def test_fewer_patches_give_a_coarser_grid(client, summary, small_clip) -> None:
    found, _ = client.predict(handle_file(small_clip), "descriptors", 2, 48, api_name="/segment")
    assert np.prod(found["grid"]) == pytest.approx(48, rel=0.2)
    assert np.prod(summary["grid"]) == pytest.approx(PATCHES, rel=0.1)


def test_one_zip_holds_all_other_files(exported) -> None:
    with zipfile.ZipFile(exported["bavos.zip"]) as archive:
        assert archive.testzip() is None
        held = {name for name in archive.namelist() if not name.startswith("masks/")}
    assert held == FILES - {"bavos.zip", "masks.zip"}


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
    assert "outside" in said


def test_a_head_that_there_is_not_is_refused_in_one_sentence(client, summary) -> None:
    said = refusal(client, summary["result"], 0, 5, 5, 99, "key-similarity", api_name="/attend")
    assert "99" in said
