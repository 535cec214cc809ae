"""Palettes, painted objects and heatmaps."""

import numpy as np
import pytest

from bavos_core import render
from bavos_core.render.heatmap import COLOUR_MAPS, colour_map
from bavos_core.render.palette import usual_colours
from bavos_io.palette_png import davis_palette

from .helpers import noise_clip

RED, BLUE = (250.0, 10.0, 20.0), (10.0, 20.0, 250.0)


def halves(height: int, width: int) -> np.ndarray:
    """Cluster 0 on the left, cluster 1 on the right: (height, width)."""
    return np.tile(np.arange(width) * 2 // width, (height, 1))


def painted(frame: np.ndarray, labels: np.ndarray, alpha: tuple[float, ...]) -> np.ndarray:
    colours = np.array([RED, BLUE], np.float32)
    return render.paint(frame, labels, colours, np.array(alpha, np.float32))


# ---- palettes ----------------------------------------------------------------------------------


def test_the_palette_begins_as_that_of_davis() -> None:
    assert davis_palette()[:9].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128],
        [128, 0, 128], [0, 128, 128], [128, 128, 128], [64, 0, 0],
    ]  # fmt: skip


def test_the_palette_is_the_one_of_the_pascal_voc_development_kit() -> None:
    expected = []
    for value in range(256):
        colour, bits = [0, 0, 0], value
        for shift in range(7, -1, -1):
            for channel in range(3):
                colour[channel] |= (bits >> channel & 1) << shift
            bits >>= 3
        expected.append(colour)
    assert davis_palette().tolist() == expected


def test_all_256_colours_of_the_palette_differ() -> None:
    palette = davis_palette()
    assert palette.dtype == np.uint8
    assert len(np.unique(palette, axis=0)) == 256


def test_the_first_twenty_objects_have_colours_of_their_own() -> None:
    assert len({render.object_colour(i) for i in range(20)}) == 20
    assert render.object_colour(10_000) in {render.object_colour(i) for i in range(20)}


def test_background_is_painted_only_when_it_is_asked_for() -> None:
    background = np.array([False, True])
    given = usual_colours(), background
    colours, hidden = render.cluster_paint(*given, opacity=0.5, show_background=False)
    _, shown = render.cluster_paint(*given, opacity=0.5, show_background=True)
    assert colours.tolist() == [list(render.object_colour(i)) for i in range(2)]
    assert hidden.tolist() == [0.5, 0]
    assert shown.tolist() == [0.5, 0.5]


# ---- painting ----------------------------------------------------------------------------------


def test_paint_without_any_opacity_leaves_the_frame_as_it_is() -> None:
    frame = noise_clip(1, (12, 16))[0]
    np.testing.assert_array_equal(painted(frame, halves(12, 16), (0, 0)), frame)


def test_a_cluster_without_opacity_stays_as_it_is_away_from_the_border() -> None:
    frame = noise_clip(1, (12, 16))[0]
    found = painted(frame, halves(12, 16), (0.5, 0))
    np.testing.assert_array_equal(found[:, 8:], frame[:, 8:])
    assert (found[:, :7] != frame[:, :7]).any()


@pytest.mark.parametrize("alpha", [0.25, 0.55, 1.0])
def test_inner_pixels_are_blended_with_the_colour_of_their_cluster(alpha: float) -> None:
    frame = noise_clip(1, (12, 16))[0]
    found = painted(frame, halves(12, 16), (alpha, alpha))
    for part, colour in ((np.s_[:, :7], RED), (np.s_[:, 8:], BLUE)):
        expected = frame[part] * (1 - alpha) + alpha * np.array(colour)
        np.testing.assert_allclose(found[part], expected, atol=0.51)


def test_the_border_between_two_clusters_is_a_bright_line() -> None:
    frame = noise_clip(1, (12, 16))[0]
    found = painted(frame, halves(12, 16), (0.5, 0.5))
    bright = 0.4 * np.array(RED) + 0.6 * 255
    np.testing.assert_allclose(found[:, 7], frame[:, 7] * 0.15 + 0.85 * bright, atol=0.51)


def test_coarse_labels_are_spread_over_the_pixels_of_the_frame() -> None:
    frame = noise_clip(1, (24, 32))[0]
    found = painted(frame, halves(12, 16), (0.5, 0.5))
    for part, colour in ((np.s_[:, :12], RED), (np.s_[:, 18:], BLUE)):
        expected = frame[part] * 0.5 + 0.5 * np.array(colour)
        np.testing.assert_allclose(found[part], expected, atol=0.51)


def test_colours_follow_the_numbers_of_the_clusters_that_appear() -> None:
    frame = np.zeros((6, 8, 3), np.uint8)
    colours = np.arange(15, dtype=np.float32).reshape(5, 3) * 10
    alpha = np.ones(5, np.float32)
    found = render.paint(frame, np.array([2, 4])[halves(6, 8)], colours, alpha)
    assert found[3, 1].tolist() == colours[2].tolist()
    assert found[3, 6].tolist() == colours[4].tolist()


def test_fills_have_no_line_between_them() -> None:
    frame = noise_clip(1, (12, 16))[0]
    colours, alpha = np.array([RED, BLUE], np.float32), np.full(2, 0.5, np.float32)
    found = render.paint(frame, halves(12, 16), colours, alpha, "fills")
    for part, colour in ((np.s_[:, :8], RED), (np.s_[:, 8:], BLUE)):
        np.testing.assert_allclose(found[part], frame[part] * 0.5 + 0.5 * np.array(colour), atol=1)


