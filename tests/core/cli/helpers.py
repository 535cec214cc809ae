"""Runs of the command line, and looks at what they write."""

import os
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

from bavos_core import cli

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "assets" / "examples" / "orbit.mp4"
FRAMES = 40  # of the example, each 432×240
FILES = {
    "overlay.mp4", "masks", "masks.json", "labels.npz",
    "hierarchy.json", "hierarchy.svg", "summary.json", "bavos.json",
}  # fmt: skip
QUICK = ("--backbone", "descriptors", "--frames", "3", "--size", "64x96")


def bavos(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m bavos_core …` in a process of its own, without network."""
    return subprocess.run(
        [sys.executable, "-m", "bavos_core", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def run(*arguments: object) -> int:
    """The same in this process; the exit status."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return stopped.code


def shape_of(video: Path) -> tuple[int, int, int]:
    """Frames, height and width of a video, decoded with nothing of ours."""
    stream = imageio_ffmpeg.read_frames(str(video), output_params=["-fps_mode", "passthrough"])
    width, height = next(stream)["size"]
    return sum(1 for _ in stream), height, width


def masks_of(folder: Path) -> dict[str, np.ndarray]:
    """All PNG masks by name, after a look at their format."""
    found = {}
    for path in (folder / "masks").iterdir():
        with Image.open(path) as picture:
            assert (picture.format, picture.mode) == ("PNG", "P")
            found[path.name] = np.asarray(picture)
    return found


def everything_below(folder: Path) -> dict[str, int]:
    """Names and sizes of all files and folders, to see whether anything has changed."""
    return {str(path): path.is_file() and path.stat().st_size for path in folder.rglob("*")}


def check_complaint(text: str) -> str:
    """One line for a person, and no traceback."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("bavos: ") or lines[0].startswith("bavos ")
    assert "Traceback" not in text
    return lines[0]
