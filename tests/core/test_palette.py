"""Colours of clusters that stand out from the pixels below."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bavos_core import Analysis, Edit, Settings, analyse, export, render
from bavos_core.render.palette import OBJECT_COLOURS, contrasting_colours, usual_colours
from bavos_io.colour import lab

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "assets" / "examples").glob("*.mp4"))
HUES = {tuple(colour) for colour in OBJECT_COLOURS[:8]}


def away(colour: np.ndarray, pixels: np.ndarray) -> float:
    """Mean distance in CIELAB of a colour (3,) from pixels (n, 3)."""
    return float(np.linalg.norm(lab(pixels) - lab(np.array(colour)), axis=1).mean())


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((128, 128, 128), (53.59, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((8, 8, 8), (2.19, 0, 0)),
    ],
)
def test_cielab_has_the_published_values_of_colours(colour, expected) -> None:
    assert lab(np.array(colour, np.uint8)) == pytest.approx(expected, abs=0.06)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_objects_have_hues_of_their_own_that_are_no_nearer_to_the_pixels(seed, clusters) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, clusters, (2, 9, 8))
    patches = rng.integers(0, 256, (clusters, 3))[labels] // 2 + rng.integers(0, 128, (2, 9, 8, 3))
    background = rng.random(clusters) < 0.5
    found = contrasting_colours(labels, background, patches.astype(np.uint8))
    assert (found.dtype, found.shape) == (np.uint8, (255, 3))
    assert {tuple(c) for c in found[:20].tolist()} == set(OBJECT_COLOURS)
    assert (found == found[np.arange(255) % 20]).all()
    for cluster in np.flatnonzero(~background[:20]).tolist():
        pixels = patches[labels == cluster]
        usual = OBJECT_COLOURS[cluster]
        assert tuple(found[cluster].tolist()) in HUES | {usual}
        if len(pixels):
            assert away(found[cluster], pixels) >= away(usual, pixels) - 1e-9


def test_the_one_object_gets_the_hue_farthest_from_it() -> None:
    labels = np.zeros((1, 4, 4), int)
    labels[:, :2] = 1
    for colour in np.random.default_rng(0).integers(0, 256, (20, 3), np.uint8):
        patches = np.broadcast_to(colour, (1, 4, 4, 3))
        found = contrasting_colours(labels, np.array([True, False]), patches)
        best = max(HUES, key=lambda hue: away(hue, patches[0, 0]))
        assert tuple(found[1].tolist()) == best


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda path: path.stem)
def example(request: pytest.FixtureRequest) -> Analysis:
    return analyse(request.param, Settings(frames=4, patches=300))


def test_objects_in_the_examples_stand_out_at_least_as_much_as_in_their_usual_colours(
    example,
) -> None:
    cut, usual = example.segment(), usual_colours()
    assert cut.objects
    size = example.grid[::-1]
    patches = np.stack(
        [np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BOX)) for f in example.frames]
    )
    for cluster in cut.objects:
        pixels = patches[cut.labels == cluster]
        assert cut.colour(cluster) == tuple(example.colours[cluster].tolist())
        assert away(cut.colour(cluster), pixels) >= away(usual[cluster], pixels) - 1e-9
    assert len({cut.colour(cluster) for cluster in cut.objects}) == len(cut.objects)


def test_colours_are_the_same_at_every_cut_and_after_edits_and_cannot_be_written(example) -> None:
    again = replace(example)
    assert (again.colours == example.colours).all()
    edited = example.edited(Edit.merge(1, 0), Edit.role(0, "object"))
    assert edited.colours is example.colours
    assert edited.seams is example.seams
    assert edited.undone().colours is example.colours
    for clusters in (2, 5):
        assert (edited.segment(n_clusters=clusters).colours == example.colours).all()
    with pytest.raises(ValueError, match="read-only"):
        example.colours[0] = 0


def test_painted_frames_lists_and_the_tree_have_these_colours(example, tmp_path) -> None:
    cut = example.segment()
    colours, alpha = render.cluster_paint(
        cut.colours, cut.background, opacity=1.0, show_background=False
    )
    mask = export.analysed_mask(example, cut, 2)
    painted = mask.painted(colours, alpha, "fills").reshape(-1, 3)
    for cluster in np.intersect1d(mask.labels, cut.objects).tolist():
        assert (painted == cut.colour(cluster)).all(1).sum() > 0.5 * (mask.labels == cluster).sum()
    export.write_hierarchy(tmp_path, example, cut)
    picture = (tmp_path / "hierarchy.svg").read_text(encoding="utf-8")
    for cluster in cut.objects:
        assert "#{:02x}{:02x}{:02x}".format(*cut.colour(cluster)) in picture
