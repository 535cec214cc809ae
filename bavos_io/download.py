"""Weights from the network: downloaded once, kept in the cache folder of torch.hub (TORCH_HOME).

Written on httpx rather than pooch, which neither hides secrets of addresses in its errors nor
checks the length of a body, and needs requests.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import httpx
import torch
from filelock import FileLock

from .clip import Share
from .errors import InputError
from .weights_format import weights_format

FileOrUrl = Path | str  # a Path would collapse the two slashes of a URL

KEEP_SECONDS = 60.0  # after a failure, for which the same server or address is not asked again
_SECONDS = 30.0  # for which a server may stay silent
_DRIVE = "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t"


def file_or_url(text: str) -> FileOrUrl:
    """Return a URL as it is, and anything else as a path."""
    return text if is_url(text) else Path(text)


def local_file(source: FileOrUrl, *, progress: Share | None = None) -> Path:
    """Return a path as it is, and for a URL the path of its copy in the cache.

    progress: called with the share done, 0 … 1, if the server tells the size of the file.
    Raise InputError for a URL from which no weights file can be downloaded; nothing is kept then,
    and for a minute the address is not asked again, since others may be waiting.
    """
    if isinstance(source, Path) or not is_url(source):
        return Path(source)
    _check_url(source)
    address, url = shown(source), direct_address(source)
    folder = Path(torch.hub.get_dir()) / "bavos"
    path = folder / hashlib.sha256(url.encode()).hexdigest()[:32] / _file_name(url)
    try:
        if not path.is_file():
            _fetch(url, folder, path, address, progress)
    except httpx.HTTPStatusError as error:
        answer = f"{error.response.status_code} {error.response.reason_phrase}".strip()
        raise InputError(f"{address} answered {answer}; check the address.") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise InputError(
            f"{address} could not be downloaded ({_reason(error)}); check the address and the "
            "network, or give a local file."
        ) from error
    except OSError as error:
        reason = error.strerror or "no reason given"
        raise InputError(
            f"{path.name} could not be saved in the folder of downloads ({reason}); "
            "make room there or set TORCH_HOME to another folder."
        ) from error
    return path


def direct_address(url: str) -> str:
    """Return the address of the file itself, which differs for share links of Google Drive."""
    drive_id = _drive_id(url)
    return _DRIVE.format(drive_id) if drive_id else url


def is_url(text: str) -> bool:
    """Return whether a text is a URL rather than a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def shown(source: FileOrUrl) -> str:
    """Return a source as anybody may see it.

    That is the name of a file without its folders, or an address without user, password, query and
    fragment, which may hold secrets. Of an address that is none, only the scheme is shown.
    """
    text = str(source)
    if not is_url(text):
        return Path(text).name
    try:
        parts = urlsplit(text)
        _ = parts.port  # a ValueError if part of a password stands in its place
    except ValueError:
        return f"{text.partition(':')[0]}://…"
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def _as_shown(record: logging.LogRecord) -> bool:
    """Let a line of httpx's log pass, which names the address of every request, without secrets."""
    if isinstance(record.args, tuple):
        shorter = (shown(str(arg)) if isinstance(arg, httpx.URL) else arg for arg in record.args)
        record.args = tuple(shorter)
    return True


logging.getLogger("httpx").addFilter(_as_shown)


def _check_url(url: str) -> None:
    """Raise InputError for an address that cannot be downloaded from."""
    try:
        parts = urlsplit(url)
        valid = parts.port is None or parts.port > 0
    except ValueError:
        valid = False
    if not valid:
        raise InputError(f"{shown(url)} is not a valid address; check it.")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"{shown(url)} cannot be downloaded; give an http or https address or a path."
        )


def _reason(error: Exception) -> str:
    """Return why a download failed; the text of InvalidURL may quote the address."""
    invalid = isinstance(error, httpx.InvalidURL)
    return "the address is not valid" if invalid else str(error) or type(error).__name__


def _drive_id(url: str) -> str | None:
    if urlsplit(url).hostname not in ("drive.google.com", "drive.usercontent.google.com"):
        return None
    found = re.search(r"(?:/d/|[?&]id=)([\w-]+)", url)
    return found and found[1]


def _file_name(url: str) -> str:
    """Return the last part of the address as a safe file name that keeps its suffix."""
    name = _drive_id(url) or urlsplit(url).path.rpartition("/")[2]
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[-100:].strip(".") or "weights"


_failures: dict[str, tuple[float, Exception]] = {}  # address → monotonic time, reason


def _fetch(url: str, folder: Path, path: Path, address: str, progress: Share | None) -> None:
    """Download a file to `path`. A second caller waits for the first instead of downloading too.

    What failed within the last minute fails again at once. That of a full disk is not remembered.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"), TemporaryDirectory(dir=folder) as temporary:
        if path.is_file():
            return
        if url in _failures and time.monotonic() < _failures[url][0] + KEEP_SECONDS:
            raise _failures[url][1].with_traceback(None)
        part = Path(temporary) / path.name
        try:
            _download(url, part, progress)
            if weights_format(part) is None:
                raise InputError(
                    f"{address} sends no weights file but what looks like a web page; "
                    "give the address of the file itself."
                )
        except (httpx.HTTPError, httpx.InvalidURL, InputError) as error:
            _failures[url] = time.monotonic(), error
            raise
        path.parent.mkdir(exist_ok=True)
        part.replace(path)


def _download(url: str, path: Path, progress: Share | None) -> None:
    with (
        httpx.stream("GET", url, follow_redirects=True, timeout=_SECONDS) as response,
        path.open("wb") as file,
    ):
        response.raise_for_status()
        size = int(response.headers.get("Content-Length", 0))
        for chunk in response.iter_bytes():  # raises when the body ends too early
            file.write(chunk)
            if progress and size:
                progress(response.num_bytes_downloaded / size)
