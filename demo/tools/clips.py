"""Clips that a tool is given: an upload to this server, an example, or the bytes themselves."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bavos_core import InputError
from bavos_io.errors import echo

from ..examples import example_path, listed
from ..gateway.allowed import FILE, within
from ..service import Service

_LONGEST = 4096  # characters of a path or address
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(;[\w=.+-]+)*;base64,", re.ASCII)
UPLOAD = "curl -F files=@clip.mp4 {address}/gradio_api/upload"


@contextmanager
def given_clip(value: object, service: Service, address: str) -> Iterator[Path]:
    """Yield the file of a clip; one that was sent as bytes is deleted after the block.

    address: of this server, as the client sees it. Raise InputError for anything else.
    """
    if not isinstance(value, str) or not value:
        raise _refused(value, address)
    if len(value) > _LONGEST or value.startswith("data:"):
        with _written(value, service) as path:
            yield path
        return
    if value in [example["name"] for example in listed()]:
        yield example_path(value)
        return
    upload = _uploaded(value, service.store.cache, address)
    if upload is None:
        raise _refused(value, address)
    yield upload


def _uploaded(value: str, cache: Path, address: str) -> Path | None:
    """Return a file of this server's uploads by its path or address, None for anything else."""
    if "://" in value:
        value = _path_in(value, address)
    there = within(value, [cache.resolve()]) and Path(value).is_file()
    return Path(value).resolve() if there else None


def _path_in(url: str, address: str) -> str:
    """Return the path that an address of this server names; "" for one of another server."""
    try:
        asked, own = urlsplit(url), urlsplit(address)
    except ValueError:
        return ""
    here = (asked.scheme in ("http", "https")) and asked.netloc == own.netloc
    before, found, path = asked.path.partition(FILE)
    return unquote(path) if here and found and before == own.path.rstrip("/") else ""


@contextmanager
def _written(value: str, service: Service) -> Iterator[Path]:
    head = _DATA.match(value)
    content = "".join(value[head.end() if head else 0 :].split())
    most = service.settings.max_upload_mib * 2**20
    if len(content) * 3 // 4 > most:
        raise InputError(
            f"clip has more than {service.settings.max_upload_mib} MiB; upload a shorter one."
        )
    try:
        clip = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(
            f"clip is {echo(value)}; give an upload, the name of an example, or base64."
        ) from error
    folder = service.store.cache / secrets.token_hex(16)
    service.store.disk.make_room(len(clip))
    folder.mkdir(parents=True)
    try:
        (folder / "clip").write_bytes(clip)
        yield folder / "clip"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refused(value: object, address: str) -> InputError:
    names = ", ".join(example["name"] for example in listed())
    upload = UPLOAD.format(address=address)
    return InputError(
        f"clip is {echo(value)}; upload it with `{upload}` and give the path that this prints, or "
        f"name an example: {names}."
    )
