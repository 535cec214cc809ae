"""Limits on clips, frames and patches."""

import re
import socket
import zipfile
from dataclasses import replace

import pytest

from bavos_core import InputError, Settings, backbones
from demo import compute
from demo.budget import Budget
from demo.presets import Pace, Preset
from demo.service import Service
from demo.settings import DemoSettings

from .helpers import FEW, ignore, sentence


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


@pytest.mark.parametrize("path", [None, ""])
def test_no_clip_is_bad_input(service, path) -> None:
    with pytest.raises(InputError) as caught:
        service.segment(path, "descriptors", FEW, ignore)
    assert "clip" in sentence(caught)


def test_no_more_frames_are_analysed_than_the_settings_allow(service, small_clip) -> None:
    found = service.segment(str(small_clip), "descriptors", Preset(1000, 192), ignore)
    assert len(found.analysis.analysed) == 3


def test_more_patches_than_the_limit_are_bad_input(service, small_clip) -> None:
    with pytest.raises(InputError) as caught:
        service.segment(str(small_clip), "descriptors", Preset(2, 10**6), ignore)
    assert "4096" in sentence(caught)


# ---- memory, time and backbones --------------------------------------------------------------


def test_a_run_that_needs_more_than_its_share_is_refused_with_what_fits(small_clip) -> None:
    service = Service(DemoSettings(backbone="descriptors", memory_mib=2000))
    with pytest.raises(InputError) as caught:
        service.segment(str(small_clip), "descriptors", Preset(4, 4096), ignore)
    found = re.fullmatch(
        r"4 frames of 4,096 patches need about [\d.]+ GiB, more than the 2.0 GiB of a run here; "
        r"ask for (at most (\d) frames, or )?at most ([\d,]+) patches\.",
        sentence(caught),
    )
    assert found is not None
    patches = int(found[3].replace(",", ""))
    assert 100 < patches < 4096
    clip, backbone = service.clips.open(str(small_clip)), backbones.load("descriptors")
    service.budget.check(clip, Settings(frames=4, patches=patches), backbone)
    with pytest.raises(InputError):
        service.budget.check(clip, Settings(frames=4, patches=patches + 200), backbone)
    service.close()


def test_frames_that_the_clip_does_not_have_cost_nothing(small_clip) -> None:
    service = Service(DemoSettings(memory_mib=600))
    clip, backbone = service.clips.open(str(small_clip)), backbones.load("descriptors")
    service.budget.check(clip, Settings(frames=96, patches=400), backbone)  # it has 4
    service.close()


def test_a_clip_that_is_too_large_for_any_run_says_so(small_clip) -> None:
    service = Service(DemoSettings(memory_mib=1))
    with pytest.raises(InputError) as caught:
        service.segment(str(small_clip), "descriptors", FEW, ignore)
    assert "choose a smaller clip" in sentence(caught)
    service.close()


def test_a_run_that_is_expected_to_take_too_long_is_refused(service, small_clip, result) -> None:
    pace = Pace([Preset(3, 192)])
    pace.learn(replace(result.analysis, timings={"features": 3, "attention and clustering": 30}))
    budget = Budget(DemoSettings(run_seconds=60), pace)
    clip, backbone = service.clips.open(str(small_clip)), backbones.load("descriptors")
    named = Settings(backbone="descriptors", frames=3, patches=192)
    budget.check(clip, named, backbone)
    with pytest.raises(InputError) as caught:
        budget.check(clip, replace(named, patches=1600), backbone)
    assert "more than the 60 seconds of a run here; ask for at most" in sentence(caught)


def test_a_run_that_goes_on_for_too_long_is_ended() -> None:
    budget = Budget(DemoSettings(run_seconds=0), Pace())
    with pytest.raises(InputError, match="was ended"):
        budget.deadline(ignore)(0.5, "clustering")


@pytest.mark.parametrize(
    "name", ["vit_giant_patch14_dinov2.lvd142m", "resnet50", "no such", "x" * 10**6, ""]
)
def test_only_listed_backbones_are_taken_and_others_are_never_looked_for(
    service, small_clip, name, monkeypatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: asked.append(host))
    with pytest.raises(InputError) as caught:
        service.segment(str(small_clip), name, FEW, ignore)
    message = sentence(caught)
    assert len(message) < 400
    assert all(listed in message for listed in backbones.names())
    assert asked == []


def test_the_servers_own_backbone_is_taken_without_being_listed(small_clip) -> None:
    own = DemoSettings(backbone="vit_tiny_patch16_224.augreg_in21k")
    found = compute.plan(own, own.backbone, FEW)  # its weights are out of reach
    assert found.settings.backbone == backbones.BUNDLED
    with pytest.raises(InputError):
        compute.plan(DemoSettings(), own.backbone, FEW)
