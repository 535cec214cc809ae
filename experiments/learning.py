"""Train correlators by several recipes and measure them beside attention without training.

    python -m experiments.learning --davis DIR --clips TRAIN_DIR --cache DIR --out learning.csv
        [--backbone NAME --weights FILE] [--recipes NAME …] [--seeds …] [--starts …] [--at STEP …]

J is that of the best cluster, as in experiments.best_cluster, of the undivided tree of 24×48
patches. Every 7th training clip is held out: `label_free_tau` is the τ at which these have 8
clusters on average, `stability` how steadily their clusters follow features there
(bavos_lab.training.measure). Neither uses labels. The rows of τ 0 are those of label_free_tau.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from bavos_core import Settings
from bavos_core.attention import AttentionRows, key_frames
from bavos_core.correlator import TrainedCorrelator
from bavos_core.hierarchy import Hierarchy, build_hierarchy
from bavos_core.settings import Compute
from bavos_core.sources import project_keys
from bavos_lab.evaluation.metrics import best_cluster_j
from bavos_lab.training.data import statistics
from bavos_lab.training.forward import Projected
from bavos_lab.training.learner import adamw, learning_rate, seeded_torch
from bavos_lab.training.measure import stability
from bavos_lab.training.samples import draw_sample, sample_generator
from bavos_lab.training.settings import TrainSettings
from bavos_lab.training.trainer import new_learner

from .cached import TRAIN_GRID, Data, learner_parser, load
from .common import (
    GRID,
    HAS_SEEN,
    SINGLE,
    Row,
    groups,
    markdown,
    mean,
    write_rows,
)  # fmt: skip
from .own_block import Objective, OwnBlock, losses

TAUS = (0.35, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
WANTED = 8  # clusters of a held-out clip
AVERAGED = 50  # steps that the losses in the table are averaged over


@dataclass(frozen=True)
class Recipe:
    """How a correlator is trained."""

    start: str  # own: from the backbone's attention; keys: near the identity on keys; random
    objective: Objective = "paper"
    settings: TrainSettings = field(default_factory=lambda: TrainSettings(steps=1000))


SHORT = TrainSettings(steps=200, lr=1e-4, dropout=0.0)
WHOLE = TrainSettings(steps=1000, init="random", lr=3e-4, columns=None, attention_dropout=0.4,
                      weighting="both")  # fmt: skip
RECIPES = {
    "own heads": Recipe("own"),
    "own heads, entropy margin": Recipe("own", "entropy-margin"),
    "own heads, other frames": Recipe("own", "other-frames"),
    "own heads, consensus": Recipe("own", "consensus", SHORT),
    "keys": Recipe("keys"),
    "keys, consensus": Recipe("keys", "consensus", replace(SHORT, heads=1, standardise="common")),
    "keys, other frames": Recipe("keys", "other-frames"),
    "random": Recipe("random", settings=WHOLE),
    "random, slower": Recipe("random", settings=replace(WHOLE, lr=1e-4, steps=4000)),
}


class Source(Protocol):
    """Makes queries and keys (T, H, N, d) of those of the backbone, side by side (T, N, 2C)."""

    @property
    def scale(self) -> float: ...

    def queries_keys(self, features: Tensor) -> tuple[Tensor, Tensor]: ...


# ---- sources ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CrossFrame:
    """The backbone's own attention, across frames."""

    heads: int
    scale: float

    def queries_keys(self, features: Tensor) -> tuple[Tensor, Tensor]:
        queries, keys = (side.unflatten(-1, (self.heads, -1)).transpose(1, 2)
                         for side in features.chunk(2, -1))  # fmt: skip
        return queries, keys


@dataclass
class KeySimilarity:
    """Similarity of keys, at a temperature of the clip."""

    scale: float = 1.0

    def queries_keys(self, features: Tensor) -> tuple[Tensor, Tensor]:
        found = project_keys(features.chunk(2, -1)[1], Settings())
        self.scale = found.scale
        return found.queries, found.keys


@dataclass(frozen=True)
class OnKeys:
    """A correlator on keys, as the paper has it."""

    correlator: TrainedCorrelator

    @property
    def scale(self) -> float:
        return self.correlator.scale

    def queries_keys(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.correlator.queries_keys(features.chunk(2, -1)[1])

    def project(self, features: Tensor) -> Projected:
        standard = self.correlator.standardised(features.chunk(2, -1)[1])
        return Projected.of(self.correlator.block, standard)


# ---- training -----------------------------------------------------------------------------------


class Trained(NamedTuple):
    """A correlator after some steps."""

    step: int
    source: Source
    semantic: float  # losses, averaged over the last steps
    motion: float
    seconds: float  # of training


def train(recipe: Recipe, data: Data, seed: int, at: Sequence[int]) -> Iterator[Trained]:
    """Yield the correlator at some steps, by default after the last; later steps change it."""
    settings = replace(recipe.settings, seed=seed)
    at = at or [settings.steps]
    source, block = begun(recipe, data, settings)
    optimiser = adamw(block.train().requires_grad_(True), settings)
    recent, seconds = np.zeros((AVERAGED, 2)), 0.0
    for step in range(settings.steps + 1):
        if step in at:
            block.eval()
            yield Trained(step, source, *recent[:step].mean(0) if step else (0, 0), seconds)
            block.train()
        if step == max(at):
            return
        start = time.perf_counter()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings)
        rng = sample_generator(seed, step, 0)
        sample = draw_sample(data.train, rng, settings)
        width = sample.tokens.shape[1] // TRAIN_GRID[0]
        with seeded_torch(rng, torch.device("cpu")):
            found = losses(block, source.project(sample.tokens), sample.anchors,
                           (TRAIN_GRID[0], width), recipe.objective,
                           both=settings.weighting == "both")  # fmt: skip
        optimiser.zero_grad()
        found.total.backward()
        optimiser.step()
        recent[step % AVERAGED] = found.semantic.item(), found.motion.item()
        seconds += time.perf_counter() - start


