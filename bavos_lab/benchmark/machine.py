"""A description of the machine, kept with the figures."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

from bavos_core.settings import bf16_units


def machine(device: str) -> dict[str, Any]:
    """Return the machine and the versions, as JSON-ready values."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "bfloat16 units": bf16_units(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
