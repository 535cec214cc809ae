"""The worst requests that a server accepts: their peak memory beside a run's share of it.

    BAVOS_MEMORY_MIB=3000 python -m experiments.worst_request --out worst_request.csv

Sizes, frames, patches and backbones are drawn at random; each is made as large as a server accepts
that has run every backbone once, and those that need most by its estimate are run, in processes of
their own, until they end or the server would stop them.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bavos_core import Settings, analyse
from bavos_core.backbones import Backbone
from bavos_lab.cost import Work, most_that_fits, peak_bytes
from demo.presets import PRESETS, Pace, Preset
from demo.settings import DemoSettings

from .common import Row, markdown, parser_of, write_rows
from .memory import MIB, RANDOM, frames_of, in_a_process, loaded, write_clip

SIZES = ((240, 432), (480, 864), (1080, 1920), (2160, 3840), (2160, 240))
BACKBONES = ("descriptors", "bundled-vits14", RANDOM)


def near_the_limit(server: DemoSettings, draws: int) -> list[tuple[float, str, str, Work, int]]:
    """Return accepted requests: estimate, kind of clip, backbone, work, patches; worst first."""
    chance, models = random.Random(0), {name: loaded(name) for name in BACKBONES}
    paces = {name: pace_of(model) for name, model in models.items()}
    found = []
    for _ in range(draws):
        name, size = chance.choice(BACKBONES), chance.choice(SIZES)
        frames = chance.randint(1, server.max_frames)

        def work(patches: int, size=size, frames=frames, model: Backbone = models[name]) -> Work:
            return Work.of(size, Settings(patches=patches), frames, model)

        def accepted(patches: int, work=work, name=name, frames=frames) -> bool:
            seconds = paces[name].seconds("auto", Preset(frames, patches), 0) or 0
            fits = peak_bytes(work(patches)) <= server.memory_mib * MIB
            return fits and seconds <= server.run_seconds

        patches = most_that_fits(accepted, server.max_patches)
        if patches:
            kind = chance.choice(("noise", "scene"))
            found.append((peak_bytes(work(patches)) / MIB, kind, name, work(patches), patches))
    return sorted(found, key=lambda request: -request[0])


def pace_of(model: Backbone) -> Pace:
    """Return what a server knows of times after one run at the fast preset."""
    fast = PRESETS["fast"]
    clip = np.stack(list(frames_of("scene", SIZES[0], fast.frames)))
    pace = Pace()
    pace.learn(analyse(clip, Settings(frames=fast.frames, patches=fast.patches), backbone=model))
    return pace


def measure(server: DemoSettings, draws: int, runs: int) -> Iterator[Row]:
    """Yield a row for each of the worst requests, as many of every backbone."""
    worst = near_the_limit(server, draws)
    chosen = [r for name in BACKBONES for r in [w for w in worst if w[2] == name][:runs]]
    with tempfile.TemporaryDirectory() as folder:
        for _, kind, name, work, patches in chosen:
            clip = Path(folder) / f"{kind}-{work.size}-{work.frames}.mp4"
            write_clip(clip, kind, work.size, work.frames)
            case = {"clip": str(clip), "backbone": name, "frames": work.frames, "patches": patches,
                    "key_ratio": work.key_ratio}  # fmt: skip
            limited = {**case, "most_seconds": 2 * server.run_seconds}  # as its deadline
            row = {**case, "clip": kind, "height": work.size[0], "width": work.size[1]}
            yield {**row, "share, MiB": server.memory_mib, **in_a_process(limited)}
            clip.unlink()


def main() -> None:
    """Search, run, write every figure, print the table; fail if a run exceeds its share."""
    parser = parser_of(__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=2, help="of every backbone")
    options = parser.parse_args()
    server = DemoSettings.from_environment()
    rows = write_rows(options.out, measure(server, options.draws, options.runs))
    names = ["clip", "backbone", "height", "frames", "patches", "peak, MiB", "share, MiB"]
    print(markdown(names, ([row[name] for name in names] for row in rows), words=2))
    if any(row["peak, MiB"] > row["share, MiB"] for row in rows):
        raise SystemExit("A run took more than its share.")


if __name__ == "__main__":
    main()
