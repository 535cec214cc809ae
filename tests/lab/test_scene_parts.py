"""The parts that the viewer gets: their format to the byte, and what is in them."""

import gzip
import io
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from bavos_core import Analysis, Edit, InputError, Settings, analyse, open_clip
from bavos_core.correlator import untrained
from bavos_io.clip import ArrayClip
from bavos_lab.scene import PREVIEW_SIDE, Scene, base_part, pack, unpack
from bavos_lab.scene.base import preview_size
from bavos_lab.scene.readings import kmeans, pca_colours

DTYPES = {"u8": "u1", "u16": "<u2", "i32": "<i4", "i8": "i1", "f32": "<f4", "f64": "<f8"}


def parsed(part: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """Read a part as the specification says, without the code under test."""
    data = gzip.decompress(part)
    (length,) = struct.unpack("<I", data[:4])
    assert (4 + length) % 8 == 0
    header = json.loads(data[4 : 4 + length].decode("utf-8"))
    blobs, body = {}, data[4 + length :]
    for name, (dtype, shape, offset) in header.pop("blobs").items():
        assert offset % 8 == 0
        count = int(np.prod(shape))
        blobs[name] = np.frombuffer(body, DTYPES[dtype], count, offset).reshape(shape)
    return header, blobs


def test_a_part_holds_its_fields_and_arrays_at_multiples_of_eight() -> None:
    random = np.random.default_rng(0)
    fields = {"name": "a “clip” of 3…", "part": [0.5, None], "sources": [{"heads": 6}]}
    for length in range(9):
        blobs = {
            code: random.integers(0, 100, (length, 3)).astype(dtype)
            for code, dtype in DTYPES.items()
        }
        part = pack({**fields, "fill": "x" * length}, blobs)
        for header, found in (parsed(part), unpack(part)):
            assert header == {**fields, "fill": "x" * length}
            assert list(found) == list(blobs)
            for name, blob in blobs.items():
                assert found[name].dtype == blob.dtype
                np.testing.assert_array_equal(found[name], blob)


def test_a_part_is_the_same_to_the_byte_when_made_again(square: Analysis) -> None:
    assert base_part(square) == base_part(square)


def test_arrays_that_are_not_contiguous_are_packed_in_order() -> None:
    turned = np.arange(12, dtype=np.int32).reshape(3, 4).T
    np.testing.assert_array_equal(parsed(pack({}, {"turned": turned}))[1]["turned"], turned)


def test_other_dtypes_and_nan_are_refused() -> None:
    with pytest.raises(KeyError):
        pack({}, {"wide": np.zeros(3, np.int64)})
    with pytest.raises(ValueError, match="JSON"):
        pack({"end": float("nan")}, {})


def test_the_base_says_what_the_analysis_holds(analysis: Analysis) -> None:
    header, blobs = parsed(Scene(analysis).part("base"))
    tree, most = analysis.tree, header["most"]
    assert header["version"] == 1
    assert (header["size"], header["grid"]) == (list(analysis.size), list(analysis.grid))
    assert (header["tau"], header["end"]) == (analysis.settings.tau, analysis.end)
    assert header["clusters"] == min(tree.clusters_at(analysis.settings.tau), most)
    assert most == min(tree.leaves, 255)
    heads = {source: analysis.heads(source) for source in analysis.sources()}
    assert {s["name"]: s["heads"] for s in header["sources"]} == heads
    expected = {
        "times": analysis.times, "analysed": analysis.analysed, "merges": tree.merges,
        "counts": tree.counts, "nearest": analysis.nearest[..., 0], "instances": tree.instances,
        "colours": analysis.colours, "seams": analysis.seams,
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_array_equal(blobs[name], values)
    assert len(blobs["background"]) == most * (most + 1) // 2


def test_the_base_knows_a_trained_correlator(square: Analysis, tmp_path) -> None:
    torch.save(untrained(24, seed=1).state_dict(), tmp_path / "block.pth")
    frames = square.frames
    settings = replace(square.settings, correlator=str(tmp_path / "block.pth"))
    learned = analyse(frames, settings)
    header, _ = parsed(base_part(learned))
    assert header["sources"][3] == {"name": "correlator", "heads": learned.heads("correlator")}
    assert "attention/correlator" in Scene(learned).names


def test_edits_do_not_change_the_base(square: Analysis) -> None:
    edited = square.edited(Edit.role(0, "background"), Edit.role(1, "object"))
    assert base_part(edited) == base_part(square)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((720, 1280), (360, 640)), ((1280, 720), (640, 360)), ((241, 433), (240, 432)),
        ((718, 718), (640, 640)), ((1, 1), (2, 2)), ((3, 3000), (2, 640)),
    ],
)  # fmt: skip
def test_previews_are_even_and_at_most_640(size, expected) -> None:
    assert preview_size(size) == expected