def begun(recipe: Recipe, data: Data, settings: TrainSettings) -> tuple[Any, Any]:
    """Return a source before its first step, and the block that learns."""
    if recipe.start != "own":
        half = data.train[0].features.shape[-1] // 2
        keys = [replace(clip, features=clip.features[..., half:]) for clip in data.train]
        learner = new_learner(keys, settings)
        return OnKeys(learner.correlator), learner.block
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        block = OwnBlock(*statistics(data.train, settings.standardise), data.heads,
                         dropout=settings.dropout,
                         attention_dropout=settings.attention_dropout)  # fmt: skip
    return block, block


# ---- measuring ----------------------------------------------------------------------------------


def hierarchy(source: Source, features: Tensor) -> Hierarchy:
    """Return the tree of the attention of a source."""
    settings = Settings()
    queries, keys = source.queries_keys(features.float())
    rows = AttentionRows(queries, keys[key_frames(len(keys), settings.key_every)], source.scale)
    return build_hierarchy(rows, settings, dtype=Compute.choose(settings).dtype)


def clusters(found: Hierarchy, tau: float) -> np.ndarray:
    """Return the clusters (T, N) at τ."""
    return found.tree.cut(tau)[found.assignment.labels.cpu().numpy()]


def without_labels(source: Source, clips: Sequence[Tensor]) -> tuple[float, float]:
    """Return the τ at which clips have WANTED clusters on average, and their stability there."""
    found = [hierarchy(source, clip) for clip in clips]
    taus = np.geomspace(0.25, 4, 41)
    counts = [np.mean([each.tree.cut(tau).max() + 1 for each in found]) for tau in taus]
    tau = float(taus[np.abs(np.log(np.array(counts) / WANTED)).argmin()])
    keys = [clip.chunk(2, -1)[1].float() for clip in clips]
    steady = [stability(clusters(each, tau), key - key.mean((0, 1)))
              for each, key in zip(found, keys, strict=True)]  # fmt: skip
    return tau, float(np.mean(steady))


def scored(source: Source, data: Data, starts: Sequence[int]) -> Iterator[Row]:
    """Yield the J of every set of frames, sequence and τ."""
    free, steady = without_labels(source, data.held_out)
    for start in starts:
        for name in SINGLE:
            found, true = hierarchy(source, data.dev[name][start]), data.truth[name][start]
            for tau in (*TAUS, 0.0):
                labels = clusters(found, tau or free).reshape(-1, *GRID)
                yield {
                    "stability": round(steady, 4),
                    "label_free_tau": round(free, 3),
                    "first_frame": start,
                    "sequence": name,
                    "tau": tau,
                    "clusters": int(labels.max()) + 1,
                    "best_cluster_j": round(best_cluster_j(labels, true), 4),
                }


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """Yield one row for every recipe, seed, step, set of frames, sequence and τ."""
    data = load(options)
    scale = (data.train[0].features.shape[-1] // 2 // data.heads) ** -0.5
    plain = {"cross-frame": CrossFrame(data.heads, scale), "key similarity": KeySimilarity()}
    for name in options.recipes:
        if name in plain:
            runs: Any = [("", Trained(0, plain[name], 0, 0, 0))]
        else:
            runs = ((seed, trained) for seed in options.seeds
                    for trained in train(RECIPES[name], data, seed, options.at or ()))  # fmt: skip
        for seed, trained in runs:
            about = {
                "backbone": options.backbone,
                "has_seen": HAS_SEEN[options.backbone],
                "recipe": name,
                "seed": seed,
                "step": trained.step,
                "semantic": round(float(trained.semantic), 4),
                "motion": round(float(trained.motion), 4),
                "seconds": round(trained.seconds),
            }
            yield from ({**about, **row} for row in scored(trained.source, data, options.starts))


def table(rows: list[Row]) -> str:
    """Return the mean J of every recipe at each τ."""
    lines = []
    for key, own in groups(rows, "backbone", "has_seen", "recipe", "step"):
        means = [f"{mean(part, 'best_cluster_j'):.3f}" for _, part in groups(own, "tau")]
        lines.append([*key, *means, f"{mean(own, 'stability'):.3f}"])
    heads = ["backbone", "trained on", "recipe", "step", *(f"τ {tau:g}" for tau in TAUS),
             "label-free τ", "stability"]  # fmt: skip
    return markdown(heads, lines, words=4)


def main() -> None:
    """Train, measure, write every figure."""
    parser = learner_parser(str(__doc__))
    names = ("cross-frame", "key similarity", *RECIPES)
    parser.add_argument("--recipes", nargs="+", default=names[:-1], choices=names)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--starts", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--at", type=int, nargs="+", help="steps to measure at (default: the last)")
    options = parser.parse_args()
    print(table(write_rows(options.out, measure(options))))


if __name__ == "__main__":
    main()
