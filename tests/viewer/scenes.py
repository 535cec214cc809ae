"""A small scene without an analysis: discs on a ground, and a random tree."""

import base64
import io
import json

import numpy as np
from PIL import Image

from bavos_core.render.palette import object_colour
from bavos_core.tree import ClusterTree
from bavos_lab.scene import pack

from .attention_parts import BLOCKS, SOURCES, attention_blobs

FRAMES, ANALYSED = 11, 6
GRID, PREVIEW = (9, 16), (180, 320)
LEAVES = 14
MOST = LEAVES


def random_tree(leaves: int, frames: int, random: np.random.Generator) -> ClusterTree:
    """A tree with merges in random order; some leaves have no patches, some sizes are equal."""
    counts = random.integers(0, 5, (leaves, frames)).astype(np.int32)
    counts[random.random(leaves) < 0.1] = 0
    open_nodes, size = list(range(leaves)), counts.sum(1).astype(float).tolist()
    merges = []
    for height in np.sort(random.random(leaves - 1).round(2)):
        a, b = (open_nodes.pop(random.integers(len(open_nodes))) for _ in range(2))
        size.append(size[a] + size[b])
        open_nodes.append(leaves + len(merges))
        merges.append([a, b, height, size[-1]])
    return ClusterTree(
        np.array(merges).reshape(-1, 4), counts, np.zeros((leaves, frames), np.float16)
    )


def scene_parts(seed: int = 0) -> dict[str, bytes]:
    """All parts of a scene, by name."""
    random = np.random.default_rng(seed)
    maps = [leaf_map(i) for i in range(FRAMES)]
    analysed = np.linspace(0, FRAMES - 1, ANALYSED).astype(np.int32)
    rows = (np.arange(GRID[0]) + 0.5) * PREVIEW[0] / GRID[0]
    columns = (np.arange(GRID[1]) + 0.5) * PREVIEW[1] / GRID[1]
    nearest = np.stack([maps[i][rows.astype(int)][:, columns.astype(int)] for i in analysed])
    counts = np.stack([np.bincount(m.ravel(), minlength=LEAVES) for m in nearest], 1)
    tree = random_tree(LEAVES, ANALYSED, random)
    parts = {"base": base_part(tree, counts.astype(np.int32), analysed, nearest)}
    for i, leaf in enumerate(maps):
        leaf = leaf.astype(np.uint16)
        parts[f"frame/{i}"] = pack({}, {"jpeg": jpeg(leaf, i), "leaf": leaf, "solid": leaf})
    pca = random.integers(0, 255, (ANALYSED, *GRID, 3)).astype(np.uint8)
    parts["readings"] = pack({"k": 4}, {"pca": pca, "kmeans": (nearest % 4).astype(np.uint8)})
    for source in ("cross-frame", "untrained", "key-similarity", *BLOCKS):
        parts[f"attention/{source}"] = pack(*attention_blobs(nearest, source))
    return parts


def base_part(
    tree: ClusterTree, counts: np.ndarray, analysed: np.ndarray, nearest: np.ndarray
) -> bytes:
    flags = [
        int(cluster != 1) if n > 2 else int(cluster)
        for n in range(1, MOST + 1)
        for cluster in range(n)
    ]
    fields = {
        "version": 1, "name": "discs.mp4", "size": [360, 640], "preview": PREVIEW, "grid": GRID,
        "end": FRAMES / 10, "part": [0, None], "clusters": 6, "most": MOST, "source": "cross-frame",
        "tau": 0.5, "sources": SOURCES, "backbone": "descriptors", "blocks": 3, "block": 2,
        "notes": [], "seconds": {"features": 1.0},
    }  # fmt: skip
    return pack(
        fields,
        {
            "times": np.arange(FRAMES) / 10,
            "analysed": analysed,
            "merges": tree.merges,
            "counts": counts,
            "nearest": nearest.astype(np.uint16),
            "seams": np.zeros(LEAVES, np.uint8),
            "instances": np.zeros(LEAVES - 1, np.uint8),
            "background": np.array(flags, np.uint8),
            "colours": np.array([object_colour(i) for i in range(255)], np.uint8),
        },
    )


def leaf_map(i: int) -> np.ndarray:
    """Leaves of a frame: bands of ground, and discs that move."""
    y, x = np.mgrid[: PREVIEW[0], : PREVIEW[1]]
    leaf = np.minimum(y * 6 // PREVIEW[0], 5)
    for disc in range(LEAVES - 6):
        cx, cy = 20 + 38 * disc + 6 * i, 30 + (disc * 47) % 120
        leaf = np.where((x - cx) ** 2 + (y - cy) ** 2 < 22**2, 6 + disc, leaf)
    return leaf


def jpeg(leaf: np.ndarray, i: int) -> np.ndarray:
    """A picture that shows the leaves."""
    tones = np.random.default_rng(5).integers(40, 220, (LEAVES, 3))
    shade = np.linspace(0.7, 1.1, PREVIEW[1])[None, :, None]
    file = io.BytesIO()
    Image.fromarray((tones[leaf] * shade).clip(0, 255).astype(np.uint8)).save(file, "JPEG")
    return np.frombuffer(file.getvalue(), np.uint8)


def html(parts: dict[str, bytes], program: str, style: str, options: str = "{}") -> str:
    """A page with a viewer and its parts inside."""
    data = json.dumps({name: base64.b64encode(part).decode() for name, part in parts.items()})
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Viewer</title>
<meta name="viewport" content="width=device-width">
<style>body {{ margin: 0 }} #viewer {{ height: 100vh }}
h1 {{ position: absolute; opacity: 0 }}</style>
<main><h1>Viewer</h1>
<div id="viewer"></div></main><script>
{program}
const parts = {data};
const host = {{
  asked: [],
  changes: [],
  async part(name) {{
    if (!(name in parts)) throw new Error(`There is no part ${{name}}.`);
    return Uint8Array.from(atob(parts[name]), (c) => c.charCodeAt(0)).buffer;
  }},
  ask(action, detail) {{ this.asked.push([action, detail]); }},
  changed(state) {{ this.changes.push(state); }},
}};
const viewer = Bavos.mount(document.getElementById('viewer'), host,
  {{ css: {json.dumps(style)}, ...{options} }});
const opened = viewer.open();
</script></html>"""
