"""Seconds per stage from a clip to its overlay, and milliseconds of the answers afterwards.

python -m experiments.stages CLIP … --out stages.csv
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from bavos_core import Analysis, Settings, analyse, backbones, open_clip, render
from bavos_core.export import write_overlay

from .common import Row, markdown, median_ms, parser_of, seconds_of, write_rows

OVERLAY_SIDE = 480  # pixels, longer side of the overlay on the page
CALLS = 21  # of every answer


def measure(clips: Sequence[Path], names: Sequence[str]) -> Iterator[Row]:
    """Yield one row for every clip and backbone."""
    for path in clips:
        for name in names:
            backbone = backbones.load(name)
            analysis = analyse(path, Settings(backbone=name), backbone=backbone)
            overlay = seconds_of(lambda: paint(path, analysis))  # noqa: B023 - called at once
            seconds = {**analysis.timings, "masks and encode": overlay}
            seconds["total"] = sum(seconds.values())
            yield {
                "clip": path.name,
                "backbone": name,
                **{f"{stage}, s": round(value, 2) for stage, value in seconds.items()},
                "leaves": analysis.tree.leaves,
                **{
                    f"{what}, ms": round(median_ms(answer, CALLS), 2)
                    for what, answer in answers(analysis).items()
                },
            }


def paint(path: Path, analysis: Analysis) -> None:
    """Write the overlay as the page does."""
    with tempfile.TemporaryDirectory() as folder:
        small = open_clip(path, max_side=OVERLAY_SIDE)
        write_overlay(Path(folder) / "overlay.mp4", analysis, analysis.segment(), small)


def answers(analysis: Analysis) -> dict[str, Callable[[int], object]]:
    """Return what the page asks of a finished analysis, each for the i-th time."""
    height, width = analysis.size

    def attend(i: int) -> np.ndarray:
        return analysis.attend(i % len(analysis.frames), height / 2, width * i / CALLS)

    def click(i: int) -> None:
        row, shown = attend(i), i % len(analysis.frames)
        render.heat_overlay(analysis.frames[shown], row[shown] / render.heat_scale(row))

    return {
        "attend": attend,
        "click to heatmap of the shown frame": click,
        "cut of the tree": lambda i: analysis.tree.cut(0.05 * (i + 1)),
        "cut, labels and membership": lambda i: analysis.segment(0.05 * (i + 1)),
    }


def main() -> None:
    """Measure, write every figure, print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--backbones", nargs="+", default=["bundled-vits14", "descriptors"])
    options = parser.parse_args()
    rows = write_rows(options.out, measure(options.clips, options.backbones))
    names = ["clip", "backbone", *(name for name in rows[0] if name.endswith((", s", ", ms")))]
    print(markdown(names, ([row[name] for name in names] for row in rows), words=2))


if __name__ == "__main__":
    main()
