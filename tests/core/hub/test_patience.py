"""A hub that is silent or slow is given up on in time, and asked again after a minute."""

import threading
from pathlib import Path

import pytest

from bavos_core import backbones
from bavos_core.backbones import hub

from .fake import NAME, WEIGHTS, Handler, seconds_of


def test_a_hub_that_accepts_and_says_nothing_is_a_no_after_three_seconds(fake) -> None:
    fake.add_model()
    fake.way = Handler.say_nothing
    assert 2.5 < seconds_of(lambda: hub.fetch(NAME)) < 6
    assert not fake.released.is_set()  # it was not waited for
    assert seconds_of(lambda: hub.fetch(NAME)) < 1
    assert hub.fetch(NAME) is None
    assert fake.asked() == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("way", [Handler.trickle_a_body, Handler.trickle_a_head])
def test_a_hub_that_trickles_is_a_no(fake, way) -> None:
    fake.add_model()
    fake.way = way
    assert seconds_of(lambda: hub.fetch(NAME)) < 3
    assert hub.fetch(NAME) is None
    assert not fake.released.is_set()


@pytest.mark.usefixtures("impatient")
def test_an_answer_that_comes_too_late_is_a_no_that_stays(fake) -> None:
    fake.add_model()
    fake.way = lambda handler, body: (handler.say_nothing(body), handler.answer(body))
    assert hub.fetch(NAME) is None
    fake.released.set()
    hub._downloads[f"timm/{NAME}"].join(10)
    assert hub.fetch(NAME) is None


@pytest.mark.usefixtures("impatient")
def test_a_name_server_that_never_answers_is_a_no_and_blocks_one_thread(
    silent_resolver, clock
) -> None:
    threads = threading.active_count()
    assert seconds_of(lambda: hub.fetch(NAME)) < 3
    for _ in range(20):
        assert hub.fetch(NAME) is None
        clock.ahead += 2 * hub.KEEP_SECONDS
    assert len(silent_resolver) == 1
    assert threading.active_count() <= threads + 1


def test_a_name_server_that_never_answers_is_waited_for_three_seconds_in_all(
    silent_resolver,
) -> None:
    assert seconds_of(lambda: backbones.resolve("auto")) < 6
    assert seconds_of(lambda: backbones.load("auto")) < 3  # of which no more for the hub
    assert len(silent_resolver) == 1


# ---- asked once ---------------------------------------------------------------------------------


def test_a_no_is_kept_for_a_minute_and_then_asked_for_again(fake, clock) -> None:
    assert [hub.fetch(NAME) for _ in range(5)] == [None] * 5
    clock.ahead = hub.KEEP_SECONDS - 1
    assert hub.fetch(NAME) is None
    assert fake.asked() == 1
    fake.add_model()
    clock.ahead = hub.KEEP_SECONDS + 1
    assert hub.fetch(NAME)
    assert fake.asked() == 2


def test_callers_at_the_same_time_ask_once_and_get_one_answer(fake) -> None:
    fake.add_model()
    found: list[Path | None] = []
    threads = [threading.Thread(target=lambda: found.append(hub.fetch(NAME))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {hub.cached_weights(NAME)}
    assert len(found) == 8
    assert fake.asked() == 1


def test_a_failed_download_is_a_no_for_a_minute(fake, clock) -> None:
    fake.add("config.json")
    assert hub.fetch(NAME) is None
    assert fake.asked("model.safetensors") == fake.asked("pytorch_model.bin") == 1
    seen = len(fake.seen)
    assert hub.fetch(NAME) is None
    assert len(fake.seen) == seen
    fake.add("model.safetensors", WEIGHTS)
    clock.ahead = hub.KEEP_SECONDS + 1
    assert hub.fetch(NAME) is not None
    assert fake.asked() == 2


def test_a_download_that_broke_off_is_tried_again_after_a_minute(fake, clock) -> None:
    fake.add_model()
    fake.way = lambda handler, body: (
        handler.answer if handler.path.endswith("config.json") else handler.break_off
    )(body)
    assert hub.fetch(NAME) is None
    seen = len(fake.seen)
    assert hub.fetch(NAME) is None
    assert len(fake.seen) == seen
    fake.way = Handler.answer
    clock.ahead = hub.KEEP_SECONDS + 1
    path = hub.fetch(NAME)
    assert path is not None
    assert path.read_bytes() == WEIGHTS
