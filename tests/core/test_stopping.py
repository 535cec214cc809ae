"""Every kind of work of the library hears within a moment that it shall stop."""

import io
import itertools
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from bavos_core import (
    Analysis,
    Cancelled,
    InputError,
    Segmentation,
    Settings,
    analyse,
    export,
    open_clip,
    recluster,
)
from bavos_core.attention import AttentionRows, perplexity_scale
from bavos_core.backbones import to_images
from bavos_core.backbones.timm_vit import TimmViT
from bavos_core.clustering import assign, greedy_merge
from bavos_core.distances import LogRows, Windows, self_distances
from bavos_core.export import CutOuts
from bavos_core.hierarchy import average_linkage
from bavos_core.progress import Stage, checkpoint
from bavos_core.settings import Compute
from bavos_io.clip import ArrayClip
from bavos_io.stopping import StoppableFile, stoppable

from .helpers import TINY, encode, noise_clip
from .odd_files import H264
from .test_faults import children, linux_only


def stop() -> None:
    raise Cancelled


class After:
    """Raises at the n-th chance to stop; counts them."""

    def __init__(self, most: float = float("inf")):
        self.heard, self.most = 0, most

    def __call__(self, *_: object) -> None:
        self.heard += 1
        if self.heard >= self.most:
            raise Cancelled


def heard_in(work: Callable[[], object]) -> int:
    with stoppable(counted := After()):
        work()
    return counted.heard


# ---- the mechanism ------------------------------------------------------------------------------


def test_what_the_waiting_side_raises_ends_the_work_past_all_that_catches_errors() -> None:
    tidied = []

    def work() -> None:
        try:
            checkpoint()
        except Exception as error:
            raise InputError("damaged") from error
        finally:
            tidied.append(True)

    with pytest.raises(Cancelled), stoppable(stop):
        work()
    assert tidied == [True]
    work()  # nobody asks any more


@pytest.mark.parametrize("inner", [False, True])
def test_of_several_that_wait_the_one_that_stops_gets_its_own_error(inner: bool) -> None:
    def give_way() -> None:
        raise KeyError("the inner one")

    def work() -> None:
        try:
            with stoppable(give_way if inner else lambda: None):
                checkpoint()
        except (KeyError, Cancelled) as error:
            caught.append(type(error))

    caught: list[type] = []
    if inner:
        with stoppable(lambda: None):
            work()
    else:
        with pytest.raises(Cancelled), stoppable(stop):
            work()
    assert caught == ([KeyError] if inner else [])


def test_a_progress_callback_is_asked_again_wherever_work_may_stop(square_clip) -> None:
    heard: list[tuple[Stage, float]] = []
    with stoppable(counted := After()):
        analyse(square_clip, Settings(**TINY), progress=lambda *now: heard.append(now))
    assert len(heard) > counted.heard > 20
    assert [key for key, _ in itertools.groupby(stage for stage, _ in heard)] == [
        Stage.DECODE, Stage.FEATURES, Stage.CLUSTERING, Stage.INSTANCES
    ]  # fmt: skip


def test_every_read_and_write_of_a_file_is_heard(tmp_path) -> None:
    path = tmp_path / "some"

    def write() -> None:
        with StoppableFile(path, "wb") as file:
            shutil.copyfileobj(io.BytesIO(bytes(1000)), file, 100)

    def read() -> None:
        with StoppableFile(path) as file:
            shutil.copyfileobj(file, io.BytesIO(), 100)

    assert heard_in(write) == 10
    assert heard_in(read) == 11  # the last one finds the end


# ---- each kind of work --------------------------------------------------------------------------


def rows_of(count: int, width: int) -> torch.Tensor:
    return torch.rand(count, width, generator=torch.Generator().manual_seed(0)).softmax(1)


def a_vit_encodes(clips: int) -> Callable[[], object]:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=3, img_size=32)
    backbone = TimmViT("vit_tiny_patch16_224").wrap(model, None)
    compute = Compute(torch.device("cpu"), "fp32")
    return lambda: backbone.encode(torch.zeros(clips, 3, 32, 32), compute)


def an_assignment(frames: int) -> Callable[[], object]:
    values = torch.rand(frames, 1, 300, 4, generator=torch.Generator().manual_seed(0))
    windows = Windows(AttentionRows(values, values[:1], 1.0))
    return lambda: assign(windows, rows_of(520, 300))


