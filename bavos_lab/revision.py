"""The commit of this source tree."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path


@functools.lru_cache(maxsize=1)
def git_revision() -> str:
    """Return the commit of the source tree that this code runs from, "" if it is installed."""
    root = Path(__file__).resolve().parents[1]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return ""
    done = subprocess.run([git, "-C", str(root), "rev-parse", "HEAD"], capture_output=True)
    return done.stdout.decode().strip()
