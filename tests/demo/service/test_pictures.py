"""Pictures and videos of a result."""

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from bavos_core import Edit, InputError
from demo import images, strings
from demo.edits import Edits
from demo.images import HeatLook, ObjectsLook

from .helpers import KEYS, sentence, written_at

# ---- pictures and videos ------------------------------------------------------------------------


def test_the_preview_shows_every_frame_at_preview_size(service, small_clip, decode) -> None:
    path, clip = service.files.preview(str(small_clip))
    assert clip.size == (96, 128)
    assert decode(path).shape == (4, 48, 64, 3)


def test_the_overlay_is_at_preview_size_and_made_once(service, result, decode) -> None:
    cut = result.analysis.segment(n_clusters=4)
    path = service.files.overlay(result, cut)
    assert decode(path).shape == (4, 48, 64, 3)
    written = written_at(service, result)
    assert service.files.overlay(result, cut) == path
    assert written_at(service, result) == written


def test_the_overlay_with_the_background_is_another_video(service, result, decode) -> None:
    cut = result.analysis.segment(n_clusters=4)
    assert cut.background.any()
    plain, full = (
        service.files.overlay(result, cut),
        service.files.overlay(result, cut, look=ObjectsLook(background=True)),
    )
    assert plain != full
    assert abs(decode(plain).astype(int) - decode(full)).max() > 30


@pytest.mark.parametrize("style", ["fills", "outlines"])
def test_the_style_reaches_the_video(service, result, decode, style) -> None:
    cut = result.analysis.segment(n_clusters=8)
    plain, styled = (
        decode(service.files.overlay(result, cut, look=ObjectsLook(style=chosen))).astype(int)
        for chosen in ("both", style)
    )
    assert abs(plain - styled).max() > 30


def test_without_opacity_and_outlines_the_frame_is_as_it_was(service, result) -> None:
    painted = service.frame(result.id, 1, 5, ObjectsLook(opacity=0, style="fills"))
    np.testing.assert_array_equal(painted, result.analysis.frames[1])
    assert (service.frame(result.id, 1, 5, ObjectsLook()) != painted).any()


@pytest.mark.parametrize("position", [-1, 3, 999])
def test_a_frame_that_was_not_analysed_is_bad_input(service, result, position) -> None:
    with pytest.raises(InputError) as caught:
        service.frame(result.id, position, 5, ObjectsLook())
    assert str(position) in sentence(caught)


def test_only_the_clicked_frame_carries_the_ring(service, result) -> None:
    query, elsewhere = (1, 40.0, 60.0), (1, 80.0, 20.0)
    _, rows = service.attention(result.id, [query], KEYS)

    def heat(position: int, where: tuple[int, float, float]) -> np.ndarray:
        return images.heat_frame(result.analysis, rows, position, [where], KEYS)

    assert (heat(1, query) != heat(1, elsewhere)).any()
    np.testing.assert_array_equal(heat(0, query), heat(0, elsewhere))


def test_the_heat_video_shows_every_analysed_frame(service, result, decode) -> None:
    query = (0, 10.0, 10.0)
    found, rows = service.attention(result.id, [query], HeatLook("framewise", 0))
    assert rows.sum() == pytest.approx(1, abs=1e-4)
    assert decode(service.files.heatmap(found, rows[0], query)).shape == (3, 96, 128, 3)


def test_a_query_is_shown_over_time_by_source_and_by_head(service, result) -> None:
    def titles(what: str, source: str) -> list[str]:
        found = service.tiles(result.id, [(1, 40.0, 60.0)], 1, HeatLook(source), what)
        return [title for _, title in found]

    assert [title.split(",")[0] for title in titles("time", "key-similarity")] == [
        "Frame 0", "Frame 1", "Frame 2",
    ]  # fmt: skip
    assert titles("sources", "key-similarity") == [
        strings.SOURCES[s] for s in result.analysis.sources()
    ]
    assert titles("heads", "untrained") == [f"Head {i}" for i in range(8)]


def test_small_heatmaps_show_what_the_large_one_shows(service, result) -> None:
    query = (1, 40.0, 60.0)
    one, mean = HeatLook("untrained", 3), HeatLook("untrained")
    analysis, rows = result.analysis, service.attention(result.id, [query], one)[1]
    by_head = service.tiles(result.id, [query], 2, mean, "heads")
    over_time = service.tiles(result.id, [query], 2, one, "time")
    large = images.heat_frame(analysis, rows, 2, [query], one)  # no larger than a small one: 128×96
    np.testing.assert_array_equal(by_head[3][0], large)
    np.testing.assert_array_equal(over_time[2][0], large)


# ---- looks --------------------------------------------------------------------------------------


def test_a_hidden_object_is_not_painted_and_one_alone_is_all_that_is(service, result) -> None:
    two = Edits().take_for(service.cut(result.id, 12)[1], 0, "object")
    cut = service.cut(result.id, 12, two)[1]
    plain = result.analysis.frames[1].astype(int)

    def painted(edits: Edits) -> np.ndarray:
        look = ObjectsLook(style="fills", opacity=0.5, edits=edits)
        return abs(service.frame(result.id, 1, 12, look) - plain).sum(2) > 6

    everything = painted(two)
    chosen = max(cut.objects, key=lambda i: (cut.labels[1] == i).sum())
    hidden, alone = painted(two.hide(cut, chosen)), painted(two.show_alone(cut, chosen))
    assert 0 < alone.sum() < everything.sum()
    assert 0 < hidden.sum() < everything.sum()
    assert (alone & everything).sum() == alone.sum()
    again = two.hide(cut, chosen).hide(cut, chosen)
    np.testing.assert_array_equal(painted(again), everything)


