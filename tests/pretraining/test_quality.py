"""J on a made-up sequence: which frames are taken, and what the best cluster scores."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bavos_core import backbones
from bavos_core.errors import InputError
from bavos_core.pretraining.quality import best_cluster_j, development_j, read_sequences
from bavos_core.settings import Settings


@pytest.fixture(scope="module")
def davis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red square that walks over blue, 8 frames of 48×96; its masks."""
    root = tmp_path_factory.mktemp("davis")
    frames, masks = (root / part / "480p" / "walk" for part in ("JPEGImages", "Annotations"))
    frames.mkdir(parents=True)
    masks.mkdir(parents=True)
    for t in range(8):
        inside = np.zeros((48, 96), bool)
        inside[16:40, 8 * t : 8 * t + 24] = True
        picture = np.where(inside[..., None], (220, 30, 20), (20, 40, 160)).astype(np.uint8)
        Image.fromarray(picture).save(frames / f"{t:05d}.jpg", quality=95)
        Image.fromarray(inside.astype(np.uint8) * 255).save(masks / f"{t:05d}.png")
    return root


def test_every_fifth_frame_is_taken_once_from_each_start(davis: Path) -> None:
    found = read_sequences(davis)
    assert [s.name for s in found] == ["walk", "walk"]
    assert [len(s.frames) for s in found] == [2, 2]  # frames 0 and 5, 2 and 7
    for sequence, starts in zip(found, ((0, 5), (2, 7)), strict=True):
        lefts = [int(np.flatnonzero(mask.any(0))[0]) for mask in sequence.truth]
        assert lefts == [8 * t for t in starts]


def test_an_easy_object_is_found(davis: Path) -> None:
    settings = Settings(size=(48, 96), correlator="keys", device="cpu")
    j = development_j(backbones.load("builtin"), read_sequences(davis), settings)
    assert j > 0.9


def test_unknown_sequences_are_refused(davis: Path) -> None:
    with pytest.raises(InputError):
        read_sequences(davis, ["run"])


def test_the_best_cluster_is_one_for_the_whole_video() -> None:
    labels = np.array([[[0, 1]], [[1, 0]]])  # two frames of two patches
    truth = np.zeros((2, 2, 4), bool)
    truth[0, :, 2:] = truth[1, :, 2:] = True  # cluster 1, then cluster 0
    assert best_cluster_j(labels, truth) == pytest.approx(0.5)
    assert best_cluster_j(np.array([[[0, 1]], [[0, 1]]]), truth) == pytest.approx(1.0)
