"""Weights from the model hub: the local cache, whether the hub answers, and downloads."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from huggingface_hub import (
    constants,
    get_token,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)

ANSWER_SECONDS = 3.0  # within which the hub must answer, name resolution included
KEEP_SECONDS = 60.0  # for which an answer is kept before the hub is asked again
_FILES = ("model.safetensors", "pytorch_model.bin")


def cached_weights(timm_name: str) -> Path | None:
    """Return the weights of a timm model in the local cache, or None. Never uses the network."""
    repo = _repository(timm_name)
    found = (try_to_load_from_cache(repo, name) for name in _FILES) if repo else ()
    return next((Path(path) for path in found if isinstance(path, str)), None)


def has_weights(timm_name: str) -> bool:
    """Return whether the hub answers for a timm model within three seconds.

    The answer, yes or no, is kept for a minute.
    """
    repo = _repository(timm_name)
    if repo is None or constants.HF_HUB_OFFLINE:
        return False
    question = _asked(repo)
    question.answered.wait(max(0.0, question.deadline - time.monotonic()))
    return question.yes


def fetch(timm_name: str) -> Path | None:
    """Return the weights of a timm model from the cache or else the hub, or None.

    After a failed download the hub is not asked again for a minute.
    """
    path, repo = cached_weights(timm_name), _repository(timm_name)
    if path or repo is None or not has_weights(timm_name):
        return path
    for name in _FILES:
        try:
            return Path(hf_hub_download(repo, name))
        except Exception:  # noqa: S112 - every library involved has its own errors
            continue
    with _lock:
        question = _questions[repo]
        question.yes, question.deadline = False, time.monotonic()
    return None


def fetch_in_background(timm_name: str) -> None:
    """Start to fetch the weights of a timm model, unless they are being fetched already."""
    with _lock:
        thread = _fetching.get(timm_name)
        if thread is None or not thread.is_alive():
            _fetching[timm_name] = thread = threading.Thread(
                target=fetch, args=(timm_name,), daemon=True
            )
            thread.start()


@dataclass
class _Question:
    """A request to the hub: whether it sends a repository's configuration in time."""

    deadline: float  # seconds of the monotonic clock
    yes: bool = False
    answered: threading.Event = field(default_factory=threading.Event)


_questions: dict[str, _Question] = {}
_fetching: dict[str, threading.Thread] = {}
_lock = threading.Lock()


def _asked(repo: str) -> _Question:
    """Return the last question about a repository, or a new one if that is a minute old.

    It is asked on its own thread, since a silent name server blocks for longer than any HTTP
    timeout. While that thread is blocked, no second one is started.
    """
    with _lock:
        question = _questions.get(repo)
        now = time.monotonic()
        old = question and question.answered.is_set() and now > question.deadline + KEEP_SECONDS
        if question is None or old:
            question = _questions[repo] = _Question(now + ANSWER_SECONDS)
            threading.Thread(target=_ask, args=(repo, question), daemon=True).start()
        return question


def _ask(repo: str, question: _Question) -> None:
    try:
        with httpx.stream(
            "GET",
            hf_hub_url(repo, "config.json"),
            headers=_headers(),
            follow_redirects=True,
            timeout=ANSWER_SECONDS,
        ) as response:
            response.raise_for_status()
            for _ in response.iter_raw():  # a body that arrives too slowly is no answer
                if time.monotonic() > question.deadline:
                    return
        question.yes = time.monotonic() <= question.deadline
    except Exception:  # noqa: S110 - every library involved has its own errors; all mean no
        pass
    finally:
        question.answered.set()


def is_known(timm_name: str) -> bool:
    """Return whether timm has such a model, with such weights if the name has a tag."""
    import timm

    try:
        timm.get_pretrained_cfg(timm_name)
    except RuntimeError:
        return False
    return timm.is_model(timm_name.partition(".")[0])


def _headers() -> dict[str, str]:
    """Return the user's token, if any, as a header; the hub library would send a request first."""
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    return {"authorization": f"Bearer {token}"} if token else {}


def _repository(timm_name: str) -> str | None:
    """Return the hub's repository of a timm model, or None when it has none."""
    import timm

    config = timm.get_pretrained_cfg(timm_name) if is_known(timm_name) else None
    repo = config.hf_hub_id if config else None
    return f"timm/{timm_name}" if repo == "timm/" else repo
