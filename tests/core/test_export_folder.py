"""The whole folder of results, and writes that stop."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from bavos_core import Analysis, Cancelled, Edit, InputError, Settings, analyse, export
from bavos_core.export.documents import masks_file
from bavos_core.progress import Progress, Stage
from bavos_core.tree import ClusterTree
from bavos_io.clip import ArrayClip

from .helpers import TINY, noise_clip, softmax

FILES = {
    "overlay.mp4", "masks", "masks.json", "labels.npz",
    "hierarchy.json", "hierarchy.svg", "summary.json", "bavos.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def several_keys(clip: ArrayClip) -> Analysis:
    """Five of its frames analysed, 0, 2, 3, 4 and 6, of which two are key frames, 0 and 3."""
    analysis = analyse(clip, Settings(**TINY, frames=5, key_ratio=2))
    assert analysis.analysed.tolist() == [0, 2, 3, 4, 6]
    assert analysis.key_frames.tolist() == [0, 3]
    return analysis


# ---- the whole folder --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(square_analysis, clip, tmp_path_factory) -> Path:
    """Everything that `write_all` writes."""
    out = tmp_path_factory.mktemp("all") / "deep" / "result"
    export.write_all(out, square_analysis, square_analysis.segment(), clip)
    return out


def pngs(folder: Path) -> dict[str, np.ndarray]:
    """All mask PNGs by name."""
    return {path.stem: np.asarray(Image.open(path)) for path in (folder / "masks").iterdir()}


def test_write_all_leaves_the_files_of_the_contract_and_no_others(folder) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    assert list(folder.parent.iterdir()) == [folder]
    assert sorted(pngs(folder)) == [f"{i:05d}" for i in range(7)]


def test_write_all_returns_what_the_summary_file_says(square_analysis, clip, tmp_path) -> None:
    document = export.write_all(tmp_path, square_analysis, square_analysis.segment(), clip)
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(json.dumps(document))
    stages = {"decode", "features", "attention and clustering", "instances", "masks", "encode"}
    assert set(document["seconds"]) == stages
    assert document["frames"] == document["frames_analysed"] == 7


def test_run_length_masks_and_pngs_are_two_copies_of_one_thing(folder) -> None:
    document = json.loads((folder / "masks.json").read_text())
    value = {category["id"]: category["png_value"] for category in document["categories"]}
    found = {image["id"]: np.full((48, 64), -1) for image in document["images"]}
    for annotation in document["annotations"]:
        pixels = coco.decode(annotation["segmentation"]).astype(bool)
        found[annotation["image_id"]][pixels] = value[annotation["category_id"]]
    pictures = pngs(folder)
    for image in document["images"]:
        np.testing.assert_array_equal(found[image["id"]], pictures[Path(image["file_name"]).stem])


def test_masks_say_that_the_bundled_backbone_is_tuned_on_labels(square_analysis, tmp_path):
    settings = replace(square_analysis.settings, backbone="bundled-vits14")
    analysis = replace(square_analysis, settings=settings)
    with masks_file(tmp_path / "masks.json", analysis, analysis.segment()):
        pass
    info = json.loads((tmp_path / "masks.json").read_text())["info"]
    assert info["backbone"] == "bundled-vits14 (tuned on saliency labels)"


def test_the_labels_file_holds_the_labels_of_the_cut(folder, square_analysis) -> None:
    cut = square_analysis.segment()
    with np.load(folder / "labels.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["labels"], cut.labels)
        np.testing.assert_array_equal(file["analysed"], np.arange(7))
        np.testing.assert_array_equal(file["times"], square_analysis.times)
        np.testing.assert_array_equal(file["background"], cut.background)
        assert file["tau"] == cut.tau
        assert file["size"].tolist() == [48, 64]


@pytest.mark.parametrize("kind", ["square_analysis", "several_keys", "exact_analysis"])
def test_the_labels_file_holds_the_levels_and_what_each_leaf_looks_at(
    kind, request, tmp_path
) -> None:
    analysis = request.getfixturevalue(kind)
    export.write_labels(tmp_path / "labels.npz", analysis, analysis.segment())
    assert [path.name for path in tmp_path.iterdir()] == ["labels.npz"]
    with np.load(tmp_path / "labels.npz", allow_pickle=False) as file:
        arrays = dict(file)
    names = {"labels", "analysed", "times", "background", "names", "tau", "size"}
    assert set(arrays) == names | {"levels", "leaf_labels", "leaf_rows"}
    np.testing.assert_array_equal(arrays["levels"], analysis.levels)
    np.testing.assert_array_equal(arrays["leaf_labels"], analysis.nearest[..., 0])
    np.testing.assert_array_equal(arrays["leaf_rows"], analysis.tree.rows)
    kinds = {"levels": np.int32, "leaf_labels": np.int32, "leaf_rows": np.float16}
    assert {name: arrays[name].dtype for name in kinds} == kinds
    width = arrays["leaf_rows"].shape[1]
    assert width == len(analysis.key_frames) * 48
    np.testing.assert_allclose(arrays["leaf_rows"].astype(float).sum(1) / width, 1, rtol=2e-3)
    assert arrays["levels"][-1].max() + 1 == len(arrays["leaf_rows"])
    assert arrays["leaf_labels"].max() < len(arrays["leaf_rows"])


def test_the_attention_file_holds_rows_queries_and_frames(several_keys, tmp_path) -> None:
    queries = [(1, 30.0, 20.0), (4, 10.5, 50.0)]
    rows = several_keys.attend_all(queries)
    export.write_attention(tmp_path / "attention.npz", several_keys, rows, queries)
    with np.load(tmp_path / "attention.npz", allow_pickle=False) as file:
        arrays = dict(file)
    names = {"attention", "query", "query_frame", "clip_frame", "seconds", "size"}
    assert set(arrays) == names
    assert arrays["attention"].shape == (2, 5, 6, 8)
    np.testing.assert_array_equal(arrays["attention"][1], several_keys.attend(4, 10.5, 50.0))
    assert arrays["query"].tolist() == [[1, 30, 20], [4, 10.5, 50]]
    assert arrays["query_frame"].tolist() == [2, 6]
    assert arrays["clip_frame"].tolist() == [0, 2, 3, 4, 6]
    np.testing.assert_allclose(arrays["seconds"], np.array([0, 2, 3, 4, 6]) / 24)
    assert arrays["size"].tolist() == [48, 64]


def test_the_features_file_holds_what_attention_is_computed_from(several_keys, tmp_path) -> None:
    export.write_features(tmp_path / "features.npz", several_keys)
    with np.load(tmp_path / "features.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert set(arrays) == {"keys", "queries", "backbone", "clip_frame", "seconds", "size"}
    assert arrays["keys"].dtype == arrays["queries"].dtype == np.float16
    assert arrays["backbone"] == "descriptors"
    assert arrays["clip_frame"].tolist() == [0, 2, 3, 4, 6]
    query = arrays["queries"][1, :, 3, 2].astype(np.float32)  # (H, d): the patch around 28, 20
    keys = arrays["keys"].astype(np.float32)  # (T, H, h, w, d)
    logits = np.einsum("hd,thyxd->htyx", query, keys) * several_keys.framewise_scale
    expected = softmax(logits.reshape(len(query), -1)).mean(0)
    found = several_keys.attend(1, 28, 20, source="cross-frame")
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-4)


def test_the_folder_holds_cut_outs_and_features_if_they_are_asked_for(
    square_analysis, clip, tmp_path
) -> None:
    wanted = export.CutOuts("png")
    cut = square_analysis.segment()
    export.write_all(tmp_path, square_analysis, cut, clip, cut_outs=wanted, features=True)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "objects", "features.npz"}
    assert len(list((tmp_path / "objects").iterdir())) == 7


def test_the_hierarchy_files_are_well_formed_and_agree_with_the_cut(
    folder, square_analysis
) -> None:
    document = json.loads((folder / "hierarchy.json").read_text())
    assert document == json.loads(
        json.dumps(export.hierarchy_document(square_analysis, square_analysis.segment()))
    )
    cut, leaves = square_analysis.segment(), square_analysis.tree.leaves
    nodes = document["nodes"]
    assert (document["tau"], document["clusters"]) == (cut.tau, cut.clusters)
    assert document["leaves"] == leaves
    assert [node["id"] for node in nodes] == list(range(2 * leaves - 1))
    assert [node["cluster"] for node in nodes[:leaves]] == cut.leaf_cluster.tolist()
    assert document["background"] == np.flatnonzero(cut.background).tolist()
    for node in nodes[leaves:]:
        children = [nodes[child] for child in node["children"]]
        assert node["patches"] == sum(child["patches"] for child in children)
        assert node["distance"] >= max(child["distance"] for child in children)
        assert node["frames"] == sorted({f for child in children for f in child["frames"]})
    assert nodes[-1]["patches"] == square_analysis.nearest[..., 0].size
    assert ET.parse(folder / "hierarchy.svg").getroot().tag.endswith("svg")


def test_edits_are_in_every_file(square_analysis, clip, tmp_path) -> None:
    (thing,) = square_analysis.segment(n_clusters=4).objects
    scenery = next(i for i in range(4) if i != thing)
    edited = square_analysis.edited(
        Edit.split(thing, at=4),
        Edit.name(4, "half", at=4),
        Edit.name(scenery, "noise"),
        Edit.role(thing, "background", at=4),
    )
    cut = edited.segment(n_clusters=4)
    assert cut.clusters > 4
    export.write_all(tmp_path, edited, cut, clip)
    masks, hierarchy, summary = (
        json.loads((tmp_path / f"{name}.json").read_text())
        for name in ("masks", "hierarchy", "summary")
    )
    categories, roles = masks["categories"], [cut.role(i) for i in range(cut.clusters)]
    assert [c["name"] for c in categories] == [cut.name(i) for i in range(cut.clusters)]
    assert [c["supercategory"] for c in categories] == roles
    for names in (hierarchy["names"], summary["names"]):
        assert names == {str(i): cut.name(i) for i in range(cut.clusters)}
        assert (names[str(scenery)], names["4"]) == ("noise", "half")
    assert (hierarchy["roles"][str(thing)], hierarchy["roles"]["4"]) == ("background", "object")
    assert hierarchy["splits"] == {str(thing): [thing, *range(4, cut.clusters)]}
    assert {"background": cut.background.nonzero()[0].tolist()}.items() <= hierarchy.items()
    with np.load(tmp_path / "labels.npz", allow_pickle=False) as file:
        assert file["names"].tolist() == [cut.name(i) for i in range(cut.clusters)]
        np.testing.assert_array_equal(file["background"], cut.background)
        np.testing.assert_array_equal(file["labels"], cut.labels)
    found = {int(value) for picture in pngs(tmp_path).values() for value in np.unique(picture)}
    assert 5 in found  # the half
    assert thing + 1 not in found


def test_nodes_whose_children_are_instances_are_marked(square_analysis) -> None:
    joins = np.arange(square_analysis.tree.leaves - 1) % 3 == 1
    analysis = replace(square_analysis, tree=replace(square_analysis.tree, instances=joins))
    nodes = export.hierarchy_document(analysis, analysis.segment())["nodes"]
    leaves = analysis.tree.leaves
    assert [node["instances"] for node in nodes] == [False] * leaves + joins.tolist()


@pytest.mark.parametrize("kind", ["square_analysis", "several_keys", "exact_analysis"])
def test_every_node_says_how_many_patches_it_has_in_which_frames_and_where_they_look(
    kind, request
) -> None:
    analysis = request.getfixturevalue(kind)
    document = export.hierarchy_document(analysis, analysis.segment(n_clusters=3))
    assert document["key_frames"] == analysis.key_frames.tolist()
    assert document["levels"] == [len(np.unique(level)) for level in analysis.levels]
    nodes, leaves = document["nodes"], analysis.tree.leaves
    shares = analysis.tree.rows.astype(float).reshape(leaves, len(analysis.key_frames), -1).sum(2)
    below = [[leaf] for leaf in range(leaves)]
    for node in nodes[leaves:]:
        below.append([leaf for child in node["children"] for leaf in below[child]])
    for node, part in zip(nodes, below, strict=True):
        patches = analysis.nearest[..., 0][np.isin(analysis.nearest[..., 0], part)]
        assert node["patches"] == len(patches)
        present = np.isin(analysis.nearest[..., 0], part).any((1, 2))
        assert node["frames"] == analysis.analysed[present].tolist()
        mean = shares[patches if len(patches) else part].mean(0)
        np.testing.assert_allclose(node["attention"], mean / mean.sum(), atol=6e-5)
        assert len(node["attention"]) == len(analysis.key_frames)


def test_attention_of_nodes_is_the_share_of_each_key_frame_and_tells_frames_apart(
    several_keys,
) -> None:
    document = export.hierarchy_document(several_keys, several_keys.segment())
    shares = np.array([node["attention"] for node in document["nodes"]])
    np.testing.assert_allclose(shares.sum(1), 1, atol=2e-4)
    assert np.ptp(shares[:, 0]) > 0.01


def test_a_tree_whose_heights_are_tied_can_be_written_at_any_number_of_clusters(
    square_analysis, tmp_path
) -> None:
    merges = np.array([[0, 1, 1.0, 168], [2, 4, 1.0, 252], [3, 5, 1.0, 336]])
    counts = np.full((4, 7), 12, np.int32)
    tied = replace(
        square_analysis,
        tree=ClusterTree(merges, counts, np.ones((4, 48), np.float16)),
        nearest=np.arange(336, dtype=np.int32).reshape(7, 6, 8, 1) % 4,
        distance=np.zeros((7, 6, 8, 1), np.float16),
    )
    for clusters in (1, 2, 3, 4):
        cut = tied.segment(n_clusters=clusters)
        assert cut.clusters == clusters
        export.write_hierarchy(tmp_path, tied, cut)


def test_writing_again_replaces_every_file_of_an_earlier_run(clip, folder, tmp_path) -> None:
    long, short = noise_clip(5, (16, 16)), noise_clip(3, (16, 16))
    for frames in (long, short):
        taken = ArrayClip.of(frames)
        analysis = analyse(taken, Settings(**TINY))
        export.write_all(tmp_path, analysis, analysis.segment(), taken)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert sorted(pngs(tmp_path)) == ["00000", "00001", "00002"]


# ---- stopped and refused -----------------------------------------------------------------------


def stop_at(share: float) -> Progress:
    """A progress callback that stops the work once this share is done."""

    def progress(_: Stage, done: float) -> None:
        if done >= share:
            raise Cancelled

    return progress


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_stopped_write_leaves_nothing_behind(square_analysis, clip, tmp_path, share) -> None:
    out = tmp_path / "result"
    with pytest.raises(Cancelled):
        export.write_all(
            out, square_analysis, square_analysis.segment(), clip, progress=stop_at(share)
        )
    assert list(tmp_path.rglob("*")) == []


def test_a_stopped_write_leaves_an_earlier_result_as_it_was(
    square_analysis, clip, tmp_path
) -> None:
    cut = square_analysis.segment()
    export.write_all(tmp_path, square_analysis, cut, clip)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(Cancelled):
        export.write_all(tmp_path, square_analysis, cut, clip, progress=stop_at(0.5))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_a_stopped_video_leaves_nothing_behind(square_analysis, clip, tmp_path) -> None:
    cut, row = square_analysis.segment(), square_analysis.attend(0, 1, 1)
    with pytest.raises(Cancelled):
        export.write_overlay(tmp_path / "a.mp4", square_analysis, cut, clip, progress=stop_at(0.5))
    with pytest.raises(Cancelled):
        export.write_heatmap(tmp_path / "b.mp4", square_analysis, row, clip, progress=stop_at(0.5))
    assert list(tmp_path.iterdir()) == []


def test_an_out_below_a_file_is_bad_input(square_analysis, clip, tmp_path) -> None:
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(InputError, match="choose another"):
        export.write_all(
            tmp_path / "file" / "result", square_analysis, square_analysis.segment(), clip
        )
    assert (tmp_path / "file").read_text() == "keep me"
