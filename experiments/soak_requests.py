"""What the load test `soak` asks of a server, and fingerprints of the answers."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from gradio_client import Client, handle_file

from bavos_io.writing import VideoWriter

FRAMES, PATCHES = 4, 100


def write_clip(path: Path, seed: int) -> None:
    """Write six frames of 160×96: a box that crosses a background, both made from the seed."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 120, (6, 10, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    colour = rng.integers(130, 256, 3)
    with VideoWriter(path, size=(96, 160)) as video:
        for i in range(6):
            frame = ground.copy()
            frame[24:72, 8 + 14 * i : 56 + 14 * i] = colour
            video.write(frame, i / 3, (i + 1) / 3)


def fingerprint(path: str | Path) -> str:
    """Return a hash of a file's contents."""
    return hashlib.sha256(b"".join(parts(Path(path).read_bytes()))).hexdigest()


def parts(content: bytes) -> Iterator[bytes]:
    """Yield the bytes of a file; of a zip, those of its members, since a zip holds times of day.

    Leave out two members: one holds timings, the other a header in random order.
    """
    if not content.startswith(b"PK"):
        yield content
        return
    with zipfile.ZipFile(BytesIO(content)) as archive:
        for name in sorted(set(archive.namelist()) - {"summary.json", "correlator.safetensors"}):
            yield name.encode()
            yield from parts(archive.read(name))


def ask(client: Client, clip: Path) -> tuple[str, str]:
    """Segment a clip; return the id of the result and a fingerprint of it."""
    name, frames, patches = "descriptors", FRAMES, PATCHES
    summary, overlay = client.predict(handle_file(clip), name, frames, patches, api_name="/segment")
    kept = {name: summary[name] for name in ("clusters", "grid", "tau", "background")}
    return summary["result"], json.dumps(kept) + fingerprint(overlay)


LOOKS: dict[str, Callable[[Client, str], str]] = {
    "cut": lambda client, result: _cut(*client.predict(result, 3, 1, api_name="/cut")),
    "attend": lambda client, result: _attend(
        *client.predict(result, 1, 40, 60, -1, "key-similarity", api_name="/attend")
    ),
    "export": lambda client, result: fingerprint(client.predict(result, 3, api_name="/export")[0]),
}


def _cut(numbers: dict[str, Any], picture: str) -> str:
    return json.dumps(numbers) + fingerprint(picture)


def _attend(row: dict[str, Any], picture: str, video: str) -> str:
    return json.dumps(row) + fingerprint(picture) + fingerprint(video)


def answers(client: Client, clip: Path) -> dict[str, str]:
    """Return the answers to all requests about a clip, on an idle server."""
    result, summary = ask(client, clip)
    return {"segment": summary, **{what: look(client, result) for what, look in LOOKS.items()}}


def bad_files(folder: Path, clip: Path) -> list[Path]:
    """Write files that are not clips."""
    contents = {
        "empty.mp4": b"",
        "notes.mp4": b"Bread, milk, a tripod.\n" * 40,
        "half.mp4": clip.read_bytes()[:200],
        "list.m3u8": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "noise.zip": b"PK\3\4" + os.urandom(300),
        "-y \xe9 '\".png": b"\x89PNG\r\n\x1a\n" + os.urandom(60),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]
