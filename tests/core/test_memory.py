"""How much memory there is, and errors that say that there is none."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bavos_core import InputError
from bavos_io.memory import NO_MEMORY, enough_memory, is_out_of_memory, usable_bytes

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30


def machine(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "gib"),
    [
        ({}, 16),
        ({"sys/fs/cgroup/memory.max": "max\n", "proc/self/cgroup": "0::/\n"}, 16),
        ({"sys/fs/cgroup/memory.max": f"{4 * GIB}\n", "proc/self/cgroup": "0::/\n"}, 4),
        ({"sys/fs/cgroup/a/memory.max": f"{3 * GIB}\n", "proc/self/cgroup": "0::/a/b\n"}, 3),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": str(2 * GIB)}, 2),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, 16),
        ({"sys/fs/cgroup/memory.max": "nonsense", "proc/self/cgroup": "nonsense"}, 16),
        ({"sys/fs/cgroup/memory.max": f"{64 * GIB}"}, 16),
    ],
)
def test_a_container_has_what_its_limit_allows(files, gib, tmp_path) -> None:
    installed = {"proc/meminfo": f"MemTotal:       {16 * GIB // 1024} kB\nMemFree: 1 kB\n"}
    assert usable_bytes(machine(tmp_path, {**installed, **files})) == gib * GIB


def test_without_proc_the_system_is_asked(tmp_path) -> None:
    assert usable_bytes(tmp_path) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert usable_bytes() > GIB / 4


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: bytearray(2**62),
        lambda: np.empty(2**60, np.uint8),
        lambda: torch.empty(2**60, dtype=torch.uint8),
    ],
    ids=["Python", "NumPy", "torch"],
)
def test_an_allocation_that_fails_is_one_sentence(allocate) -> None:
    with pytest.raises(InputError) as caught, enough_memory():
        allocate()
    assert str(caught.value) == NO_MEMORY


def test_other_errors_stay_what_they_are() -> None:
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried 1 GiB."))
    assert is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    for error in (RuntimeError("shapes differ"), OSError(errno.ENOSPC, "full"), ValueError("no")):
        assert not is_out_of_memory(error)
        with pytest.raises(type(error)), enough_memory():
            raise error


def test_the_command_line_says_in_one_line_that_memory_is_short(tmp_path) -> None:
    """A real limit: the process may have 1 GiB more than it has when it begins to work."""
    program = """
import resource, sys
from bavos_core import backbones
backbones.load("descriptors")
from bavos_core.cli import main
pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + 2**30
resource.setrlimit(resource.RLIMIT_AS, (most, most))
sys.exit(main(sys.argv[1:]))
"""
    clip = ROOT / "assets" / "examples" / "rolling-balls.mp4"
    options = ["--backbone", "descriptors", "--frames", "3", "--patches", "16000"]
    command = [sys.executable, "-c", program, "segment", str(clip), "--out", str(tmp_path / "o")]
    done = subprocess.run(
        [*command, *options],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (2, f"bavos: {NO_MEMORY}")
    assert not (tmp_path / "o").exists()
