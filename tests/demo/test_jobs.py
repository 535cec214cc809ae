"""What the page does, without the page: limits, analysing, pictures and files."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bavos_core import Cancelled, InputError
from bavos_core.export import OPACITY
from demo import pictures, words
from demo.jobs import Jobs
from demo.settings import DemoSettings
from demo.store import Result

FILES = {
    "overlay.mp4", "masks.zip", "masks.json", "labels.npz",
    "hierarchy.json", "hierarchy.svg", "summary.json",
}  # fmt: skip


def ignore(share: float, stage: str) -> None:
    """Take no notice of progress."""


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    made = Jobs(DemoSettings(backbone="builtin", max_frames=3, preview_side=64))
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def result(jobs: Jobs, small_clip: Path) -> Result:
    return jobs.segment(str(small_clip), "builtin", 3, ignore)[0]


@pytest.fixture
def limited() -> Iterator[Jobs]:
    """Takes 1 MiB and 1 second."""
    made = Jobs(DemoSettings(backbone="builtin", max_upload_mib=1, max_seconds=1))
    yield made
    made.store.close()


def sentence(error: pytest.ExceptionInfo[InputError]) -> str:
    """What a person reads: one line that ends in a full stop."""
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


# ---- limits ------------------------------------------------------------------------------------


def test_a_file_over_the_limit_is_refused_before_it_is_read(limited, tmp_path) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(2**20 + 1)
    with pytest.raises(InputError) as caught:
        limited.segment(str(large), "builtin", 3, ignore)
    assert "1 MiB" in sentence(caught)


def test_a_file_just_at_the_limit_is_not_too_large(limited, tmp_path, small_clip) -> None:
    full = tmp_path / "full.zip"
    with zipfile.ZipFile(full, "w") as archive:
        archive.writestr("notes.txt", "")
    full.write_bytes(full.read_bytes().rjust(2**20, b"\0"))  # a zip may begin with anything
    assert full.stat().st_size == 2**20
    with pytest.raises(InputError) as caught:
        limited.open(str(full))
    assert "no frames" in sentence(caught)


def test_a_clip_that_lasts_too_long_is_refused(limited, small_clip) -> None:
    with pytest.raises(InputError) as caught:
        limited.segment(str(small_clip), "builtin", 3, ignore)
    message = sentence(caught)
    assert "limit" in message
    assert "1 s" in message


def test_the_preview_keeps_the_same_limits(limited, small_clip) -> None:
    with pytest.raises(InputError):
        limited.preview(str(small_clip))


@pytest.mark.parametrize("path", [None, ""])
def test_no_clip_is_bad_input(jobs, path) -> None:
    with pytest.raises(InputError) as caught:
        jobs.segment(path, "builtin", 3, ignore)
    assert "clip" in sentence(caught)


def test_no_more_frames_are_analysed_than_the_settings_allow(jobs, small_clip) -> None:
    found, _ = jobs.segment(str(small_clip), "builtin", 1000, ignore)
    assert len(found.analysis.analysed) == 3


# ---- segment -----------------------------------------------------------------------------------


def test_progress_rises_to_the_end_and_names_what_is_done(jobs, small_clip) -> None:
    heard: list[tuple[float, str]] = []
    jobs.segment(str(small_clip), "builtin", 2, lambda share, stage: heard.append((share, stage)))
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    stages = list(dict.fromkeys(stage for _, stage in heard))
    assert stages == ["decode", "features", "attention and clustering", "painting the video"]


@pytest.mark.parametrize("stop_at", ["decode", "features", "attention and clustering"])
def test_a_job_that_is_stopped_keeps_nothing(tiny_analysis, small_clip, stop_at) -> None:
    jobs = Jobs(DemoSettings(backbone="builtin", stored_results=1))
    earlier = jobs.store.put(tiny_analysis, small_clip, ())

    def stop(share: float, stage: str) -> None:
        if stage == stop_at:
            raise Cancelled

    with pytest.raises(Cancelled):
        jobs.segment(str(small_clip), "builtin", 2, stop)
    assert jobs.store.get(earlier.id) is earlier  # a new result would have taken its place
    jobs.store.close()


def test_an_overlay_that_is_stopped_leaves_no_half_made_video(jobs, result) -> None:
    def stop(share: float) -> None:
        raise Cancelled

    before = set(result.folder.iterdir())
    with pytest.raises(Cancelled):
        jobs.overlay(result, result.analysis.segment(clusters=2), report=stop)
    assert set(result.folder.iterdir()) == before


def test_an_unreachable_backbone_gives_way_to_builtin_with_a_notice(jobs, small_clip) -> None:
    found, _ = jobs.segment(str(small_clip), "dino-vits16", 2, ignore)
    assert found.analysis.settings.backbone == "builtin"
    assert any("dino-vits16" in notice for notice in found.notices)


def test_an_unknown_backbone_is_bad_input_and_not_replaced(jobs, small_clip) -> None:
    with pytest.raises(InputError) as caught:
        jobs.segment(str(small_clip), "no-such-net", 2, ignore)
    assert "no-such-net" in sentence(caught)


# ---- pictures and videos -----------------------------------------------------------------------


def test_the_preview_shows_every_frame_at_preview_size(jobs, small_clip, decode) -> None:
    path, clip = jobs.preview(str(small_clip))
    assert clip.size == (96, 128)
    assert decode(path).shape == (4, 48, 64, 3)


def test_the_overlay_is_at_preview_size_and_made_once(jobs, result, decode) -> None:
    cut = result.analysis.segment(clusters=4)
    path = jobs.overlay(result, cut)
    written = path.stat().st_mtime_ns
    assert decode(path).shape == (4, 48, 64, 3)
    assert jobs.overlay(result, cut) == path
    assert path.stat().st_mtime_ns == written


def test_the_overlay_with_the_background_is_another_video(jobs, result, decode) -> None:
    cut = result.analysis.segment(clusters=4)
    assert cut.background.any()
    plain, full = jobs.overlay(result, cut), jobs.overlay(result, cut, background=True)
    assert plain != full
    assert abs(decode(plain).astype(int) - decode(full)).max() > 30


def test_without_opacity_and_outlines_the_frame_is_as_it_was(jobs, result) -> None:
    painted = jobs.frame(result.id, 1, 5, False, 0.0)
    np.testing.assert_array_equal(painted, result.analysis.frames[1])
    assert (jobs.frame(result.id, 1, 5, False, OPACITY) != painted).any()


@pytest.mark.parametrize("position", [-1, 3, 999])
def test_a_frame_that_was_not_analysed_is_bad_input(jobs, result, position) -> None:
    with pytest.raises(InputError) as caught:
        jobs.frame(result.id, position, 5, False, OPACITY)
    assert str(position) in sentence(caught)


def test_only_the_clicked_frame_carries_the_ring(jobs, result) -> None:
    query, elsewhere = (1, 40.0, 60.0), (1, 80.0, 20.0)
    _, row = jobs.attention(result.id, query, None, "keys")

    def heat(position: int, where: tuple[int, float, float]) -> np.ndarray:
        return pictures.heat_frame(result.analysis, row, position, where)

    assert (heat(1, query) != heat(1, elsewhere)).any()
    np.testing.assert_array_equal(heat(0, query), heat(0, elsewhere))


def test_the_heat_video_shows_every_analysed_frame(jobs, result, decode) -> None:
    query = (0, 10.0, 10.0)
    found, row = jobs.attention(result.id, query, 0, "framewise")
    assert row.sum() == pytest.approx(1, abs=1e-4)
    assert decode(jobs.heat_video(found, row, query)).shape == (3, 96, 128, 3)


def test_a_query_is_shown_over_time_by_source_and_by_head(jobs, result) -> None:
    def titles(what: str, source: str) -> list[str]:
        return [title for _, title in jobs.tiles(result.id, (1, 40.0, 60.0), 1, source, None, what)]

    assert [title.split(",")[0] for title in titles("time", "keys")] == [
        "Frame 0", "Frame 1", "Frame 2",
    ]  # fmt: skip
    assert titles("sources", "keys") == [words.SOURCES[s] for s in result.analysis.sources()]
    assert titles("heads", "untrained") == [f"Head {i}" for i in range(8)]


def test_small_heatmaps_show_what_the_large_one_shows(jobs, result) -> None:
    query = (1, 40.0, 60.0)
    analysis, row = result.analysis, jobs.attention(result.id, query, 3, "untrained")[1]
    by_head = jobs.tiles(result.id, query, 2, "untrained", None, "heads")
    over_time = jobs.tiles(result.id, query, 2, "untrained", 3, "time")
    large = pictures.heat_frame(analysis, row, 2, query)  # no larger than a small one: 128×96
    np.testing.assert_array_equal(by_head[3][0], large)
    np.testing.assert_array_equal(over_time[2][0], large)


# ---- adapting ----------------------------------------------------------------------------------


def test_adapting_gives_a_result_of_its_own_and_can_be_undone(jobs, result) -> None:
    steps = list(jobs.adapt(result.id, 3))
    assert [step.step for step in steps] == [1, 2, 3]
    weights = [step.trained.block.attn.qkv.weight for step in steps]
    assert not np.array_equal(*(np.asarray(w) for w in weights[:2]))
    adapted, overlay = jobs.adapted(result.id, steps[-1].trained)
    assert overlay.is_file()
    assert (adapted.analysis.source, adapted.before) == ("learned", result.id)
    assert result.analysis.source == "keys"
    assert jobs.undo(adapted.id)[0] is result
    names = {path.name for path in jobs.files(adapted.id, 4, None, ignore)}
    assert names == FILES | {"correlator.safetensors"}


def test_adapting_goes_on_from_the_block_of_an_adapted_result(jobs, result) -> None:
    first = list(jobs.adapt(result.id, 2))[-1].trained
    adapted, _ = jobs.adapted(result.id, first)
    again = next(iter(jobs.adapt(adapted.id, 1))).trained
    moved = (again.block.attn.qkv.weight - first.block.attn.qkv.weight).abs().max()
    assert 0 < moved < 1e-3  # one step of a learning rate of 2e-4


def test_adapting_can_be_stopped_at_any_step(jobs, result) -> None:
    seen = []
    for step in jobs.adapt(result.id, 50):
        seen.append(step.step)
        if step.step == 2:
            jobs.stop(result.id)
    assert seen == [1, 2]
    assert [step.step for step in jobs.adapt(result.id, 3)] == [1, 2, 3]  # not for ever


@pytest.mark.parametrize("steps", [0, -1, 100_000])
def test_steps_beyond_the_limits_are_bad_input(jobs, result, steps) -> None:
    with pytest.raises(InputError) as caught:
        next(iter(jobs.adapt(result.id, steps)))
    assert str(steps) in sentence(caught)


def test_what_was_not_adapted_cannot_be_undone(jobs, result) -> None:
    with pytest.raises(InputError) as caught:
        jobs.undo(result.id)
    assert "not adapted" in sentence(caught)


# ---- files -------------------------------------------------------------------------------------


def test_files_are_all_there_at_the_clips_own_size(jobs, result, decode) -> None:
    paths = jobs.files(result.id, 4, None, ignore)
    assert {path.name for path in paths} == FILES
    overlay = next(path for path in paths if path.name == "overlay.mp4")
    assert decode(overlay).shape == (4, 96, 128, 3)


def test_files_can_be_asked_for_twice(jobs, result) -> None:
    first = {path.name: path.read_bytes() for path in jobs.files(result.id, 6, None, ignore)}
    again = jobs.files(result.id, 6, None, ignore)
    assert {path.name for path in again} == set(first)
    for name in ("masks.json", "hierarchy.json"):
        path = next(path for path in again if path.name == name)
        assert path.read_bytes() == first[name]


def test_the_heatmap_video_comes_along_when_there_is_one(jobs, result, tmp_path) -> None:
    video = tmp_path / "attention.mp4"
    shutil.copy(result.clip, video)
    assert jobs.files(result.id, 4, str(video), ignore)[-1] == video


def test_progress_of_the_files_rises_to_the_end(jobs, result) -> None:
    shares: list[float] = []
    jobs.files(result.id, 7, None, lambda share, stage: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_files_of_an_unknown_result_are_bad_input(jobs) -> None:
    with pytest.raises(InputError) as caught:
        jobs.files("unknown", 4, None, ignore)
    sentence(caught)
