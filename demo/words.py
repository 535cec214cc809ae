"""Every text on the page."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bavos_core import Analysis, Segmentation, backbones, drawing
from bavos_core.settings import FRAMES_ON_CPU
from bavos_core.training import Step
from bavos_core.video import Clip

from .settings import DemoSettings
from .store import Result

HEADER = """
<header class="bavos-head"><h1>Bavos</h1>
<p>Finds, follows and colours the objects of a video from what a Vision Transformer attends to:
no labels, no prompts.</p></header>
"""
START = "Upload a clip or click an example, then press **Segment**."
CLICK = "Click a patch in the picture above to see where it attends."
BACKBONE = (
    "What describes the patches. dino-vits8 is the paper's; builtin needs no download "
    "but is far from the paper's accuracy."
)
FRAMES = "Spread evenly over the clip; more take longer."
TIME = "Time (analysed frame)"
GRANULARITY = "Granularity (number of clusters)"
BACKGROUND = "Colour the background too"
SOURCE_LABEL = "Source of attention"
SOURCE = (
    "Whose attention to look at (the paper's Fig. 1 b, c, d, and training-free keys). A trained "
    "block is listed when the server was given one."
)
FOOTER = """
Attention shows what was compared with what; it is not an explanation of a decision.
Clips and results stay on this server for at most an hour and are not shared.
Method: Ding et al., *Betrayed by Attention*, ECCV 2024.
"""
SOURCES = {
    "framewise": "Frame-wise",
    "untrained": "Untrained block",
    "learned": "Trained block",
    "keys": "Training-free keys",
}


ADAPT = (
    "Train the attention block on this clip alone, without labels, for a moment, and watch what it "
    "learns to attend to. Then the objects are found anew with it; Undo brings the old ones back."
)
STEPS = "Training steps"
COMPARE = {"Over time": "time", "All sources": "sources", "All heads": "heads"}


def frame_name(analysis: Analysis, position: int) -> str:
    """An analysed frame and its time."""
    return f"Frame {position}, {analysis.times[analysis.analysed[position]]:.1f} s"


def learning(step: Step) -> str:
    """Where a run of adapting is."""
    return (
        f"Step {step.step} of {step.steps}: semantic loss {step.semantic:.3f}, motion loss "
        f"{step.motion:.3f}; {step.seconds:.1f} s so far."
    )


def clustering(step: Step) -> str:
    """That learning is over and objects are found anew."""
    return f"{_learned(step)} Finding the objects anew …"


def learned(step: Step) -> str:
    """What a run of adapting came to."""
    return (
        f"{_learned(step)} Everything on this page now shows the adapted block; it is among the "
        "downloads."
    )


def _learned(step: Step) -> str:
    early = "" if step.step == step.steps else f", stopped before {step.steps}"
    return f"Learned for {step.step} steps{early}, {step.seconds:.1f} s."


def limits(settings: DemoSettings) -> str:
    """What may be uploaded."""
    return (
        f"Video (mp4, mov, webm, gif, avi), a picture, or a zip of frames; up to "
        f"{settings.max_upload_mib} MiB and {settings.max_seconds // 60} minutes."
    )


def about(clip: Clip, settings: DemoSettings) -> str:
    """A clip in numbers, and what will happen to a long one."""
    frames, (height, width) = len(clip.times), clip.size
    used = min(FRAMES_ON_CPU, settings.max_frames)
    plan = "all are analysed" if frames <= used else f"{used} of them, spread evenly, are analysed"
    return (
        f"{frames} frames of {width}×{height}, {clip.times[-1]:.1f} s; unless you change it under "
        f"Settings, {plan}."
    )


def report(result: Result) -> str:
    """What was done, in Markdown."""
    analysis = result.analysis
    cut = analysis.segment()
    objects = int((~cut.background).sum())
    seconds = ", ".join(f"{stage} {value:.1f} s" for stage, value in analysis.timings.items())
    lines = [
        f"**{objects} objects** among {cut.clusters} clusters at τ = {cut.tau:g}, "
        f"with **{analysis.settings.backbone}** on a {analysis.grid[0]}×{analysis.grid[1]} grid. "
        f"Total {sum(analysis.timings.values()):.1f} s: {seconds}.",
        *(f"⚠ {text}" for text in result.notices),
    ]
    return "\n\n".join(lines)


def legend(cut: Segmentation) -> str:
    """The objects with their colours and shares of the picture, as HTML."""
    share = np.bincount(cut.labels.ravel(), minlength=cut.clusters) / cut.labels.size
    frames = [int((cut.labels == i).any((1, 2)).sum()) for i in range(cut.clusters)]
    chips = [
        f'<li><i style="background:rgb{drawing.object_colour(i)}"></i>Object {i + 1}'
        f"<small>{share[i]:.1%}, {frames[i]} frames</small></li>"
        for i in range(cut.clusters)
        if not cut.background[i]
    ]
    scenery = int(cut.background.sum())
    return (
        f'<ul class="bavos-legend">{"".join(chips)}'
        f"<li><i></i>Background<small>{scenery} clusters</small></li></ul>"
    )


def attention(row: np.ndarray, frame: int) -> str:
    """A row of attention in numbers."""
    probabilities = row[row > 0]
    entropy = float(-(probabilities * np.log(probabilities)).sum())
    return (
        f"From frame {frame}: {row[frame].sum():.1%} of the attention stays in that frame; it "
        f"spreads over {math.exp(entropy) / row.size:.0%} of all patches. Brighter is more; one "
        "scale for all frames."
    )


def as_json(result: Result) -> dict[str, Any]:
    """The summary of a result for the HTTP API."""
    analysis = result.analysis
    cut = analysis.segment()
    return {
        "result": result.id,
        "backbone": analysis.settings.backbone,
        "frames": len(analysis.times),
        "analysed": analysis.analysed.tolist(),
        "size": list(analysis.size),
        "grid": list(analysis.grid),
        "tau": cut.tau,
        "clusters": cut.clusters,
        "background": cut.background.tolist(),
        "leaves": analysis.tree.leaves,
        "sources": list(analysis.sources()),
        "seconds": {stage: round(value, 3) for stage, value in analysis.timings.items()},
        "notices": list(result.notices),
        "builtin": analysis.settings.backbone == backbones.BUILTIN,
    }
