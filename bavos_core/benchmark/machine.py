"""What figures were made on."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch


def machine(device: str) -> dict[str, Any]:
    """What the figures were made on."""
    ask = getattr(torch.cpu, "get_capabilities", None)  # older versions of torch lack it
    capabilities = ask() if ask else {}
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "bfloat16 units": [k for k in ("amx_bf16", "avx512_bf16") if capabilities.get(k)],
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
