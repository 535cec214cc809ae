"""All limits and knobs of the page, from the environment, with defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass

from bavos_core.download import FileOrUrl, file_or_url


def _source(name: str) -> FileOrUrl | None:
    return file_or_url(os.environ[name]) if os.environ.get(name) else None


@dataclass(frozen=True)
class DemoSettings:
    """One field per variable; each names the variable that sets it."""

    backbone: str = "dino-vits8"  # BAVOS_BACKBONE: chosen when the page opens
    weights: FileOrUrl | None = None  # BAVOS_WEIGHTS: weights of that backbone, file or URL
    correlator: str = "auto"  # BAVOS_CORRELATOR: its trained block, file or URL
    max_upload_mib: int = 200  # BAVOS_MAX_UPLOAD_MIB
    max_seconds: int = 600  # BAVOS_MAX_SECONDS: of a clip
    max_frames: int = 96  # BAVOS_MAX_FRAMES: analysed in one run
    max_patches: int = 4096  # BAVOS_MAX_PATCHES: of a frame
    max_steps: int = 500  # BAVOS_MAX_STEPS: of adapting to a clip
    stored_results: int = 8  # BAVOS_STORED_RESULTS: the oldest goes first
    keep_seconds: int = 3600  # BAVOS_KEEP_SECONDS: how long files are kept
    queue_size: int = 20  # BAVOS_QUEUE_SIZE: people waiting at most
    warm_up: int = 1  # BAVOS_WARM_UP: 1 to analyse the examples when the server starts
    preview_side: int = 480  # BAVOS_PREVIEW_SIDE: longer side of the videos on the page, pixels

    @classmethod
    def from_environment(cls) -> DemoSettings:
        """Settings with every BAVOS_… variable that is set in its place."""
        env = os.environ
        return cls(
            backbone=env.get("BAVOS_BACKBONE", cls.backbone),
            weights=_source("BAVOS_WEIGHTS"),
            correlator=env.get("BAVOS_CORRELATOR", cls.correlator),
            **{
                name: int(env.get(f"BAVOS_{name.upper()}", getattr(cls, name)))
                for name in (
                    "max_upload_mib",
                    "max_seconds",
                    "max_frames",
                    "max_patches",
                    "max_steps",
                    "stored_results",
                    "keep_seconds",
                    "queue_size",
                    "warm_up",
                    "preview_side",
                )
            },
        )
