"""All limits and options of the page, set by environment variables."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

from bavos_core import InputError, Limits, backbones
from bavos_core.backbones import AUTO
from bavos_core.backbones.hub import is_known
from bavos_core.compat import current_source
from bavos_core.settings import SOURCES
from bavos_io.download import FileOrUrl, file_or_url
from bavos_io.errors import echo
from bavos_io.memory import usable_bytes

_MAY_BE_ZERO = ("BAVOS_WARM_UP", "BAVOS_PROXIES")


def _source(name: str) -> FileOrUrl | None:
    return file_or_url(os.environ[name]) if os.environ.get(name) else None


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "").strip() or str(default)
    if not text.isascii() or not text.isdigit() or (int(text) == 0 and name not in _MAY_BE_ZERO):
        raise InputError(f"{name} is {text!r}; give a whole number above 0, or leave it unset.")
    return int(text)


def check_start(settings: DemoSettings) -> None:
    """Raise InputError for files, names and folders of the environment that cannot be used."""
    name = backbones.canonical(settings.backbone)
    if name not in backbones.names() and not is_known(name):
        raise InputError(
            f"BAVOS_BACKBONE is {echo(name)}, which is unknown; choose one of "
            f"{', '.join(backbones.names())}, or a ViT of timm."
        )
    files = {"BAVOS_WEIGHTS": settings.weights, "BAVOS_CORRELATOR": settings.correlator}
    named = {AUTO, *SOURCES, None}
    for variable, source in files.items():
        file = source if source in named else file_or_url(str(source))
        if isinstance(file, Path) and not _readable(file):
            raise InputError(f"{variable} names {echo(file.name)}, which cannot be read; check it.")
    folder = os.environ.get("TMPDIR") or tempfile.gettempdir()
    if not _usable(Path(folder)):
        raise InputError(
            "TMPDIR is no folder that can be read and written; set it to one that can."
        )


def _readable(file: Path) -> bool:
    try:
        with file.open("rb"):
            return True
    except OSError:
        return False


def _usable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return isinstance(os.listdir(folder), list)
    except OSError:
        return False


@dataclass(frozen=True)
class DemoSettings:
    """One field per environment variable."""

    backbone: str = "auto"  # BAVOS_BACKBONE: selected when the page opens
    weights: FileOrUrl | None = None  # BAVOS_WEIGHTS: weights of that backbone, file or URL
    correlator: str = "auto"  # BAVOS_CORRELATOR: its trained correlator, file or URL
    max_upload_mib: int = 200  # BAVOS_MAX_UPLOAD_MIB
    max_seconds: int = 600  # BAVOS_MAX_SECONDS: of a clip
    max_clip_frames: int = 36_000  # BAVOS_MAX_CLIP_FRAMES: of a clip
    max_megapixels: int = 9  # BAVOS_MAX_MEGAPIXELS: of one frame; 4K has 8.8
    max_zip_members: int = 40_000  # BAVOS_MAX_ZIP_MEMBERS: files in a zip
    max_zip_ratio: int = 200  # BAVOS_MAX_ZIP_RATIO: unpacked size to packed size
    decode_seconds: int = 120  # BAVOS_DECODE_SECONDS: longest wait for the decoder in one pass
    decode_mib: int = 4096  # BAVOS_DECODE_MIB: memory of the decoder
    max_frames: int = 96  # BAVOS_MAX_FRAMES: analysed in one run
    max_patches: int = 4096  # BAVOS_MAX_PATCHES: per frame
    max_steps: int = 500  # BAVOS_MAX_STEPS: of training on a clip
    memory_mib: int = usable_bytes() // 2**21  # BAVOS_MEMORY_MIB: of a run; half of what there is
    run_seconds: int = 600  # BAVOS_RUN_SECONDS: of a run, as far as can be told before
    store_mib: int = 2048  # BAVOS_STORE_MIB: results and clips; the oldest are deleted first
    disk_mib: int = 8192  # BAVOS_DISK_MIB: all files together, those that are being uploaded too
    keep_seconds: int = 3600  # BAVOS_KEEP_SECONDS: how long files are kept
    grace_seconds: int = 600  # BAVOS_GRACE_SECONDS: how long after the visitor has left
    queue_size: int = 20  # BAVOS_QUEUE_SIZE: longest queue
    proxies: int = 0  # BAVOS_PROXIES: in front of the server; 1 on a Space
    hosts: str = ""  # BAVOS_HOSTS: names under which it answers, with commas between them
    warm_up: int = 1  # BAVOS_WARM_UP: 1 to analyse the examples when the server starts
    preview_side: int = 480  # BAVOS_PREVIEW_SIDE: longer side of the videos on the page, pixels

    @property
    def limits(self) -> Limits:
        """The limits of an uploaded clip."""
        return Limits(
            file_mib=self.max_upload_mib,
            seconds=self.max_seconds,
            frames=self.max_clip_frames,
            pixels=self.max_megapixels * 1_000_000,
            zip_members=self.max_zip_members,
            zip_ratio=self.max_zip_ratio,
            decode_seconds=self.decode_seconds,
            decode_mib=self.decode_mib,
        )

    @classmethod
    def from_environment(cls) -> DemoSettings:
        """Return the settings given by the BAVOS_… variables that are set.

        Raise InputError for a value that is not a positive integer where one is needed.
        """
        env = os.environ
        behind = {"proxies": 1} if env.get("SPACE_ID") else {}
        return cls(
            backbone=env.get("BAVOS_BACKBONE", cls.backbone),
            weights=_source("BAVOS_WEIGHTS"),
            correlator=current_source(env.get("BAVOS_CORRELATOR", cls.correlator)),
            hosts=env.get("BAVOS_HOSTS", cls.hosts),
            **{
                name: _number(f"BAVOS_{name.upper()}", behind.get(name, getattr(cls, name)))
                for name, kind in get_type_hints(cls).items()
                if kind is int
            },
        )
