"""What the page does, without the page: limits, analysing, pictures and files."""

import ast
import json
import threading
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bavos_core import Cancelled, Edit, InputError
from bavos_core.progress import Stage
from bavos_core.video.ffmpeg import Decoder
from demo import images, recipe, strings
from demo.api import checked_edits, checked_source
from demo.edits import Edits
from demo.images import HeatLook, ObjectsLook
from demo.presets import PRESETS, Preset, usual_preset
from demo.service import Service
from demo.settings import DemoSettings
from demo.store import Result

FEW = Preset(3, 192)
OPENING = 2  # decoders: one for its times, one for its size
FILES = {
    "bavos.zip", "overlay.mp4", "masks.zip", "masks.json", "labels.npz",
    "hierarchy.json", "hierarchy.svg", "summary.json",
}  # fmt: skip
KEYS = HeatLook("key-similarity")
STAGES = ["decode", "features", "attention and clustering", "instances", "masks and video"]


def ignore(share: float, stage: str) -> None:
    """Take no notice of progress."""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    made = Service(DemoSettings(backbone="descriptors", max_frames=3, preview_side=64))
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def result(service: Service, small_clip: Path) -> Result:
    return service.segment(str(small_clip), "descriptors", FEW, ignore)[0]


@pytest.fixture
def limited() -> Iterator[Service]:
    """Takes 1 MiB and 1 second."""
    made = Service(DemoSettings(backbone="descriptors", max_upload_mib=1, max_seconds=1))
    yield made
    made.store.close()


def sentence(error: pytest.ExceptionInfo[InputError]) -> str:
    """What a person reads: one line that ends in a full stop."""
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def written_at(service: Service, result: Result) -> dict[str, int]:
    """When each file of a result was written."""
    with service.store.room(result) as folder:
        return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


# ---- limits ------------------------------------------------------------------------------------


def test_a_file_over_the_limit_is_refused_before_it_is_read(limited, tmp_path) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(2**20 + 1)
    with pytest.raises(InputError) as caught:
        limited.segment(str(large), "descriptors", FEW, ignore)
    assert "1 MiB" in sentence(caught)


def test_a_file_just_at_the_limit_is_not_too_large(limited, tmp_path, small_clip) -> None:
    full = tmp_path / "full.zip"
    with zipfile.ZipFile(full, "w") as archive:
        archive.writestr("notes.txt", "")
    full.write_bytes(full.read_bytes().rjust(2**20, b"\0"))  # a zip may begin with anything
    assert full.stat().st_size == 2**20
    with pytest.raises(InputError) as caught:
        limited.clips.open(str(full))
    assert "no frames" in sentence(caught)


def test_a_clip_that_lasts_too_long_is_refused(limited, small_clip) -> None:
    with pytest.raises(InputError) as caught:
        limited.segment(str(small_clip), "descriptors", FEW, ignore)
    message = sentence(caught)
    assert "limit" in message
    assert "1 s" in message


def test_the_preview_keeps_the_same_limits(limited, small_clip) -> None:
    with pytest.raises(InputError):
        limited.files.preview(str(small_clip))


@pytest.mark.parametrize("path", [None, ""])
def test_no_clip_is_bad_input(service, path) -> None:
    with pytest.raises(InputError) as caught:
        service.segment(path, "descriptors", FEW, ignore)
    assert "clip" in sentence(caught)


def test_no_more_frames_are_analysed_than_the_settings_allow(service, small_clip) -> None:
    found, _ = service.segment(str(small_clip), "descriptors", Preset(1000, 192), ignore)
    assert len(found.analysis.analysed) == 3


# ---- segment -----------------------------------------------------------------------------------


def test_progress_rises_to_the_end_and_names_what_is_done(service, small_clip) -> None:
    heard: list[tuple[float, str]] = []
    service.segment(str(small_clip), "descriptors", FEW, lambda *news: heard.append(news))
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert list(dict.fromkeys(stage for _, stage in heard)) == STAGES


