"""The rendered clips as tests see them: pictures, masks, and what their index says."""

import importlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image

ASSETS = Path(__file__).resolve().parents[2] / "assets"


@dataclass(frozen=True)
class Clip:
    """One clip of a folder, and what the folder's index says about it."""

    folder: Path
    facts: dict

    @property
    def name(self) -> str:
        return self.facts["name"]

    @property
    def ids(self) -> list[int]:
        return [int(key) for key in self.facts["objects"]]

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.mp4"

    def mask_files(self) -> list[Path]:
        return sorted((self.folder / "masks" / self.name).glob("*.png"))

    def masks(self) -> np.ndarray:
        """Object ids of the whole clip, [T, H, W]."""
        return np.stack([np.array(Image.open(file)) for file in self.mask_files()])

    def video(self) -> np.ndarray:
        """Decoded pictures of the clip, [T, H, W, 3]."""
        with imageio.get_reader(self.file) as reader:
            return np.stack([frame for frame in reader])

    def shares(self, object_id: int) -> np.ndarray:
        """Share of the picture that an object covers in every frame, [T]."""
        return (self.masks() == object_id).mean(axis=(1, 2))

    def frames_out_of_sight(self, object_id: int) -> np.ndarray:
        """Numbers of the frames without an object: one row of them, amid frames that show it."""
        frames = np.flatnonzero(self.shares(object_id) == 0)
        assert np.all(np.diff(frames) == 1)
        assert 0 < frames[0] and frames[-1] < self.facts["frames"] - 1
        return frames

    def colours_in_common(self, ids: list[int]) -> list[float]:
        """For each two of some objects, the share of their colours that both have; 0 is scenery."""
        video, masks = self.video(), self.masks()
        histograms = [colour_histogram(video[masks == i]) for i in ids]
        pairs = itertools.combinations(histograms, 2)
        return [np.minimum(one, other).sum() for one, other in pairs]


def colour_histogram(pixels: np.ndarray) -> np.ndarray:
    """Shares of 6 x 6 x 6 colours among pixels [N, 3]; a mean would turn blue-yellow into grey."""
    bins = [np.linspace(0, 256, 7)] * 3
    return np.histogramdd(pixels, bins)[0] / len(pixels)


def load_clips(kind: str) -> list[Clip]:
    """The clips of assets/`kind`, in the order of their index."""
    folder = ASSETS / kind
    return [Clip(folder, facts) for facts in json.loads((folder / f"{kind}.json").read_text())]


EXAMPLES, SCENES = load_clips("examples"), load_clips("scenes")


def every(clips: list[Clip]) -> pytest.MarkDecorator:
    """Run a test once per clip."""
    return pytest.mark.parametrize("clip", clips, ids=[clip.name for clip in clips])


def find(clips: list[Clip], name: str) -> Clip:
    return next(clip for clip in clips if clip.name == name)


def load_maker(name: str) -> ModuleType:
    """Import a program of assets/, or skip the test where the renderer is not installed."""
    pytest.importorskip("mitsuba")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ASSETS)
        return importlib.import_module(name)
