"""Uploads: as Gradio's clients send them, within the limits of a file, an address and the disk."""

from __future__ import annotations

import json
import logging
import re
import secrets
import shutil
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
from anyio.to_thread import run_sync
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from bavos_core import InputError
from bavos_io.files import atomic_write

from .. import strings
from ..disk import FULL
from ..store import Store
from .allowed import API
from .bodies import Patient, announced, drain
from .rates import counted
from .said import NO_FILES, SHARE_USED, TOO_MANY_UPLOADS, Refusal, file_too_large

_AROUND = 64 * 1024  # bytes around the files of a request
_FIELD = 4096  # bytes of a field that is no file
_MOST_FILES = 10
_NOT_IN_NAMES = re.compile(r"[^\w.,() -]")
_FILENAME = re.compile(rb'filename="([^"\r\n]*)"')
_LONGEST_NAME = 60  # characters
_SHARE = 0.25  # of the disk, for the uploads of one address
_MOST_AT_ONCE = 3  # uploads of one address
_MOST_KEPT = 200  # files of one address
_TOGETHER = 0.5  # of the disk, for all uploads; the rest is for results
_LOOK = 0.1  # seconds between looks how far an upload is
_PATIENCE = 3.0  # seconds until an upload must have begun
_WAIT = 10.0  # seconds until another upload of an address must have ended

log = logging.getLogger(__name__)


class Uploads:
    """Receives files into the cache of a store, each into a folder that nobody can guess."""

    def __init__(self, store: Store, most_bytes: int):
        self._store = store
        self._most_bytes = most_bytes
        self._files: defaultdict[str, dict[Path, int]] = defaultdict(dict)  # of each address
        self._coming: Counter[str] = Counter()  # bytes, of each address
        self._under_way: Counter[str] = Counter()  # uploads, of each address
        self._progress: dict[str, _Progress] = {}

    @property
    def routes(self) -> list[Route]:
        """The routes, which must come before Gradio's."""
        return [
            Route(f"{API}/upload", self.receive, methods=["POST"]),
            Route(f"{API}/upload_progress", self.progress),
        ]

    async def receive(self, request: Request) -> Response:
        """Receive files and answer with their paths; whatever fails leaves nothing."""
        address = request.client.host if request.client else ""
        self._forget_gone()
        nbytes = announced(request.headers)
        if nbytes < 0:  # in chunks: as much as may come
            nbytes = max(1, min(self._most_bytes + _AROUND, self._left(address)))
        try:
            with ExitStack() as stack:
                await self._admit(stack, request, address, nbytes)
                paths = await self._received(request, nbytes, stack)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody hears it
        except InputError as error:
            await drain(request.receive)
            return PlainTextResponse(str(error), 507, {"Connection": "close"})
        except OSError as error:
            log.exception("An upload failed")
            await drain(request.receive)
            return PlainTextResponse(strings.failure(error), 507, {"Connection": "close"})
        self._files[address] |= {path: path.stat().st_size for path in paths}
        return JSONResponse([str(path) for path in paths])

    async def progress(self, request: Request) -> Response:
        """Tell how far an upload is, for the bar of the page."""
        found = None
        with anyio.move_on_after(_PATIENCE):
            while not (found := self._progress.get(request.query_params.get("upload_id", ""))):
                await anyio.sleep(_LOOK)
        if found is None:  # it was over before the page asked
            found = _Progress()
            found.set_done()
        return StreamingResponse(found.told(), media_type="text/event-stream")

    async def _admit(self, stack: ExitStack, request: Request, address: str, nbytes: int) -> None:
        """Count an upload while the stack is open; raise if it is too large, or does not fit."""
        if nbytes > self._most_bytes + _AROUND:
            await drain(request.receive)
            raise Refusal(413, file_too_large(self._most_bytes), close=True)
        with anyio.move_on_after(_WAIT) as patience:
            while self._under_way[address] >= _MOST_AT_ONCE:
                await anyio.sleep(_LOOK)
        if patience.cancelled_caught:
            await drain(request.receive)
            raise Refusal(429, TOO_MANY_UPLOADS, wait=5, close=True)
        if nbytes > self._left(address) or len(self._files.get(address, ())) >= _MOST_KEPT:
            raise InputError(SHARE_USED)
        if self._all() + nbytes > _TOGETHER * self._store.disk.most_bytes:
            raise InputError(FULL)
        stack.enter_context(counted(self._coming, address, nbytes))
        stack.enter_context(counted(self._under_way, address))
        await run_sync(stack.enter_context, self._store.disk.announced(nbytes))

    def _forget_gone(self) -> None:
        """Forget the files that were deleted meanwhile."""
        for address, files in tuple(self._files.items()):
            for path in [path for path in files if not path.exists()]:
                del files[path]
            if not files:
                del self._files[address]

    def _left(self, address: str) -> int:
        """Return the bytes that an address may still send: its share without what it has there."""
        used = sum(self._files.get(address, {}).values()) + self._coming[address]
        return int(_SHARE * self._store.disk.most_bytes) - used

    def _all(self) -> int:
        """Return the bytes of all uploads that are there, or are being sent."""
        return sum(sum(files.values()) for files in self._files.values()) + self._coming.total()

    async def _received(self, request: Request, nbytes: int, stack: ExitStack) -> list[Path]:
        """Return the files of a request, once all of them are there.

        Until then they have no name on the disk, so whatever ends a request leaves nothing of them.
        """
        progress = stack.enter_context(self._followed(request.query_params.get("upload_id", "")))
        chunks = _chunks(Patient(request.receive), nbytes, progress)
        parser = MultiPartParser(
            request.headers,
            chunks,
            max_files=_MOST_FILES,
            max_fields=_MOST_FILES,
            max_part_size=_FIELD,
        )
        try:
            form = await parser.parse()
        except (MultiPartException, ValueError, LookupError) as error:
            raise Refusal(400, NO_FILES) from error
        try:
            files = [file for file in form.getlist("files") if isinstance(file, UploadFile)]
            if not files or len(files) < len(form.getlist("files")):
                raise Refusal(400, NO_FILES)
            return [await run_sync(self._kept, file) for file in files]
        finally:
            await form.close()

    def _kept(self, file: UploadFile) -> Path:
        """Copy a file that is complete into the cache; return where it is."""
        name = _NOT_IN_NAMES.sub("", Path(file.filename or "").name)[-_LONGEST_NAME:].strip(". ")
        self._store.make_root()
        target = self._store.cache / secrets.token_hex(20) / (name or "upload")
        target.parent.mkdir(parents=True)
        with atomic_write(target) as part, part.open("wb") as copy:
            shutil.copyfileobj(file.file, copy)
        return target

    @contextmanager
    def _followed(self, upload: str) -> Iterator[_Progress | None]:
        """Tell how far an upload is while the block runs, if it has an id."""
        if not upload:
            yield None
            return
        progress = self._progress[upload] = _Progress()
        try:
            yield progress
        finally:
            progress.set_done()
            self._progress.pop(upload, None)


