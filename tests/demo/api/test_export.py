"""The files of /export."""

import json
import xml.etree.ElementTree as ET
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from pycocotools import mask as coco

from .helpers import FILES, FRAMES


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
    value = {category["id"]: category["png_value"] for category in masks["categories"]}
    painted = {image["id"]: np.full(summary["size"], -1) for image in masks["images"]}
    for annotation in masks["annotations"]:
        pixels = coco.decode(annotation["segmentation"]).astype(bool)
        canvas = painted[annotation["image_id"]]
        assert (canvas[pixels] == -1).all()  # no pixel belongs to two clusters
        assert annotation["area"] == pixels.sum()
        canvas[pixels] = value[annotation["category_id"]]
    for image in masks["images"]:
        picture = np.asarray(pngs[f"masks/{image['file_name']}"])
        np.testing.assert_array_equal(painted[image["id"]], picture)


def test_background_is_value_0_and_each_object_has_its_own(masks, summary) -> None:
    background = [category["supercategory"] == "background" for category in masks["categories"]]
    assert background == summary["background"]
    for category, is_background in zip(masks["categories"], background, strict=True):
        assert category["png_value"] == (0 if is_background else category["id"])


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
    assert len(json.loads(Path(path).read_text())["categories"]) == 3


def test_one_zip_holds_all_other_files(exported) -> None:
    with zipfile.ZipFile(exported["bavos.zip"]) as archive:
        assert archive.testzip() is None
        held = {name for name in archive.namelist() if not name.startswith("masks/")}
    assert held == FILES - {"bavos.zip", "masks.zip"}
