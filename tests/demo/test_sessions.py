"""Who asks."""

import contextvars
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.context import LocalContext

from demo.sessions import NOBODY, Visitor, acting_as, visitor

ANN, BEN = Visitor("192.0.2.1", "ann"), Visitor("192.0.2.2", "ben")


def in_request(who: Visitor):
    """Set what Gradio sets while it handles a request."""
    request = gr.Request(SimpleNamespace(client=SimpleNamespace(host=who.address)))
    request.session_hash = who.session
    LocalContext.request.set(request)


def test_outside_a_request_nobody_asks() -> None:
    assert contextvars.Context().run(visitor) == NOBODY


def test_who_asks_is_the_one_whose_request_gradio_handles() -> None:
    def ask() -> Visitor:
        in_request(ANN)
        return visitor()

    assert contextvars.copy_context().run(ask) == ANN


def test_other_requests_say_who_asks_and_the_one_before_comes_back() -> None:
    seen: list[Visitor] = []

    def fail_as(who: Visitor) -> None:
        with acting_as(who):
            seen.append(visitor())
            raise KeyError

    def ask() -> None:
        in_request(ANN)
        with acting_as(BEN):
            with pytest.raises(KeyError):
                fail_as(NOBODY)
            seen.append(visitor())
        seen.append(visitor())

    contextvars.copy_context().run(ask)
    assert seen == [NOBODY, BEN, ANN]
