"""The page's limits, from the environment."""

from dataclasses import fields
from pathlib import Path

import pytest

from demo import strings
from demo.page import build
from demo.server import launch, launch_options
from demo.service import Service
from demo.settings import DemoSettings, check_start

NUMBERS = [field.name for field in fields(DemoSettings) if field.type == "int"]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in fields(DemoSettings):
        monkeypatch.delenv(f"BAVOS_{field.name.upper()}", raising=False)


def test_without_variables_the_defaults_hold() -> None:
    assert DemoSettings.from_environment() == DemoSettings()


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_can_be_set_by_its_variable_alone(name, monkeypatch) -> None:
    monkeypatch.setenv(f"BAVOS_{name.upper()}", "7")
    assert DemoSettings.from_environment() == DemoSettings(**{name: 7})


def test_backbone_weights_and_correlator_can_be_set(monkeypatch) -> None:
    monkeypatch.setenv("BAVOS_BACKBONE", "descriptors")
    monkeypatch.setenv("BAVOS_WEIGHTS", "/models/dino.safetensors")
    monkeypatch.setenv("BAVOS_CORRELATOR", "keys")
    assert DemoSettings.from_environment() == DemoSettings(
        backbone="descriptors",
        weights=Path("/models/dino.safetensors"),
        correlator="key-similarity",
    )


def test_weights_and_correlator_can_be_urls(monkeypatch) -> None:
    url = "https://host/checkpoint.pth"
    monkeypatch.setenv("BAVOS_WEIGHTS", url)
    monkeypatch.setenv("BAVOS_CORRELATOR", url)
    assert DemoSettings.from_environment() == DemoSettings(weights=url, correlator=url)


def test_an_empty_weights_variable_counts_as_none(monkeypatch) -> None:
    monkeypatch.setenv("BAVOS_WEIGHTS", "")
    assert DemoSettings.from_environment().weights is None


def test_the_server_is_told_the_upload_limit() -> None:
    service = Service(DemoSettings(max_upload_mib=3))
    assert launch_options(service)["max_file_size"] == "3mb"
    service.close()


def test_the_page_says_how_long_files_are_kept_and_its_queue_is_never_full() -> None:
    service = Service(DemoSettings(backbone="descriptors", queue_size=5, keep_seconds=180))
    page = build(service)
    assert page._queue.max_size is None  # whose turn it is, the service decides
    assert "3 minutes" in str(page.get_config_file()["components"])
    service.store.close()


def test_the_page_opens_with_the_backbone_and_frame_limit_of_the_settings() -> None:
    service = Service(DemoSettings(backbone="dino-vitb8", max_frames=11))
    components = build(service).get_config_file()["components"]
    by_label = {c["props"].get("label"): c["props"] for c in components}
    assert by_label["Backbone"]["value"] == "dino-vitb8"
    labels = [label for label, _ in by_label[strings.PRESET]["choices"]]
    assert labels == ["Fast 11×648", "Balanced 11×1152", "Fine 11×1600"]
    service.store.close()


def test_the_store_holds_as_much_as_the_settings_say(tiny_analysis, small_clip) -> None:
    service = Service(DemoSettings(store_mib=1))
    kept = []
    for _ in range(40):
        with service.store.put(tiny_analysis, small_clip, ()) as result:
            kept.append(result)
    present = [result for result in kept if result.id in service.store._results]
    assert present == kept[-len(present) :]
    assert len([*service.store.root.glob("*/clip.mp4")]) == len(present)
    used = sum(result.nbytes for result in present)
    assert used <= 2**20 < used + present[0].nbytes
    service.store.close()


@pytest.mark.parametrize("value", ["abc", "-1", "0", "1.5", "\u0663"])
def test_a_variable_that_is_no_number_ends_the_start_with_one_sentence(value, monkeypatch) -> None:
    monkeypatch.setenv("BAVOS_MAX_SECONDS", value)
    with pytest.raises(SystemExit) as caught:
        launch()
    assert caught.value.code == (
        f"BAVOS_MAX_SECONDS is {value!r}; give a whole number above 0, or leave it unset."
    )


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("BAVOS_BACKBONE", "no-such-net", "BAVOS_BACKBONE is 'no-such-net', which is unknown"),
        ("BAVOS_WEIGHTS", "/no/such/file.pth", "BAVOS_WEIGHTS names 'file.pth', which cannot be"),
        ("BAVOS_CORRELATOR", "/no/file.safetensors", "BAVOS_CORRELATOR names 'file.safetensors'"),
        ("TMPDIR", "/no/such/folder", "TMPDIR is no folder that can be read and written"),
        ("TMPDIR", __file__, "TMPDIR is no folder that can be read and written"),
    ],
)
def test_what_cannot_be_used_ends_the_start_with_one_sentence(
    variable, value, said, monkeypatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as caught:
        launch()
    message = str(caught.value.code)
    assert message.startswith(said)
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("correlator", ["auto", "key-similarity", "cross-frame", "untrained"])
def test_names_and_addresses_are_no_files_to_look_for(correlator, tmp_path) -> None:
    weights = tmp_path / "dino.pth"
    weights.touch()
    check_start(DemoSettings(weights=weights, correlator=correlator))
    check_start(DemoSettings(backbone="builtin", correlator="https://host/file.safetensors"))
    check_start(DemoSettings(backbone="vit_tiny_patch16_224.augreg_in21k"))