@pytest.mark.parametrize("stop_at", STAGES)
def test_a_job_that_is_stopped_keeps_nothing(tiny_analysis, small_clip, stop_at) -> None:
    service = Service(DemoSettings(backbone="descriptors"))

    def stop(share: float, stage: str) -> None:
        if stage == stop_at:
            raise Cancelled

    with pytest.raises(Cancelled):
        service.segment(str(small_clip), "descriptors", FEW, stop)
    assert not service.store._results
    assert not [path for path in service.store.root.iterdir() if path.is_dir()]
    service.store.close()


def test_an_overlay_that_is_stopped_leaves_no_half_made_video(service, result) -> None:
    def stop(stage: Stage, share: float) -> None:
        raise Cancelled

    with service.store.room(result) as folder:
        before = set(folder.iterdir())
        with pytest.raises(Cancelled):
            service.files.overlay(result, result.analysis.segment(n_clusters=2), progress=stop)
        assert set(folder.iterdir()) == before


def test_the_bundled_backbone_replaces_one_out_of_reach_with_a_notice(service, small_clip) -> None:
    found, _ = service.segment(str(small_clip), "dino-vits16", FEW, ignore)
    assert found.analysis.settings.backbone == "bundled-vits14"
    assert any("dino-vits16" in notice for notice in found.notices)
    assert any("tuned on saliency labels" in notice for notice in found.notices)


def test_an_unknown_backbone_is_bad_input_and_not_replaced(service, small_clip) -> None:
    with pytest.raises(InputError) as caught:
        service.segment(str(small_clip), "no-such-net", FEW, ignore)
    assert "no-such-net" in sentence(caught)


def test_a_clip_is_opened_once_from_upload_to_overlay(small_clip, monkeypatch) -> None:
    """Two decoders open it, one reads it for each of preview, analysis and overlay."""
    decoders: list[Path] = []

    def decoder(path: Path, **options: Any) -> Decoder:
        decoders.append(path)
        return Decoder(path, **options)

    monkeypatch.setattr("bavos_core.video.decoding.Decoder", decoder)
    service = Service(DemoSettings(backbone="descriptors", max_frames=3, preview_side=64))
    service.files.preview(str(small_clip))
    service.segment(str(small_clip), "descriptors", FEW, ignore)
    assert len(decoders) == OPENING + 3
    service.close()


def test_the_summary_is_the_same_before_and_after_the_overlay_is_painted(
    service, result, small_clip
) -> None:
    assert result.painting_seconds > 0
    with service.store.put(result.analysis, small_clip, ()) as unpainted:
        assert unpainted.painting_seconds == 0
    found = [of(service.downloads(it.id, 4, Edits()), "summary.json") for it in (result, unpainted)]
    for summary in found:
        seconds = summary["seconds"]
        assert set(seconds) == {*result.analysis.timings, "masks", "encode"}
        assert {stage: seconds[stage] for stage in result.analysis.timings} == {
            stage: round(value, 3) for stage, value in result.analysis.timings.items()
        }
        rate = summary["frames_analysed"] / sum(seconds.values())
        assert summary["frames_per_second"] == pytest.approx(rate, rel=0.05)


# ---- pictures and videos -----------------------------------------------------------------------


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


# ---- adapting ----------------------------------------------------------------------------------


def test_adapting_gives_a_result_of_its_own_and_can_be_undone(service, result) -> None:
    steps = list(service.adapt(result.id, 3))
    assert [step.step for step in steps] == [1, 2, 3]
    weights = [step.correlator.block.attn.qkv.weight for step in steps]
    assert not np.array_equal(*(np.asarray(w) for w in weights[:2]))
    adapted, overlay = service.adapted(result.id, steps[-1].correlator)
    assert overlay.is_file()
    assert (adapted.analysis.source, adapted.before) == ("correlator", result.id)
    assert result.analysis.source == "key-similarity"
    assert service.undo(adapted.id)[0] is result
    names = {path.name for path in service.downloads(adapted.id, 4, Edits(), ignore)}
    assert names == FILES | {"correlator.safetensors"}


def test_adapting_goes_on_from_the_block_of_an_adapted_result(service, result) -> None:
    first = list(service.adapt(result.id, 2))[-1].correlator
    adapted, _ = service.adapted(result.id, first)
    again = next(iter(service.adapt(adapted.id, 1))).correlator
    moved = (again.block.attn.qkv.weight - first.block.attn.qkv.weight).abs().max()
    assert 0 < moved < 1e-3  # one step of a learning rate of 2e-4