def test_outlines_leave_the_inside_as_it_is() -> None:
    frame = np.full((24, 32, 3), 128, np.uint8)
    colours, alpha = np.array([RED, BLUE], np.float32), np.full(2, 0.5, np.float32)
    found = render.paint(frame, halves(24, 32), colours, alpha, "outlines")
    changed = (found != frame).any((0, 2))
    assert 1 <= changed.sum() <= 4
    assert changed[14:18].any()
    colour = frame[5, 15] * 0.15 + 0.85 * np.array(RED)
    np.testing.assert_allclose(found[5, 15], colour, atol=1)


def test_hidden_clusters_have_no_opacity_and_unknown_ones_do_not_matter() -> None:
    background = np.zeros(3, bool)
    _, alpha = render.cluster_paint(
        usual_colours(), background, opacity=0.5, show_background=False, hidden={1, 7}
    )
    assert alpha.tolist() == [0.5, 0, 0.5]


def test_painting_leaves_the_callers_frame_alone() -> None:
    frame = noise_clip(1, (12, 16))[0]
    before = frame.copy()
    painted(frame, halves(12, 16), (1, 1))
    np.testing.assert_array_equal(frame, before)


# ---- heatmaps ----------------------------------------------------------------------------------


def test_cold_places_keep_their_picture_at_77_percent_of_its_brightness() -> None:
    frame = noise_clip(1, (12, 16))[0]
    found = render.heat_overlay(frame, np.zeros((3, 4)))
    kept = 1 - 0.65 * 0.35  # opacity times the least strength; inferno begins at black
    np.testing.assert_allclose(found, frame * kept, atol=2)


def test_hot_places_keep_a_third_of_their_picture_under_the_brightest_colour() -> None:
    frame = noise_clip(1, (12, 16))[0]
    found = render.heat_overlay(frame, np.ones((3, 4)))
    hottest = np.array([0.988, 1.0, 0.645]) * 255  # the end of inferno
    np.testing.assert_allclose(found, frame * 0.35 + 0.65 * hottest, atol=2)


def test_the_hotter_a_place_the_less_of_the_picture_is_left() -> None:
    heat = np.linspace(0, 1, 64)[None]
    black, white = (np.full((1, 64, 3), value, np.uint8) for value in (0, 255))
    left = render.heat_overlay(white, heat).astype(int) - render.heat_overlay(black, heat)
    assert (np.diff(left, axis=1) <= 1).all()  # each is rounded down
    assert (left[:, 0] - left[:, -1] > 100).all()


def test_the_hotter_a_place_the_brighter_it_glows_on_black() -> None:
    heat = np.linspace(0, 1, 64)[None]
    found = render.heat_overlay(np.zeros((1, 64, 3), np.uint8), heat)
    grey = found[0] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(grey) >= -1).all()
    assert grey[-1] - grey[0] > 100


def test_heat_beyond_0_and_1_counts_as_0_and_1() -> None:
    frame = noise_clip(1, (12, 16))[0]
    for beyond, end in ((-3, 0), (7, 1)):
        np.testing.assert_array_equal(
            render.heat_overlay(frame, np.full((3, 4), beyond)),
            render.heat_overlay(frame, np.full((3, 4), end)),
        )


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_a_colour_map_is_256_different_colours(name: str) -> None:
    table = colour_map(name)
    assert table.shape == (256, 3)
    assert 0 <= table.min() < table.max() <= 1
    assert len(np.unique(table, axis=0)) == 256


def test_there_is_no_other_colour_map() -> None:
    with pytest.raises(KeyError):
        colour_map("../colour-maps/inferno")


def test_a_hot_patch_glows_at_its_own_place() -> None:
    heat = np.zeros((6, 8))
    heat[1, 6] = 1
    found = render.heat_overlay(np.zeros((48, 64, 3), np.uint8), heat).sum(2)
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert 8 <= y < 16
    assert 48 <= x < 56


def test_the_scale_of_a_row_lets_single_patches_burn_out_and_is_never_0() -> None:
    row = np.full(10_000, 1e-4)
    row[0] = 1
    assert render.heat_scale(row) == pytest.approx(1e-4)
    assert render.heat_scale(np.zeros((2, 3, 4))) > 0


def test_the_ring_has_its_middle_at_the_point_and_nothing_else_changes() -> None:
    frame = np.full((60, 80, 3), 120, np.uint8)
    found = render.mark_point(frame, 20.0, 50.0)
    rows, columns = np.nonzero((found != frame).any(2))
    assert rows.mean() + 0.5 == pytest.approx(20, abs=0.2)
    assert columns.mean() + 0.5 == pytest.approx(50, abs=0.2)
    distance = np.hypot(rows + 0.5 - 20, columns + 0.5 - 50)
    assert 2 < distance.min() < distance.max() < 6


@pytest.mark.parametrize(("y", "x"), [(0, 0), (60, 80), (0, 80)])
def test_a_ring_at_the_corner_is_cut_off_but_drawn(y: float, x: float) -> None:
    frame = np.full((60, 80, 3), 120, np.uint8)
    assert (render.mark_point(frame, y, x) != frame).any()
