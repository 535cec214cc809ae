"""Clips elsewhere: http and https by httpx, all else by fsspec."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from bavos_core.errors import InputError
from bavos_io.download import direct_address, shown

_SECONDS = 30.0  # for which a server may stay silent
_MAY_PASS = (408, 425, 429)  # answers that tell of no bad address, beside those from 500


def version(url: str) -> str | None:
    """Return the server's word for this version of a file, if it has one.

    Raise InputError for a file that is not there, OSError if that cannot be told for now.
    """
    if _of_web(url):
        with _answer(url) as response:
            tag, changed = map(response.headers.get, ("ETag", "Last-Modified"))
            return tag or (changed and f"{changed} {response.headers.get('Content-Length')}")
    with _existing(url):
        files, path = file_system(url)
        return str(files.ukey(path))


def download(url: str, path: Path) -> None:
    """Copy a file to a path. Raise as `version` does."""
    if _of_web(url):
        with _answer(url) as response, path.open("wb") as file:
            for chunk in response.iter_bytes():  # raises when the body ends too early
                file.write(chunk)
        return
    with _existing(url):
        files, there = file_system(url)
        files.get_file(there, str(path))


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL and the path in it.

    Raise InputError if fsspec, or its package for this kind of URL, is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise InputError('fsspec is not installed; run pip install "bavos[batch]".') from error
    options = {"auto_mkdir": True} if url.startswith(("file:", "local:")) else {}
    try:
        return url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise InputError(f"{shown(url)} cannot be opened: {error}.") from error


def _of_web(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https")


@contextmanager
def _answer(url: str) -> Iterator[httpx.Response]:
    """Yield a server's answer, whose body is still to be read."""
    name = shown(url)
    try:
        with httpx.stream(
            "GET", direct_address(url), follow_redirects=True, timeout=_SECONDS
        ) as response:
            response.raise_for_status()
            yield response
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        answer = f"{name} answered {status} {error.response.reason_phrase}".strip()
        if status >= 500 or status in _MAY_PASS:
            raise OSError(None, answer) from error
        raise InputError(f"{answer}; check the address.") from error
    except httpx.InvalidURL as error:
        raise InputError(f"{name} is not a valid address; check it.") from error
    except httpx.HTTPError as error:
        raise OSError(None, f"{name} could not be downloaded: {error}") from error


@contextmanager
def _existing(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"There is no file {shown(url)}; check the address.") from error
