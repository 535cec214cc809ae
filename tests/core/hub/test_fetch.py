"""Weights from the hub: asked for once, kept in the cache, and None when there are none."""

import socket

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save

from bavos_core import BackboneUnavailable, InputError, backbones
from bavos_core.backbones import hub
from bavos_core.backbones.timm_vit import create

from ..helpers import check_message
from .fake import (
    LABELS,
    NAME,
    WEIGHTS,
    Handler,
    keep,
    path_of,
    seconds_of,
    use_endpoint,
)


def test_a_hub_that_answers_sends_the_weights(fake) -> None:
    fake.add_model()
    assert hub.fetch(NAME)
    assert fake.seen[0] == path_of("config.json")
    assert set(fake.seen[1:]) == {path_of("model.safetensors")}


def test_a_name_without_a_tag_is_asked_for_under_its_usual_one(fake) -> None:
    fake.add_model()
    assert hub.fetch("test_vit")


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_an_error_is_a_no(fake, status) -> None:
    fake.status = status
    assert hub.fetch(NAME) is None
    assert fake.asked() == 1


def test_a_repository_that_has_moved_is_found(fake) -> None:
    fake.redirects[path_of("config.json")] = "/new/config.json"
    fake.files["/new/config.json"] = b"{}"
    fake.add("model.safetensors", WEIGHTS)
    assert hub.fetch(NAME)


def test_a_redirect_to_itself_is_a_no(fake) -> None:
    fake.redirects[path_of("config.json")] = path_of("config.json")
    assert hub.fetch(NAME) is None


def test_a_hub_that_refuses_the_connection_is_a_no_at_once(monkeypatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        use_endpoint(f"http://127.0.0.1:{unused.getsockname()[1]}", monkeypatch)
        assert seconds_of(lambda: hub.fetch(NAME)) < 2
        assert hub.fetch(NAME) is None


@pytest.mark.parametrize(
    "address", ["http://[::1", "http://127.0.0.1:99999", "ftp://127.0.0.1", ""]
)
def test_an_address_that_is_none_is_a_no(address, monkeypatch) -> None:
    use_endpoint(address, monkeypatch)
    assert hub.fetch(NAME) is None


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "no-such-kind://127.0.0.1:9"])
def test_a_proxy_that_cannot_be_used_is_a_no(proxy, monkeypatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY")
    assert hub.fetch(NAME) is None  # and no thread ends in a traceback


def test_the_token_of_the_user_is_sent_along(fake, monkeypatch) -> None:
    fake.add_model()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert hub.fetch(NAME)
    assert set(fake.tokens) == {"Bearer hf_secret"}


def test_a_token_that_no_header_can_hold_is_a_no(fake, monkeypatch) -> None:
    fake.add("config.json")
    monkeypatch.setenv("HF_TOKEN", "hf_ключ")
    assert hub.fetch(NAME) is None


@pytest.mark.parametrize(
    "name", ["no-such-net", "vit_small_patch8_224.nope", "", "vit_tiny_patch8_9"]
)
def test_what_timm_does_not_know_is_a_no_without_a_request(fake, name) -> None:
    assert hub.cached_weights(name) is None
    assert hub.fetch(name) is None
    assert fake.seen == []


def test_an_unknown_tag_is_refused_like_an_unknown_name() -> None:
    with pytest.raises(InputError) as caught:
        backbones.load("vit_small_patch8_224.nope")
    assert not isinstance(caught.value, BackboneUnavailable)
    assert "Unknown backbone 'vit_small_patch8_224.nope'" in str(caught.value)


def test_offline_nothing_is_asked(fake, monkeypatch) -> None:
    fake.add("config.json")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.fetch(NAME) is None
    assert backbones.resolve("auto")[0] == "bundled-vits14"
    assert fake.seen == []


# ---- the cache -----------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_weights_are_fetched_into_the_cache_once(fake, cache, file) -> None:
    fake.add("config.json")
    fake.add(file, WEIGHTS)
    path = hub.fetch(NAME)
    assert path is not None
    assert path.is_relative_to(cache)
    assert path.read_bytes() == WEIGHTS
    seen = len(fake.seen)
    assert hub.cached_weights(NAME) == hub.fetch(NAME) == path
    assert len(fake.seen) == seen


def test_cached_weights_are_loaded_without_a_request_even_from_a_black_hole(fake, cache) -> None:
    fake.way = Handler.say_nothing
    model = create(NAME).state_dict()
    for name, tensor in model.items():
        model[name] = torch.from_numpy(
            np.random.default_rng(len(name)).standard_normal(tensor.shape)
        ).to(tensor)
    fake.add("config.json")
    path = keep(cache, NAME, "model.safetensors", save(model))
    assert hub.cached_weights(NAME) == path
    loaded = backbones.load(NAME).model.state_dict()
    assert all(torch.equal(tensor, model[name]) for name, tensor in loaded.items())
    assert fake.seen == []


def test_a_damaged_file_in_the_cache_is_an_error_that_says_what_to_do(fake, cache) -> None:
    keep(cache, NAME, "model.safetensors", b"damaged")
    with pytest.raises(BackboneUnavailable) as caught:
        backbones.load(NAME)
    check_message(caught.value, NAME, "damaged", "delete them", "--weights")


def test_without_weights_and_hub_the_error_says_what_to_do() -> None:
    with pytest.raises(BackboneUnavailable) as caught:
        backbones.load("dino-vits8")
    check_message(caught.value, "dino-vits8", "--weights", f"bundled-vits14 ({LABELS})")
