"""Attention for a scene without an analysis: patches of one leaf attend to each other."""

import numpy as np

HEADS, RANK = 2, 6
SOURCES = [
    {"name": "framewise", "heads": HEADS},
    {"name": "cross-frame", "heads": HEADS},
    {"name": "untrained", "heads": HEADS},
    {"name": "key-similarity", "heads": 1},
]
BLOCKS = ["block-0-attention", "block-0-key", "block-2-value"]  # of three blocks; 2 is clustered


def attention_blobs(nearest: np.ndarray, source: str) -> tuple[dict, dict[str, np.ndarray]]:
    """Fields and arrays of the attention of a source; nearest (T, h, w): the leaf of a patch."""
    random = np.random.default_rng(len(source))
    heads = 1 if source.endswith(("-similarity", "-key", "-value")) else HEADS
    looks = random.normal(size=(heads, nearest.max() + 1, RANK))
    looks /= np.linalg.norm(looks, axis=-1, keepdims=True)
    k = (127 * looks[:, nearest.ravel()]).round().astype(np.int8)
    sharpness = 0.02 if source in ("untrained", "block-0-attention") else 6
    scale = np.full((heads, RANK), sharpness**0.5 / 127, np.float32)
    fields = {"source": source, "heads": heads, "rank": RANK, "framewise": source == "cross-frame"}
    blobs = {"k": k, "scale_q": scale, "scale_k": scale}
    return fields, blobs if heads == 1 else {"q": k, **blobs}