def test_role_merge_and_split_are_seen_in_frame_and_overlay_and_undone(
    service, result, decode
) -> None:
    def overlay(made: Edits) -> Path:
        return service.files.overlay(*service.cut(result.id, 7, made), look=ObjectsLook(edits=made))

    def frame(made: Edits) -> np.ndarray:
        return service.frame(result.id, 1, 7, ObjectsLook(edits=made)).astype(int)

    made, cut = Edits(), service.cut(result.id, 7)[1]
    (thing,) = cut.objects
    other = next(i for i in cut.present if i != thing)
    for change in ("role", "merge", "split"):
        before, cut = made, service.cut(result.id, 7, made)[1]
        match change:
            case "role":
                made = made.take_for(cut, other, "object")
            case "merge":
                made = made.merge(cut, thing, other)
            case "split":
                made = made.split(cut, other)
        assert abs(frame(made) - frame(before)).max() > 30, change
        assert overlay(made) != overlay(before)
        assert abs(decode(overlay(made)).astype(int) - decode(overlay(before))).max() > 30, change
        assert overlay(made.undo()) == overlay(before)


@pytest.mark.parametrize("style", ["both", "fills", "outlines"])
def test_styles_differ(service, result, style) -> None:
    others = {"both", "fills", "outlines"} - {style}
    mine = service.frame(result.id, 1, 8, ObjectsLook(style=style))
    for other in others:
        assert (mine != service.frame(result.id, 1, 8, ObjectsLook(style=other))).any()


def test_several_points_have_a_colour_and_a_ring_each(service, result) -> None:
    queries = [(1, 20.0, 20.0), (1, 70.0, 100.0)]
    both = service.attention(result.id, queries, KEYS)[1]
    assert both.shape[0] == 2
    np.testing.assert_allclose(both[1], service.attention(result.id, queries[1:], KEYS)[1][0])
    picture = images.heat_frame(result.analysis, both, 1, queries, KEYS)
    for i, (_, y, x) in enumerate(queries):
        colour = images.query_colour(i)
        around = picture[int(y) - 8 : int(y) + 9, int(x) - 8 : int(x) + 9].reshape(-1, 3)
        assert (around == colour).all(1).any()


@pytest.mark.parametrize(
    "change",
    [{"colours": "viridis"}, {"opacity": 0.2}, {"percentile": 90.0}, {"grid": True}, {"head": 2}],
)
def test_every_part_of_the_heat_look_is_seen(service, result, change) -> None:
    query = [(1, 40.0, 60.0)]

    def heat(look: HeatLook) -> np.ndarray:
        rows = service.attention(result.id, query, look)[1]
        return images.heat_frame(result.analysis, rows, 1, query, look)

    assert (heat(HeatLook("untrained")) != heat(HeatLook("untrained", **change))).any()


def test_the_first_point_lies_in_the_largest_object(result) -> None:
    analysis = result.analysis
    position, y, x = images.telling_point(analysis, 1)
    assert position == 1
    cut = analysis.segment()
    (height, width), (h, w) = analysis.size, analysis.grid
    cluster = cut.labels[1, int(y * h / height), int(x * w / width)]
    size = {i: (cut.labels[1] == i).sum() for i in cut.objects}
    assert size[cluster] == max(size.values())


def test_looks_that_paint_the_same_share_one_video(service, result) -> None:
    cut = service.cut(result.id, 7)[1]

    def overlay(made: Edits, **look: float) -> Path:
        shown = ObjectsLook(edits=made, **look)
        return service.files.overlay(*service.cut(result.id, 7, made), look=shown)

    one = overlay(Edits())
    assert overlay(Edits().rename(cut, 0, "Ball")) == one
    assert overlay(Edits((Edit.split(0, at=6), Edit.role(9, "object")))) == one  # which both wait
    assert overlay(Edits(), opacity=0.1) != one
    assert overlay(Edits().hide(cut, cut.objects[0])) != one


# ---- hierarchy ----------------------------------------------------------------------------------


def test_a_node_is_shown_in_every_frame_and_the_root_is_everything(service, result) -> None:
    leaves = result.analysis.tree.leaves
    assert len(service.node(result.id, 0)) == 3
    assert images.node_mask(result.analysis, 2 * leaves - 2).all()
    first, second = result.analysis.tree.merges[-1, :2].astype(int)
    halves = [images.node_mask(result.analysis, int(node)) for node in (first, second)]
    assert (halves[0] ^ halves[1]).all()


@pytest.mark.parametrize("node", [-1, 10**6])
def test_a_node_that_there_is_not_is_bad_input(service, result, node) -> None:
    with pytest.raises(InputError) as caught:
        service.node(result.id, node)
    assert str(node) in sentence(caught)


def test_the_levels_play_a_second_each_and_are_made_once(service, result, decode) -> None:
    path = service.files.levels(result, 1)
    levels = len(images.level_pictures(result.analysis, 1))
    assert decode(path).shape == (levels, 96, 128, 3)
    assert imageio_ffmpeg.count_frames_and_secs(str(path))[1] == pytest.approx(levels, abs=0.1)
    written = written_at(service, result)
    assert service.files.levels(result, 1) == path
    assert written_at(service, result) == written