def test_adapting_can_be_stopped_at_any_step(service, result) -> None:
    seen = []
    for step in service.adapt(result.id, 50):
        seen.append(step.step)
        if step.step == 2:
            service.stop(result.id)
    assert seen == [1, 2]
    assert [step.step for step in service.adapt(result.id, 3)] == [1, 2, 3]  # not for ever


@pytest.mark.parametrize("steps", [0, -1, 100_000])
def test_steps_beyond_the_limits_are_bad_input(service, result, steps) -> None:
    with pytest.raises(InputError) as caught:
        next(iter(service.adapt(result.id, steps)))
    assert str(steps) in sentence(caught)


def test_what_was_not_adapted_cannot_be_undone(service, result) -> None:
    with pytest.raises(InputError) as caught:
        service.undo(result.id)
    assert "not adapted" in sentence(caught)


# ---- files -------------------------------------------------------------------------------------


def test_files_are_all_there_at_the_clips_own_size(service, result, decode) -> None:
    paths = service.downloads(result.id, 4, Edits(), ignore)
    assert {path.name for path in paths} == FILES
    overlay = next(path for path in paths if path.name == "overlay.mp4")
    assert decode(overlay).shape == (4, 96, 128, 3)


def test_files_can_be_asked_for_twice(service, result) -> None:
    first = {
        path.name: path.read_bytes() for path in service.downloads(result.id, 6, Edits(), ignore)
    }
    again = service.downloads(result.id, 6, Edits(), ignore)
    assert {path.name for path in again} == set(first)
    for name in ("masks.json", "hierarchy.json"):
        path = next(path for path in again if path.name == name)
        assert path.read_bytes() == first[name]


