"""Weights from the model hub: the local cache, and downloads that give up on a silent hub."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
from huggingface_hub import (
    constants,
    get_token,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)  # fmt: skip

from bavos_io.download import KEEP_SECONDS

ANSWER_SECONDS = 3.0  # within which the hub must answer, name resolution included
_FILES = ("model.safetensors", "pytorch_model.bin")


def cached_weights(timm_name: str) -> Path | None:
    """Return the weights of a timm model in the local cache, or None. Never uses the network."""
    repo = _repository(timm_name)
    found = (try_to_load_from_cache(repo, name) for name in _FILES) if repo else ()
    return next((Path(path) for path in found if isinstance(path, str)), None)


def fetch(timm_name: str, *, wait: bool = True) -> Path | None:
    """Return the weights of a timm model from the cache or else the hub, or None.

    A silent hub is waited for at most three seconds; one that failed is not asked for a minute.
    wait: whether to wait for the download; if not, it goes on in the background.
    """
    path, repo = cached_weights(timm_name), _repository(timm_name)
    if path or repo is None or constants.HF_HUB_OFFLINE:
        return path
    download = _download(repo)
    if wait:
        download.answered.wait(max(0.0, download.deadline - time.monotonic()))
        if download.answers:
            download.join()
    return cached_weights(timm_name)


class _Download(threading.Thread):
    """A download of a repository's weights, begun only if the hub answers in time.

    A thread of its own asks, since a silent name server blocks for longer than any HTTP timeout.
    """

    def __init__(self, repo: str):
        super().__init__(daemon=True)
        self.repo = repo
        self.deadline = time.monotonic() + ANSWER_SECONDS
        self.answers = False  # whether the hub sent the repository's configuration in time
        self.answered = threading.Event()  # or failed to
        self.ended = 0.0  # when, on the monotonic clock

    def run(self) -> None:
        """Ask for the repository's configuration, then download the first file of weights."""
        with suppress(Exception):  # every library involved has its own errors; all mean no
            token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
            httpx.get(
                hf_hub_url(self.repo, "config.json"),
                headers={"authorization": f"Bearer {token}"} if token else {},
                follow_redirects=True,
                timeout=ANSWER_SECONDS,
            ).raise_for_status()
            self.answers = time.monotonic() <= self.deadline
        self.answered.set()
        for name in _FILES if self.answers else ():
            with suppress(Exception):
                hf_hub_download(self.repo, name)
                break
        self.ended = time.monotonic()


_downloads: dict[str, _Download] = {}
_lock = threading.Lock()


def _download(repo: str) -> _Download:
    """Return the running download of a repository, one that has just ended, or a new one."""
    with _lock:
        last = _downloads.get(repo)
        if last and (last.is_alive() or time.monotonic() < last.ended + KEEP_SECONDS):
            return last
        _downloads[repo] = _Download(repo)
        _downloads[repo].start()
        return _downloads[repo]


def is_known(timm_name: str) -> bool:
    """Return whether timm has such a model, with such weights if the name has a tag."""
    import timm

    try:
        timm.get_pretrained_cfg(timm_name)
    except RuntimeError:
        return False
    return timm.is_model(timm_name.partition(".")[0])


def _repository(timm_name: str) -> str | None:
    """Return the hub's repository of a timm model, or None when it has none."""
    import timm

    config = timm.get_pretrained_cfg(timm_name) if is_known(timm_name) else None
    repo = config.hf_hub_id if config else None
    return f"timm/{timm_name}" if repo == "timm/" else repo