APART = np.abs(np.subtract.outer(np.arange(50.0), np.arange(50.0)))
WORK = {  # what is done, and how often it must hear at least
    "logs of rows": (lambda: LogRows.of(rows_of(1000, 9)), 4),
    "all distances": (lambda: self_distances(LogRows.of(rows_of(1000, 9))), 12),
    "a merge": (lambda: greedy_merge(LogRows.of(torch.eye(100) + 1e-9), 1e-6), 5),
    "the linkage": (lambda: average_linkage(APART, np.ones(50)), 49),
    "the temperature": (lambda: perplexity_scale(*[torch.rand(2, 1, 60, 4)] * 2), 24),
    "the assignment": (an_assignment(6), 2 * 3),
    "pictures for a backbone": (
        lambda: to_images(np.zeros((9, 20, 20, 3), np.uint8), (2, 2), 8), 9
    ),
    "a ViT": (a_vit_encodes(9), 3 * 3),
    "frames in memory": (lambda: list(ArrayClip.of(np.zeros((9, 4, 4, 3), np.uint8)).read()), 9),
}  # fmt: skip


@pytest.mark.parametrize("kind", WORK)
def test_work_of_the_method_hears_in_steps_of_bounded_size(kind: str) -> None:
    work, least = WORK[kind]
    assert heard_in(work) >= least


def cut(found: Analysis) -> Segmentation:
    return found.segment(n_clusters=5)


FILES: dict[str, Callable[[Path, Analysis, ArrayClip], object]] = {
    "everything": lambda out, found, clip: export.write_all(out / "all", found, cut(found), clip),
    "cut-outs": lambda out, found, clip: export.write_all(
        out / "all", found, cut(found), clip, cut_outs=CutOuts("vp9", each=True), features=True
    ),
    "overlay": lambda out, found, clip: export.write_overlay(
        out / "overlay.mp4", found, cut(found), clip
    ),
    "heatmap": lambda out, found, clip: export.write_heatmap(
        out / "heat.mp4", found, np.full((7, 6, 8), 1 / 336, np.float32), clip
    ),
    "analysis": lambda out, found, _: found.save(out / "analysis.npz"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_whose_writing_is_stopped_anywhere_leave_nothing(
    kind, square_analysis, clip, tmp_path
) -> None:
    folder = tmp_path / "whole"
    folder.mkdir()
    least = {"everything": 7 * 5, "cut-outs": 3 * 7 * 5, "analysis": 3}.get(kind, 7)
    count = heard_in(lambda: FILES[kind](folder, square_analysis, clip))
    assert count >= least
    for when in {1, 2, count // 3, count // 2, count - 1, count}:
        out = tmp_path / str(when)
        out.mkdir()
        with pytest.raises(Cancelled), stoppable(After(when)):
            FILES[kind](out, square_analysis, clip)
        assert list(out.iterdir()) == []


@pytest.mark.parametrize("again", [False, True])
def test_an_analysis_is_stopped_wherever_it_hears(again, square_clip, square_analysis) -> None:
    def work() -> object:
        if again:
            return recluster(square_analysis, None)
        return analyse(square_clip, Settings(**TINY))

    count = heard_in(work)
    for when in {1, 2, count // 3, count // 2, count - 1, count}:
        with pytest.raises(Cancelled), stoppable(After(when)):
            work()


@linux_only
def test_waiting_for_a_decoder_that_hangs_is_stopped(tmp_path) -> None:
    path = encode(tmp_path / "long.mp4", noise_clip(20, (240, 320)), *H264)
    before = children()
    frames = open_clip(path).read()
    next(frames)
    (decoder,) = children() - before
    os.kill(decoder, signal.SIGSTOP)
    with pytest.raises(Cancelled), stoppable(After(20)):
        list(frames)
    assert children() == before


def test_pages_that_are_made_from_those_before_are_passed_step_by_step(tmp_path) -> None:
    pages = [Image.fromarray(frame) for frame in noise_clip(9, (16, 16))]
    pages[0].save(tmp_path / "film.png", save_all=True, append_images=pages[1:], duration=100)
    clip = open_clip(tmp_path / "film.png")
    assert heard_in(lambda: list(clip.read([8]))) >= 8
    assert np.array_equal(next(iter(clip.read([8]))), list(clip.read())[8])
    with pytest.raises(Cancelled), stoppable(After(5)):
        list(clip.read([8]))