def test_every_named_part_can_be_had_and_no_other(square: Analysis) -> None:
    scene = Scene(square)
    assert scene.names[:2] == ("base", f"frame/{square.analysed[len(square.analysed) // 2]}")
    assert len(set(scene.names)) == len(scene.names)
    for name in scene.names:
        parsed(scene.part(name))
    for name in ("", "frame", "frame/", "frame/99", "frame/0x0", "attention/framewise", "Base"):
        with pytest.raises(InputError, match="no part"):
            scene.part(name)


def test_a_clip_gives_the_parts_of_all_frames(reef: Analysis, reef_path) -> None:
    clip = open_clip(reef_path)
    found = list(Scene(reef).frames(clip))
    assert [index for index, _ in found] == list(range(len(reef.times)))
    for (index, part), frame in zip(found[::13], list(clip.read())[::13], strict=True):
        header, blobs = parsed(part)
        assert header["frame"] == index
        picture = np.asarray(Image.open(io.BytesIO(blobs["jpeg"].tobytes())))
        assert picture.shape == (240, 432, 3)
        assert np.abs(picture.astype(int) - frame).mean() < 6
        assert blobs["leaf"].shape == blobs["solid"].shape == picture.shape[:2]
        assert max(blobs["leaf"].max(), blobs["solid"].max()) < reef.tree.leaves


def test_without_the_clip_there_are_the_analysed_frames(square: Analysis) -> None:
    assert [index for index, _ in Scene(square).frames()] == square.analysed.tolist()


def test_large_frames_are_sent_at_preview_size() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 30, 40, 3), np.uint8)
    frames = frames.repeat(30, 1).repeat(30, 2)  # 900×1200
    analysis = analyse(frames, Settings(backbone="descriptors", patches=48))
    _, blobs = parsed(dict(Scene(analysis).frames(ArrayClip.of(frames)))[1])
    assert blobs["leaf"].shape == (480, PREVIEW_SIDE)


def test_readings_show_all_analysed_frames(analysis: Analysis) -> None:
    header, blobs = parsed(Scene(analysis).part("readings"))
    grid = (len(analysis.analysed), *analysis.grid)
    assert blobs["pca"].shape == (*grid, 3)
    assert blobs["pca"].min() == 0
    assert blobs["pca"].max() == 255
    clusters = analysis.tree.clusters_at(analysis.settings.tau)
    assert blobs["kmeans"].shape == grid
    assert len(np.unique(blobs["kmeans"])) == clusters
    assert ("cls" in blobs) == (analysis.saliency is not None)
    if analysis.saliency is not None:
        shown = blobs["cls"] / 255 * header["cls_most"]
        np.testing.assert_allclose(shown, analysis.saliency, atol=header["cls_most"] / 500)


def test_k_means_finds_clouds_and_puts_every_token_to_its_mean() -> None:
    random = np.random.default_rng(0)
    clouds = random.permutation(np.arange(6).repeat(900))
    tokens = (40 * np.eye(6, 20)[clouds] + random.normal(size=(5400, 20))).astype(np.float32)
    found = kmeans(tokens, 6, seed=0)
    assert len(np.unique(np.stack([clouds, found]), axis=1).T) == 6
    np.testing.assert_array_equal(found, kmeans(tokens, 6, seed=0))


@pytest.mark.parametrize("different", [1, 4])
def test_readings_of_few_different_tokens(different) -> None:
    tokens = np.eye(different, 5, dtype=np.float32)[np.arange(40) % different]
    assert len(np.unique(kmeans(tokens, 8, seed=0))) == different
    assert pca_colours(torch.from_numpy(tokens)[None]).shape == (40, 3)
