"""Checks of a call before Gradio sees it, which assumes that its own page made it."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction

from .allowed import API
from .said import BAD_CALL, NO_JSON, NO_SUCH_CALL, Refusal

_SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)
_JOIN = f"{API}/queue/join"


def parsed(body: bytes) -> dict[str, Any]:
    """Return a JSON object; raise Refusal for anything else."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, NO_JSON) from error
    if not isinstance(found, dict):
        raise Refusal(400, NO_JSON)
    return found


def cancels(blocks: gr.Blocks, path: str, body: bytes) -> bool:
    """Return whether a request calls something that only ends things."""
    with suppress(Refusal):
        wanted = _wanted(blocks, path, parsed(body))
        return bool(wanted.cancels) or wanted.name == "cancel"
    return False


def checked(blocks: gr.Blocks, path: str, body: bytes) -> str:
    """Return the session that a request calls something in; raise Refusal for what is no call.

    The session is "" for a call of the API, which Gradio gives one of its own.
    """
    asked = parsed(body)
    wanted = _wanted(blocks, path, asked)
    session, data = asked.get("session_hash"), asked.get("data")
    if session is None and path != _JOIN:
        session = ""
    elif not (isinstance(session, str) and _SESSION.fullmatch(session)):
        raise Refusal(400, BAD_CALL)
    listed = isinstance(data, list) or "/call/v2/" in path or wanted.cancels
    if not listed or asked.get("batched") or asked.get("event_id"):
        raise Refusal(400, BAD_CALL)
    return session


def _wanted(blocks: gr.Blocks, path: str, asked: dict[str, Any]) -> BlockFunction:
    found = _by_index(blocks, asked) if path == _JOIN else _by_name(blocks, path)
    if found.fn is None and not found.cancels:  # it runs in the browser
        raise Refusal(404, NO_SUCH_CALL)
    return found


def _by_index(blocks: gr.Blocks, asked: dict[str, Any]) -> BlockFunction:
    index = asked.get("fn_index")
    found = blocks.fns.get(index) if type(index) is int else None
    if found is None:
        raise Refusal(404, NO_SUCH_CALL)
    return found


def _by_name(blocks: gr.Blocks, path: str) -> BlockFunction:
    name = path.rpartition("/")[2]
    for function in blocks.fns.values():
        if function.api_name == name:
            return function
    raise Refusal(404, NO_SUCH_CALL)
