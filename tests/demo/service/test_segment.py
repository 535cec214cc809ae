"""Segmenting clips, results that are kept, examples, and cancelling."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bavos_core import Cancelled, Edit, InputError
from bavos_core.progress import Stage
from bavos_io.decoder import Decoder
from demo.api import checked_source
from demo.presets import PRESETS, Preset, usual_preset
from demo.service import Service
from demo.settings import DemoSettings

from .helpers import FEW, ignore, sentence

OPENING = 1  # decoder, for its first frame
STAGES = ["decode", "features", "attention and clustering", "instances"]


# ---- segment ------------------------------------------------------------------------------------


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
        before = set(folder.glob("*.*"))  # parts may come in the background
        with pytest.raises(Cancelled):
            service.files.overlay(result, result.analysis.segment(n_clusters=2), stop)
        assert set(folder.glob("*.*")) == before


def test_the_bundled_backbone_replaces_one_out_of_reach_with_a_notice(service, small_clip) -> None:
    found = service.segment(str(small_clip), "dino-vits16", FEW, ignore)
    assert found.analysis.settings.backbone == "bundled-vits14"
    assert any("dino-vits16" in notice for notice in found.notices)
    assert any("tuned on saliency labels" in notice for notice in found.notices)


def test_an_unknown_backbone_is_bad_input_and_not_replaced(service, small_clip) -> None:
    with pytest.raises(InputError) as caught:
        service.segment(str(small_clip), "no-such-net", FEW, ignore)
    assert "no-such-net" in sentence(caught)


def test_a_clip_is_opened_once_from_upload_to_result(small_clip, monkeypatch) -> None:
    """One decoder opens it, one reads it for each of its description and the analysis."""
    decoders: list[Path] = []

    def decoder(path: Path, **options: Any) -> Decoder:
        decoders.append(path)
        return Decoder(path, **options)

    monkeypatch.setattr("bavos_io.decoding.Decoder", decoder)
    service = Service(DemoSettings(backbone="descriptors", max_frames=3, preview_side=64))
    monkeypatch.setattr(service.parts, "fill", lambda _: None)
    service.expected(str(small_clip), "descriptors", FEW)
    service.segment(str(small_clip), "descriptors", FEW, ignore)
    own = [path for path in decoders if path == small_clip]  # others work in the background
    assert len(own) == OPENING + 2
    service.close()


# ---- cuts that are kept -------------------------------------------------------------------------


def test_a_cut_is_found_once_and_few_are_kept(service, result) -> None:
    cut = service.cut(result.id, 8)[1]
    edits = (Edit.split(0, at=8),)
    assert service.cut(result.id, 8, edits)[1] is service.cut(result.id, 8, edits)[1]
    assert service.cut(result.id, 8)[1] is cut
    for clusters in range(2, 20):
        service.cut(result.id, clusters)
    assert service.cut(result.id, 8)[1] is not cut


# ---- examples ------------------------------------------------------------------------------------


def test_an_example_is_analysed_once_for_everybody(with_example, small_clip, tmp_path) -> None:
    copy = tmp_path / "uploaded.mp4"
    copy.write_bytes(small_clip.read_bytes())
    first = with_example.segment(str(small_clip), "descriptors", PRESETS["fast"], ignore)
    assert with_example.segment(str(copy), "descriptors", PRESETS["fast"], ignore) is first
    assert first.example == small_clip.stem
    with pytest.raises(InputError, match="stays"):
        with_example.delete(first.id)
    finer = with_example.segment(str(copy), "descriptors", Preset(2, 300), ignore)
    assert finer is not first


def test_a_visitors_own_result_is_deleted_when_asked_for(service, small_clip) -> None:
    result = service.segment(str(small_clip), "descriptors", FEW, ignore)
    service.delete(result.id)
    with pytest.raises(InputError, match="no longer exists"):
        service.cut(result.id, 4)


def test_warming_up_analyses_the_examples(with_example, small_clip, monkeypatch) -> None:
    monkeypatch.setattr("demo.service.ARRIVES", small_clip.stem)
    assert with_example.arrived() is None
    with pytest.raises(InputError, match="still analysing"):
        with_example.cut("arrival", 4)
    with_example.warm_up("descriptors")
    preset = PRESETS[usual_preset()]
    first = with_example.segment(str(small_clip), "descriptors", preset, ignore)
    assert with_example.arrived() is first  # made before anybody asked
    assert with_example.cut("arrival", 4)[0] is first


def test_after_a_run_the_next_is_foretold_for_its_clip(with_example, small_clip) -> None:
    service, fast = with_example, PRESETS["fast"].within(with_example.settings)
    assert service.expected(str(small_clip), "descriptors", fast) is None
    result = service.segment(str(small_clip), "descriptors", fast, ignore)
    ran = Preset(3, int(np.prod(result.analysis.grid)))
    took = sum(result.analysis.timings.values())
    assert service.expected(str(small_clip), "descriptors", ran) == pytest.approx(took, rel=0.01)


@pytest.mark.parametrize(
    "settings",
    [DemoSettings(backbone="no-such-net"), DemoSettings(backbone="descriptors", memory_mib=1)],
)
def test_warming_up_with_settings_that_cannot_be_used_leaves_it_to_visitors_to_be_told(
    settings, small_clip
) -> None:
    service = Service(settings, examples=[small_clip])
    service.warm_up(settings.backbone)  # raises nothing: a thread would write a traceback
    with pytest.raises(InputError):
        service.segment(str(small_clip), settings.backbone, PRESETS[usual_preset()], ignore)
    service.close()


# ---- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "name"), [("keys", "key-similarity"), ("learned", "correlator")])
def test_old_names_of_sources_go_on_working(old, name) -> None:
    with pytest.warns(FutureWarning, match=name):
        assert checked_source(old) == name


def test_the_page_fills_exactly_the_components_that_it_declares(page_of, service, result) -> None:
    page = page_of(service)
    assert set(page.show(result)) == set(page.result_outputs)