def test_progress_of_the_files_rises_to_the_end(service, result) -> None:
    shares: list[float] = []
    service.downloads(result.id, 7, Edits(), lambda stage, share: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_files_of_an_unknown_result_are_bad_input(service) -> None:
    with pytest.raises(InputError) as caught:
        service.downloads("unknown", 4, Edits(), ignore)
    sentence(caught)


def test_one_zip_holds_everything_else(service, result) -> None:
    paths = service.downloads(result.id, 4, Edits(), ignore)
    assert paths[0].name == "bavos.zip"
    with zipfile.ZipFile(paths[0]) as archive:
        held = {name for name in archive.namelist() if not name.endswith("/")}
    pictures_held = {name for name in held if name.startswith("masks/")}
    assert len(pictures_held) == 4
    assert held - pictures_held == {path.name for path in paths} - {"bavos.zip", "masks.zip"}


def of(paths: list[Path], name: str) -> Any:
    """What one of the JSON files says."""
    return json.loads(next(path for path in paths if path.name == name).read_text())


def area(masks: dict, cluster: int) -> int:
    """Pixels of a cluster in all frames of masks.json."""
    return sum(a["area"] for a in masks["annotations"] if a["cluster"] == cluster)


def mask_values(paths: list[Path]) -> set[int]:
    """The values in all pictures of masks.zip."""
    with zipfile.ZipFile(next(path for path in paths if path.name == "masks.zip")) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        pictures = [np.asarray(Image.open(BytesIO(archive.read(name)))) for name in names]
    return set(np.unique(pictures).tolist())


def test_names_roles_and_merges_go_into_all_files(service, result) -> None:
    cut = service.cut(result.id, 12)[1]
    (thing,) = cut.objects
    first, second, third = (i for i in range(4) if i != thing)
    edits = Edits().rename(cut, second, "Red <b>box</b>").merge(cut, first, second)
    edits = edits.take_for(cut, second, "object").take_for(cut, thing, "background")
    edits = edits.hide(cut, second)
    found = service.downloads(result.id, 12, edits, ignore)
    masks, hierarchy = of(found, "masks.json"), of(found, "hierarchy.json")
    assert masks["clusters"][second]["name"] == "Red <b>box</b>"
    assert masks["clusters"][third]["name"] == f"Background {third + 1}"
    assert [masks["clusters"][i]["background"] for i in (thing, second)] == [True, False]
    held = {annotation["cluster"] for annotation in masks["annotations"]}
    assert second in held  # what is hidden on the page is not lost
    assert first not in held
    assert hierarchy["roles"][str(second)] == "object"
    assert hierarchy["roles"][str(thing)] == hierarchy["roles"][str(third)] == "background"
    for names in (of(found, "summary.json")["names"], hierarchy["names"]):
        assert names[str(second)] == "Red <b>box</b>"
        assert names[str(third)] == f"Background {third + 1}"
        assert str(first) not in names
    assert mask_values(found) == {0, second + 1}
    with np.load(next(path for path in found if path.name == "labels.npz")) as labels:
        assert labels["names"][second] == "Red <b>box</b>"
        assert labels["background"].tolist() == [i != second for i in range(12)]
    plain = of(service.downloads(result.id, 12, Edits(), ignore), "masks.json")
    assert area(masks, second) >= 0.9 * (area(plain, first) + area(plain, second))


def test_the_parts_of_a_split_go_into_all_files(service, result) -> None:
    cut = service.cut(result.id, 8)[1]
    (thing,) = cut.objects
    edits = Edits().split(cut, thing)
    divided = service.cut(result.id, 8, edits)[1]
    found = service.downloads(result.id, 8, edits, ignore)
    masks, hierarchy = of(found, "masks.json"), of(found, "hierarchy.json")
    parts = [thing, *range(8, divided.clusters)]
    assert len(parts) > 1
    assert hierarchy["splits"] == {str(thing): parts}
    assert mask_values(found) == {0, *(part + 1 for part in parts)}
    assert all(area(masks, part) > 0 for part in parts)
    plain = of(service.downloads(result.id, 8, Edits(), ignore), "masks.json")
    together = sum(area(masks, part) for part in parts)
    assert together == pytest.approx(area(plain, thing), rel=0.1)


def test_files_differ_by_names_too(service, result) -> None:
    cut = service.cut(result.id, 5)[1]
    for name in ("Ball", "Box"):
        found = service.downloads(result.id, 5, Edits().rename(cut, 1, name), ignore)
        assert of(found, "masks.json")["clusters"][1]["name"] == name


def test_the_code_gives_exactly_this_result(service, result, small_clip) -> None:
    cut = service.cut(result.id, 8)[1]
    edits = Edits().split(cut, cut.objects[0])
    cut = service.cut(result.id, 8, edits)[1]
    edits = edits.rename(cut, 8, 'It\'s "half"').take_for(cut, 0, "object").merge(cut, 3, 8)
    cut = service.cut(result.id, 8, edits)[1]
    code = recipe.code(result, cut, edits, "")
    names: dict[str, Any] = {}
    python = code.split("# Python\n")[1].split("# This server")[0]
    exec(python.replace("CLIP", str(small_clip)), names)
    np.testing.assert_array_equal(names["cut"].labels, cut.labels)
    np.testing.assert_array_equal(names["cut"].background, cut.background)
    assert names["cut"].names == cut.names == {8: 'It\'s "half"'}
    sent = code.split('summary["result"], 8, ')[1].split(", api_name")[0]
    assert checked_edits(ast.literal_eval(sent)).edits == edits.edits


# ---- cuts that are kept ------------------------------------------------------------------------


def test_a_cut_is_found_once_and_few_are_kept(service, result) -> None:
    cut = service.cut(result.id, 8)[1]
    edits = Edits().split(cut, 0)
    assert service.cut(result.id, 8, edits)[1] is service.cut(result.id, 8, edits.hide(cut, 1))[1]
    assert service.cut(result.id, 8)[1] is cut
    for clusters in range(2, 20):
        service.cut(result.id, clusters)
    assert service.cut(result.id, 8)[1] is not cut


def test_a_kept_cut_is_given_to_no_other_visitor(small_clip) -> None:
    visitor = "one"
    service = Service(DemoSettings(backbone="descriptors", max_frames=3), whose=lambda: visitor)
    result, _ = service.segment(str(small_clip), "descriptors", FEW, ignore)
    service.cut(result.id, 8)
    visitor = "other"
    with pytest.raises(InputError):
        service.cut(result.id, 8)
    service.close()


# ---- looks -------------------------------------------------------------------------------------


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


# ---- hierarchy ---------------------------------------------------------------------------------


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
    assert decode(path).shape == (12 * levels, 96, 128, 3)
    written = written_at(service, result)
    assert service.files.levels(result, 1) == path
    assert written_at(service, result) == written


# ---- examples and cancelling -------------------------------------------------------------------


@pytest.fixture
def with_example(small_clip: Path) -> Iterator[Service]:
    """The small clip is the example."""
    made = Service(DemoSettings(backbone="descriptors", max_frames=3), examples=[small_clip])
    yield made
    made.store.close()


def test_an_example_is_analysed_once_for_everybody(with_example, small_clip, tmp_path) -> None:
    copy = tmp_path / "uploaded.mp4"
    copy.write_bytes(small_clip.read_bytes())
    first, overlay = with_example.segment(str(small_clip), "descriptors", FEW, ignore)
    again, other = with_example.segment(str(copy), "descriptors", FEW, ignore)
    assert again.analysis is first.analysis
    assert again.id != first.id
    assert other.read_bytes() == overlay.read_bytes()
    finer, _ = with_example.segment(str(copy), "descriptors", Preset(2, 300), ignore)
    assert finer.analysis is not first.analysis


def test_an_example_outlives_the_clips_of_others(with_example, small_clip, tmp_path) -> None:
    first, _ = with_example.segment(str(small_clip), "descriptors", FEW, ignore)
    for i in range(100):
        with with_example.store.preview_folder(tmp_path / f"{i}.mp4"):
            pass
    again, overlay = with_example.segment(str(small_clip), "descriptors", FEW, ignore)
    assert again.analysis is first.analysis
    assert overlay.is_file()


def test_warming_up_analyses_the_examples_and_keeps_no_result(with_example, small_clip) -> None:
    with_example.warm_up("descriptors")
    assert not with_example.store._results
    assert with_example.pace.seconds(FEW) is not None
    first, _ = with_example.segment(str(small_clip), "descriptors", PRESETS[usual_preset()], ignore)
    again, _ = with_example.segment(str(small_clip), "descriptors", PRESETS[usual_preset()], ignore)
    assert first.analysis is again.analysis  # both of what was analysed before anybody asked


@pytest.mark.parametrize(
    "settings",
    [DemoSettings(backbone="no-such-net"), DemoSettings(backbone="descriptors", max_patches=10)],
)
def test_warming_up_with_settings_that_cannot_be_used_leaves_it_to_visitors_to_be_told(
    settings, small_clip
) -> None:
    service = Service(settings, examples=[small_clip])
    service.warm_up(settings.backbone)  # raises nothing: a thread would write a traceback
    with pytest.raises(InputError):
        service.segment(str(small_clip), settings.backbone, PRESETS[usual_preset()], ignore)
    service.close()


def test_two_previews_of_one_clip_at_once_are_both_whole(with_example, small_clip, decode) -> None:
    found: list[Path] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(with_example.files.preview(str(small_clip))[0])
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert decode(found[0]).shape == (4, 96, 128, 3)
    assert list(found[0].parent.iterdir()) == [found[0]]


def test_cancelling_reaches_the_run_of_that_session_only(service) -> None:
    with service.runs.cancellable("one") as mine, service.runs.cancellable("other") as theirs:
        service.runs.cancel("one")
        with pytest.raises(Cancelled):
            mine.raising(ignore)(0.5, "features")
        theirs.raising(ignore)(0.5, "features")
    service.runs.cancel("one")  # nothing runs any more
    with service.runs.cancellable("one") as later:
        later.raising(ignore)(0.5, "features")


def test_more_patches_than_the_limit_are_bad_input(service, small_clip) -> None:
    with pytest.raises(InputError) as caught:
        service.segment(str(small_clip), "descriptors", Preset(2, 10**6), ignore)
    assert "4096" in sentence(caught)


# ---- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "name"), [("keys", "key-similarity"), ("learned", "correlator")])
def test_old_names_of_sources_go_on_working(old, name) -> None:
    with pytest.warns(FutureWarning, match=name):
        assert checked_source(old) == name


def test_the_page_fills_exactly_the_components_that_it_declares(page_of, service, result) -> None:
    page = page_of(service)
    assert set(page.show(result, Path("overlay.mp4"))) == set(page.result_outputs)
    assert set(page.reset(result.id)) == set(page.reset_outputs)
