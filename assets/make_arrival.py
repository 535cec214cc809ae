"""Make the parts that the page's viewer shows on arrival: one example, analysed.

    python assets/make_arrival.py

They are served until a server has analysed the example itself, and then go unused. They must be
made anew when the example, the format of parts or the way they are made changes; a test tells.
"""

import hashlib
import json
import shutil
from pathlib import Path

from bavos_core import Settings, analyse, open_clip
from bavos_lab import scene
from demo.examples import ARRIVES, example_path
from demo.presets import PRESETS

OUT = Path(__file__).parent / "arrival"
BUDGETS = {"key-similarity": 500_000, "cross-frame": 900_000}  # bytes of a source


def main() -> None:
    """Write all parts and what they were made of."""
    clip, preset = open_clip(example_path(ARRIVES)), PRESETS["fast"]
    settings = Settings(
        backbone="bundled-vits14", frames=preset.frames, patches=preset.patches, device="cpu"
    )
    analysis = analyse(clip, settings)
    attention = {
        source: scene.attention_part(analysis, source, budget=budget)
        for source, budget in BUDGETS.items()
    }
    base = scene.base_part(analysis, attention)
    shutil.rmtree(OUT, ignore_errors=True)
    write("base", base)
    write("readings", scene.readings_part(analysis))
    for source, part in attention.items():
        write(f"attention/{source}", part)
    for index, part in scene.Scene(analysis).frames(clip):
        write(f"frame/{index}", part)
    about = {
        "example": ARRIVES,
        "sha256": hashlib.sha256(example_path(ARRIVES).read_bytes()).hexdigest(),
        "version": scene.unpack(base)[0]["version"],
    }
    (OUT / "arrival.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in OUT.rglob("*.*"))
    print(f"{len(list(OUT.rglob('*.gz')))} parts, {size / 1e6:.2f} MB")


def write(name: str, part: bytes) -> None:
    """Write a part under its name."""
    path = OUT / f"{name}.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(part)


if __name__ == "__main__":
    main()
