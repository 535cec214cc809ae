"""A film of a correlator that learns from a random start: the paper's Fig. 1, from c to d.

    python -m experiments.film --davis DIR --clips TRAIN_DIR --cache DIR --out learning.webp

One picture for each step of AT: where one patch of an example attends in three frames, and the
clusters of these frames. J is that of the best cluster on the development split, frame set 0, at
the label-free τ (see `experiments.learning`), and so are the clusters.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from bavos_core import backbones, render
from bavos_core.attention import AttentionRows
from bavos_core.refinement import nearest_pixels
from bavos_core.render.palette import usual_colours
from bavos_io.opening import open_clip

from .cached import encoded, learner_parser, load
from .common import GRID, ROOT, mean
from .learning import (
    RECIPES,
    Source,
    clusters,
    hierarchy,
    scored,
    train,
)

EXAMPLE, OBJECT = "reef", 1  # the clownfish
EVERY = 3  # frames of the example that are used
SHOWN = (1, 6, 11)  # of those
AT = (0, 10, 20, 30, 50, 75, 100, 200, 300, 500, 750, 1000)  # steps
WIDTH, LINE, GAP = 288, 26, 4  # pixels
MILLISECONDS = 900  # a picture


def attention(source: Source, features: Tensor, frame: int, place: int) -> np.ndarray:
    """Return where a patch attends, (T, h, w); the hottest place has 1."""
    queries, keys = source.queries_keys(features.float())
    row = AttentionRows(queries, keys, source.scale).rows(frame, frame + 1)[place]
    heat = row.numpy().reshape(-1, *GRID)
    return heat / render.heat_scale(heat)


def middle_of(mask: np.ndarray) -> tuple[int, int]:
    """Return the pixel (y, x) of an object that is nearest to its middle."""
    pixels = np.argwhere(mask)
    y, x = pixels[((pixels - pixels.mean(0)) ** 2).sum(1).argmin()]
    return int(y), int(x)


def picture(frames: np.ndarray, heat: np.ndarray, labels: np.ndarray, query: tuple[int, int],
            title: str) -> Image.Image:  # fmt: skip
    """Draw attention above, clusters below; frames (T, H, W, 3), heat and labels (T, h, w)."""
    colours = usual_colours()
    lines = [[], []]
    for t in SHOWN:
        above = render.heat_overlay(frames[t], heat[t])
        if t == SHOWN[1]:
            above = render.mark_point(above, *query)
        painted = colours[nearest_pixels(labels[t] % len(colours), frames[t].shape[:2])]
        lines[0].append(above)
        lines[1].append((0.4 * frames[t] + 0.6 * painted).astype(np.uint8))
    height = WIDTH * frames.shape[1] // frames.shape[2]
    size = (3 * WIDTH + 2 * GAP, LINE + 2 * height + GAP)
    drawn = Image.new("RGB", size, "white")
    ImageDraw.Draw(drawn).text((4, 3), title, "black", ImageFont.load_default(16))
    for row, line in enumerate(lines):
        for column, part in enumerate(line):
            place = (column * (WIDTH + GAP), LINE + row * (height + GAP))
            drawn.paste(Image.fromarray(part).resize((WIDTH, height)), place)
    return drawn


def main() -> None:
    """Train, draw, write."""
    parser = learner_parser(str(__doc__))
    options = parser.parse_args()
    data = load(options)
    folder = ROOT / "assets" / "examples"
    clip = open_clip(folder / f"{EXAMPLE}.mp4")
    frames = np.stack(list(clip.read(range(0, len(clip.times), EVERY))))
    features = encoded(frames, GRID, backbones.load(options.backbone, weights=options.weights))
    mask = sorted((folder / "masks" / EXAMPLE).glob("*.png"))[SHOWN[1] * EVERY]
    y, x = middle_of(np.asarray(Image.open(mask)) == OBJECT)
    place = y * GRID[0] // frames.shape[1] * GRID[1] + x * GRID[1] // frames.shape[2]
    drawn = []
    for trained in train(RECIPES["random"], data, 0, AT):
        rows = [row for row in scored(trained.source, data, [0]) if row["tau"] == 0]
        title = f"step {trained.step}: J {mean(rows, 'best_cluster_j'):.2f}"
        print(title, flush=True)
        heat = attention(trained.source, features, SHOWN[1], place)
        found = clusters(hierarchy(trained.source, features), rows[0]["label_free_tau"])
        labels = found.reshape(-1, *GRID)
        drawn.append(picture(frames, heat, labels, (y, x), title))
    drawn[0].save(options.out, save_all=True, append_images=drawn[1:], loop=0, quality=72, method=6,
                  duration=[MILLISECONDS] * (len(drawn) - 1) + [4 * MILLISECONDS])  # fmt: skip


if __name__ == "__main__":
    main()
