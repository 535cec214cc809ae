"""Weights from the network: fetched once, kept in the cache folder of torch.hub.

TORCH_HOME moves that folder, as it does for torch. A file that is there is never fetched again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import httpx
import torch
from filelock import FileLock

from .errors import InputError
from .files import weights_format

FileOrUrl = Path | str  # a str may be either; a Path would lose one slash of a URL's two

_SECONDS = 30.0  # how long a server may stay silent
_DRIVE = "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t"


def file_or_url(text: str) -> FileOrUrl:
    """A URL as it stands, anything else as a path."""
    return text if _is_url(text) else Path(text)


def local_file(source: FileOrUrl, *, progress: Callable[[float], None] | None = None) -> Path:
    """The file itself; for a URL its copy in the cache, fetched when it is not there yet.

    progress: called with the share done, where the server says how large the file is.
    Raises InputError for a URL that gives no weights file; nothing of it is left behind then.
    """
    if isinstance(source, Path) or not _is_url(source):
        return Path(source)
    shown = _shown(source)
    url = direct_address(source)
    folder = Path(torch.hub.get_dir()) / "bavos"
    path = folder / hashlib.sha256(url.encode()).hexdigest()[:32] / _file_name(url)
    try:
        if not path.is_file():
            _fetch(url, folder, path, shown, progress)
    except httpx.HTTPStatusError as error:
        answer = f"{error.response.status_code} {error.response.reason_phrase}".strip()
        raise InputError(f"{shown} answered {answer}; check the address.") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise InputError(
            f"{shown} could not be downloaded ({error}); check the address and the network, "
            "or give a local file."
        ) from error
    except OSError as error:
        reason = error.strerror or "no reason given"
        raise InputError(
            f"{path.name} could not be kept in {folder} ({reason}); "
            "make room there or set TORCH_HOME to another folder."
        ) from error
    return path


def direct_address(url: str) -> str:
    """The address that sends the file itself: another one for a share link of Google Drive."""
    drive_id = _drive_id(url)
    return _DRIVE.format(drive_id) if drive_id else url


def _is_url(text: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def _shown(url: str) -> str:
    """The address for messages, without user, password and query, which may hold secrets.

    Raises InputError when it is none that can be fetched.
    """
    try:
        parts = urlsplit(url)
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    except ValueError:
        raise InputError(f"{url!r} is no valid address; check it.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"{shown.geturl()} cannot be downloaded; give an http or https address or a path."
        )
    return shown.geturl()


def _drive_id(url: str) -> str | None:
    if urlsplit(url).hostname not in ("drive.google.com", "drive.usercontent.google.com"):
        return None
    found = re.search(r"(?:/d/|[?&]id=)([\w-]+)", url)
    return found and found[1]


def _file_name(url: str) -> str:
    """The last part of the address, safe as a name; its end is kept, for the suffix is there."""
    name = _drive_id(url) or urlsplit(url).path.rpartition("/")[2]
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[-100:].strip(".") or "weights"


def _fetch(
    url: str, folder: Path, path: Path, shown: str, progress: Callable[[float], None] | None
) -> None:
    """Bring a file to `path`; a second caller waits for the first instead of fetching it too."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"), TemporaryDirectory(dir=folder) as temporary:
        if path.is_file():
            return
        part = Path(temporary) / path.name
        _download(url, part, progress)
        if weights_format(part) is None:
            raise InputError(
                f"{shown} sends no weights file but, it seems, a web page; "
                "give the address of the file itself."
            )
        path.parent.mkdir(exist_ok=True)
        part.replace(path)


def _download(url: str, path: Path, progress: Callable[[float], None] | None) -> None:
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
