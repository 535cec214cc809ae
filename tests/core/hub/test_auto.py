"""The backbone `auto`: the paper's if its weights can be had, else the bundled one."""

from pathlib import Path

import numpy as np

from bavos_core import Settings, analyse, backbones
from bavos_core.backbones import hub

from ..helpers import check_message
from .fake import LABELS, PAPER, WEIGHTS, keep, seconds_of


def check_substitute(found: tuple[str, str]) -> None:
    name, sentence = found
    assert name == "bundled-vits14"
    check_message(ValueError(sentence), "dino-vits8", f"bundled-vits14 ({LABELS})")
    assert sentence.count(".") == 1


def test_auto_is_the_papers_backbone_when_its_weights_are_given(fake) -> None:
    for weights in (Path("x.pth"), "https://host/x.pth"):
        assert backbones.resolve("auto", weights=weights) == ("dino-vits8", "")
    assert fake.seen == []


def test_auto_is_the_papers_backbone_when_its_weights_are_cached(fake, cache) -> None:
    keep(cache, PAPER, "model.safetensors", WEIGHTS)
    for may_wait in (True, False):
        assert backbones.resolve("auto", may_wait=may_wait) == ("dino-vits8", "")
    assert fake.seen == []


def test_auto_is_the_papers_backbone_when_the_hub_sends_it(fake) -> None:
    fake.add_model(PAPER)
    assert backbones.resolve("auto") == ("dino-vits8", "")


def test_auto_is_the_bundled_one_and_says_so_when_the_hub_has_nothing() -> None:
    check_substitute(backbones.resolve("auto"))


def test_auto_is_the_bundled_one_and_says_so_when_the_download_fails(fake) -> None:
    fake.add("config.json", name=PAPER)
    check_substitute(backbones.resolve("auto"))


def test_auto_does_not_wait_when_it_may_not(silent_resolver) -> None:
    assert seconds_of(lambda: backbones.resolve("auto", may_wait=False)) < 1
    for _ in range(20):
        check_substitute(backbones.resolve("auto", may_wait=False))
    assert len(silent_resolver) <= 1


def test_what_was_fetched_in_the_background_is_used_the_next_time(fake) -> None:
    fake.add_model(PAPER)
    check_substitute(backbones.resolve("auto", may_wait=False))
    hub._downloads[f"timm/{PAPER}"].join(10)
    assert backbones.resolve("auto", may_wait=False) == ("dino-vits8", "")
    assert fake.asked() == 1


def test_names_other_than_auto_are_never_asked_for(fake) -> None:
    for name in backbones.names()[1:]:
        assert backbones.resolve(name) == (name, "")
    assert fake.seen == []


def test_an_analysis_with_the_substitute_names_it_and_says_why() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (2, 28, 42, 3), np.uint8)
    analysis = analyse(clip, Settings(size=(28, 42), device="cpu"))
    assert analysis.settings.backbone == "bundled-vits14"
    check_substitute((analysis.settings.backbone, analysis.notes[0]))
    assert LABELS in analysis.notes[1]
