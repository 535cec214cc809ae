"""A GPU without enough memory: fewer frames at once, then the CPU."""

from dataclasses import dataclass, field

import pytest
import torch

from bavos_core import (
    Analysis,
    Cancelled,
    Settings,
    analyse,
)
from bavos_core.backbones import Features, ViTBackbone
from bavos_core.settings import Compute
from bavos_lab.descriptors import Descriptors

from .helpers import TINY, tiny_vit

TINY_SETTINGS = Settings(**TINY)


@dataclass
class Crowded:
    """A backbone on a GPU that holds only so many frames at once; as wide as the descriptors."""

    holds: int
    framewise: bool = True
    note: str = ""
    source: str = "key-similarity"
    patch: int = 8
    asked: list[int] = field(default_factory=list)
    moved: bool = False

    def encode(self, images: torch.Tensor, compute: Compute) -> Features:
        self.asked.append(len(images))
        if len(images) > self.holds and not self.moved:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        means = torch.nn.functional.avg_pool2d(images, self.patch)  # (T, 3, h, w)
        keys = means.flatten(2).mT.repeat(1, 1, 14)[..., :24].unsqueeze(1)  # (T, 1, N, 24)
        return Features(keys, keys, means.shape[2:], scale=1.0)

    def to(self, _device: torch.device) -> "Crowded":
        self.moved = True
        return self


def memory_notes(analysis: Analysis) -> list[str]:
    return [note for note in analysis.notes if "enough memory" in note]


@pytest.mark.parametrize(
    ("holds", "framewise", "asked", "words"),
    [
        (4, True, [4, 3], None),
        (3, True, [4, 2, 2, 2, 1], "2 frames at a time"),
        (1, True, [4, 2] + [1] * 7, "1 frames at a time"),
        (0, True, [4, 2, 1, 4, 3], "on the CPU"),
        (6, False, [7, 7], "on the CPU"),
    ],
)
def test_features_take_fewer_frames_at_once_and_then_the_cpu(
    holds, framewise, asked, words, square_clip
) -> None:
    roomy = analyse(square_clip, TINY_SETTINGS, backbone=Crowded(99))
    backbone = Crowded(holds, framewise)
    analysis = analyse(square_clip, TINY_SETTINGS, backbone=backbone)
    assert backbone.asked == asked
    assert (analysis.keys == roomy.keys).all()
    assert (analysis.segment().labels == roomy.segment().labels).all()
    notes = memory_notes(analysis)
    assert len(notes) == bool(words)
    assert not words or words in notes[0]


def test_a_wish_to_stop_is_heard_after_a_few_frames(square_clip) -> None:
    backbone = Crowded(99)

    def stop(stage: str, share: float) -> None:
        if stage == "features" and share > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        analyse(square_clip, TINY_SETTINGS, backbone=backbone, progress=stop)
    assert backbone.asked == [4]  # of 7


def test_clustering_goes_to_the_cpu_when_the_gpu_is_full(square_clip) -> None:
    asked = []

    class Full(Crowded):
        """Its features cannot be copied to where clustering would take place, the first time."""

        def encode(self, images: torch.Tensor, compute: Compute) -> Features:
            return FullFeatures(**vars(super().encode(images, compute)))

    class FullFeatures(Features):
        def to(self, device: torch.device) -> Features:
            asked.append(device)
            if len(asked) == 1:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            return super().to(device)

    analysis = analyse(square_clip, TINY_SETTINGS, backbone=Full(99))
    assert len(asked) == 2
    (note,) = memory_notes(analysis)
    assert "clustering ran on the CPU" in note


def test_another_error_of_a_backbone_is_not_taken_for_want_of_memory(square_clip) -> None:
    class Broken(Crowded):
        def encode(self, images: torch.Tensor, compute: Compute) -> Features:
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        analyse(square_clip, TINY_SETTINGS, backbone=Broken(99))


def test_parts_of_a_clip_give_what_the_whole_gives_where_a_backbone_says_so() -> None:
    backbone = ViTBackbone(tiny_vit(), 2, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    images = torch.rand(5, 3, 32, 48)
    compute = Compute.choose(Settings(device="cpu", precision="fp32"))
    parts = Features.joined([backbone.encode(part, compute) for part in images.split(2)])
    torch.testing.assert_close(parts.keys, backbone.encode(images, compute).keys)
    assert backbone.framewise
    assert not Descriptors().framewise  # its channels are weighed over the clip