class _Progress:
    """The bytes of one upload since somebody asked last."""

    def __init__(self) -> None:
        self._name, self._bytes, self._done = "", 0, False

    def add(self, chunk: bytes) -> None:
        """Count bytes that came; the first hold the name under which the page knows the file."""
        if not self._name and (found := _FILENAME.search(chunk)):
            self._name = found[1].decode(errors="replace")
        self._bytes += len(chunk)

    def set_done(self) -> None:
        """Note that nothing more comes."""
        self._done = True

    async def told(self) -> AsyncIterator[str]:
        """Yield events until the upload is done."""
        while not self._done:
            if self._bytes:
                update = {"msg": "update", "orig_name": self._name, "chunk_size": self._bytes}
                self._bytes = 0
                yield f"data: {json.dumps(update)}\n\n"
            await anyio.sleep(_LOOK)
        yield f"data: {json.dumps({'msg': 'done'})}\n\n"


async def _chunks(
    patient: Patient, most: int, progress: _Progress | None
) -> AsyncGenerator[bytes, None]:
    """Yield the body of a request; raise if the client goes, is too slow, or sends too much."""
    more = True
    while more:
        message = await patient()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if patient.got > most:
            await drain(patient.receive)
            raise Refusal(413, file_too_large(most), close=True)
        more, body = message.get("more_body", False), message.get("body", b"")
        if progress:
            progress.add(body)
        yield body
