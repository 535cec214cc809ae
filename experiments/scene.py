"""Bytes and seconds of everything that the viewer gets, and how exact its attention is.

python -m experiments.scene CLIP … --out scene.csv

A clip may also be an analysis that was saved, .npz.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from bavos_core import Analysis, Settings, analyse
from bavos_core.settings import AttentionSource
from bavos_lab.scene import Scene, unpack, write_html
from demo.viewer import bundle, css

from .common import Row, markdown, parser_of, write_rows

POINTS = 200
SIZES = ((12, 648), (24, 1152))  # frames and patches: the presets "fast" and "balanced"
EMPTY = ("components", "median", "5th percentile", "1st percentile", "same peak", "at the peak")


def analyses(options: argparse.Namespace) -> Iterator[Analysis]:
    """Yield the analyses to measure."""
    for path in options.clips:
        if path.suffix == ".npz":
            yield Analysis.load(path)
            continue
        for backbone in options.backbones:
            for frames, patches in SIZES:
                yield analyse(path, Settings(backbone=backbone, frames=frames, patches=patches))


def measure(analysis: Analysis) -> Iterator[Row]:
    """Yield one row for every part; the analysed frames are one, and so is the HTML file."""
    scene = Scene(analysis)
    about = {
        "clip": analysis.clip_name,
        "backbone": analysis.settings.backbone,
        "frames": len(analysis.analysed),
        "patches": analysis.grid[0] * analysis.grid[1],
        "leaves": analysis.tree.leaves,
    }
    for name in ("base", "readings"):
        yield {**about, **timed(name, lambda: scene.part(name))}  # noqa: B023 - called at once
    yield {**about, **timed("analysed frames", lambda: b"".join(p for _, p in scene.frames()))}
    yield {**about, **timed("HTML", lambda: page(analysis))}
    for source in scene.sources:
        part = scene.part(f"attention/{source}")
        row = timed(f"attention/{source}", lambda: scene.part(f"attention/{source}"))  # noqa: B023
        yield {**about, **row, **exactness(analysis, source, part)}


def timed(name: str, make: Callable[[], bytes]) -> Row:
    """Return a part's name, bytes and seconds of the processor, with room for its exactness."""
    start = time.process_time()
    size = len(make())
    seconds = round(time.process_time() - start, 2)
    return {"part": name, "bytes": size, "processor, s": seconds, **dict.fromkeys(EMPTY, "")}


def page(analysis: Analysis) -> bytes:
    """Return the HTML file with the analysed frames."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "viewer.html"
        write_html(path, analysis, state={}, viewer_js=bundle(), viewer_css=css())
        return path.read_bytes()


def exactness(analysis: Analysis, source: AttentionSource, part: bytes) -> Row:
    """Return how rows of a part correlate with those of `attend`, at 200 random patches.

    same peak: share of rows whose largest value lies at the same patch. at the peak: exact value
    where the row has its largest, relative to the exact row's largest; 5th percentile.
    """
    header, blobs = unpack(part)
    keys = torch.from_numpy(blobs["k"] * blobs["scale_k"][:, None])
    queries = torch.from_numpy(blobs.get("q", blobs["k"]) * blobs["scale_q"][:, None])
    (h, w), random = analysis.grid, np.random.default_rng(0)
    height, width = analysis.size
    found = []
    for patch in random.integers(0, keys.shape[1], POINTS).tolist():
        row = (keys @ queries[:, patch, :, None])[..., 0].softmax(1).mean(0).numpy()
        sample, (y, x) = patch // (h * w), divmod(patch % (h * w), w)
        at = ((y + 0.5) / h * height, (x + 0.5) / w * width)
        exact = analysis.attend(sample, *at, source=source).ravel()
        peak = exact[row.argmax()] / exact.max()
        found.append((np.corrcoef(row, exact)[0, 1], peak))
    correlation, peak = np.array(found).T
    shares = *np.percentile(correlation, [50, 5, 1]), (peak == 1).mean(), np.percentile(peak, 5)
    return dict(zip(EMPTY, (header["rank"], *(round(float(s), 4) for s in shares)), strict=True))


def main() -> None:
    """Measure, write every figure, print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--backbones", nargs="+", default=["bundled-vits14"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = write_rows(options.out, (row for one in analyses(options) for row in measure(one)))
    names = ["clip", "backbone", "part", "frames", "patches", "bytes", "processor, s", *EMPTY]
    print(markdown(names, ([row[name] for name in names] for row in rows), words=3))


if __name__ == "__main__":
    main()
