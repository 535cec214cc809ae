"""Every text on the page."""

from __future__ import annotations

import errno
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bavos_core import Analysis, ClusterTree, Edit, Segmentation, backbones, render
from bavos_core.download import FileOrUrl
from bavos_core.settings import AttentionSource
from bavos_core.video import Clip
from bavos_lab.training import Step

from .drawing import query_colour
from .edits import Edits
from .presets import PRESETS, Pace, usual_preset
from .settings import DemoSettings
from .store import Result

if TYPE_CHECKING:
    from .images import Query

HEADER = """
<header class="bavos-head"><h1>Bavos</h1>
<p>Segments and tracks the objects of a video from the attention of a Vision Transformer. No prompt;
with a DINO backbone, no labels either.</p></header>
"""
START = "Upload a clip and press **Segment**, or click an example."
READY = "Press **Segment** to find the objects of this clip."
CLICK = (
    "<p><strong>Click a patch</strong> in the large frame: here you will see where it attends, in "
    "that frame and in all others.</p>"
)
CAVEAT = "Attention shows what was compared with what; it is not an explanation of a decision."
BACKBONE = (
    f"The network whose attention is shown. auto: {backbones.PAPER}, the paper's, where its "
    f"weights can be had; otherwise the bundled one, {backbones.TUNED_ON_SALIENCY}, which needs no "
    "download."
)
PRESET = "Quality"
PRESET_INFO = "Frames × patches in each; time that a clip is expected to take here"
HEAT = "Where the marked patch attends, in this frame"
HEAD = "Head (attention has several; each looks for something else)"
WEIGH = "Click any place in this picture for its weight."
TIME = "Time (analysed frame; arrow keys step)"
GRANULARITY = "Granularity (number of clusters)"
BACKGROUND = "Colour the background too"
VIEW = {"Objects": "objects", "Compare": "compare", "Original": "original"}
STYLES = {"Fill and outline": "both", "Fill": "fills", "Outline": "outlines"}
COLOURS = ("inferno", "viridis", "magma", "turbo", "gray")
KEEP = "Keep earlier points"
GRID = "Patch grid"
SOURCE_LABEL = "Source of attention"
SOURCE = (
    "Frame-wise: the backbone's own attention in each frame (the paper's Fig. 1b). Cross-frame: "
    "the same over all frames. Untrained and trained block: Fig. 1c, d. Keys: similarity of keys."
)
SOURCES = {
    "framewise": "Frame-wise",
    "cross-frame": "Cross-frame",
    "untrained": "Untrained block",
    "correlator": "Trained block",
    "key-similarity": "Training-free keys",
}
ADAPT = (
    "Train the attention block on this clip alone, without labels, for a moment, and watch what it "
    "learns to attend to. Then the objects are found anew with it; Undo brings the old ones back."
)
ADAPTED = "The attention block was adapted to this clip."
STEPS = "Training steps"
SIDE_BY_SIDE = "Side by side: click a picture to go to its frame or head"
COMPARE = {"Over time": "time", "All sources": "sources", "All heads": "heads"}
CLUSTERS = (
    "Patches that attend alike make a cluster. It is suggested as an object if it is solid, nearer "
    "to the middle than the rest, and draws the attention of the network's [CLS] token."
)
OBJECTS = (
    "What counts as an object is a suggestion that you can change. Names, roles, merges and splits "
    "go into the downloads; hiding does not. A split holds at this number of clusters only."
)
CHANGES = {"name": "rename", "role": "role change", "merge": "merge", "split": "split"}
TAU = "How different (symmetric KL divergence) the attention in one cluster may be."
PATCHES = "Small squares of the picture; the network sees each as one thing."
ENTROPY = "How widely attention is spread: 0 if it all goes to one patch."
CODE = "Code that gives this result elsewhere"
TREE = (
    "Every branch is a part of the scene: the finest below, the whole scene on top. Drag the "
    "dashed line to choose how fine objects are; click a branch to see its patches over time. "
    "Dotted branches lead to things that attend alike and are told apart by where they are."
)
LEVELS = "From the finest parts to the whole scene"


def backbone_choices() -> list[tuple[str, str]]:
    """Return labels and names of the backbones."""
    return [(backbones.describe(name), name) for name in backbones.names()]


def sources(analysis: Analysis) -> list[tuple[AttentionSource, str]]:
    """Sources that an analysis can show, and what they are called."""
    return [(source, SOURCES[source]) for source in analysis.sources()]


def frame_name(analysis: Analysis, position: int) -> str:
    """An analysed frame and its time."""
    return f"Frame {position}, {analysis.times[analysis.analysed[position]]:.1f} s"


# ---- before and during a run -------------------------------------------------------------------


def presets(pace: Pace, settings: DemoSettings) -> list[tuple[str, str]]:
    """Labels and names of the presets, with their frames, size and expected time."""
    return [(_preset(name, pace, settings), name) for name in PRESETS]


def _preset(name: str, pace: Pace, settings: DemoSettings) -> str:
    preset = PRESETS[name].within(settings)
    seconds = pace.seconds(preset)
    expected = f", {seconds:.0f} s" if seconds else ""
    return f"{name.capitalize()}: {preset.frames} × {preset.patches}{expected}"


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
        f"{settings.max_upload_mib} MiB, {_minutes(settings.max_seconds)}, "
        f"{settings.max_clip_frames:,} frames, {settings.max_megapixels} megapixels each."
    )


def footer(settings: DemoSettings) -> str:
    """What happens to what is sent, and whose method it is."""
    return (
        "Clips and results stay on this server until you close the page, at most "
        f"{_minutes(settings.keep_seconds)}, and nobody else can see them. "
        "Method: Ding et al., *Betrayed by Attention*, ECCV 2024."
    )


def failure(error: Exception) -> str:
    """A sentence for what nobody foresaw; the log has the rest."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The server's disk is full; try again in some minutes."
    if isinstance(error, MemoryError):
        return "The server has no memory left for this; choose fewer frames or try again later."
    return "Something went wrong on the server, which wrote down what; try again, or another clip."


def _minutes(seconds: int) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds} seconds"


def about(clip: Clip, settings: DemoSettings) -> str:
    """A clip in numbers, and what will happen to a long one."""
    frames, (height, width) = len(clip.times), clip.size
    used = PRESETS[usual_preset()].within(settings).frames
    plan = "all are analysed" if frames <= used else f"{used} of them, spread evenly, are analysed"
    return (
        f"{frames} frames of {width}×{height}, {clip.times[-1]:.1f} s; unless you choose another "
        f"quality, {plan}."
    )


# ---- results -----------------------------------------------------------------------------------


def report(result: Result, cut: Segmentation) -> str:
    """What was done, and what a cut of it shows, in Markdown."""
    analysis = result.analysis
    objects = len(cut.objects)
    seconds = ", ".join(f"{stage} {value:.1f} s" for stage, value in analysis.timings.items())
    lines = [
        f"**{objects} objects** were found. Click into the frame below to see what a patch of it "
        "attends to.",
        f"{term(f'{cut.cut} clusters', CLUSTERS)} at {term(f'τ = {cut.tau:g}', TAU)}, with "
        f"**{backbones.describe(analysis.settings.backbone)}** "
        f"on a grid of {analysis.grid[0]}×{analysis.grid[1]} "
        f"{term('patches', PATCHES)}; {sum(analysis.timings.values()):.1f} s: {seconds}.",
        *(f"⚠ {text}" for text in result.notices),
    ]
    return "\n\n".join(lines)


def term(text: str, meaning: str) -> str:
    """A word of the field, with what it means on hover."""
    return f'<abbr title="{escape(meaning)}">{escape(text)}</abbr>'


def object_list(cut: Segmentation, edits: Edits, thumbnails: Mapping[int, str]) -> str:
    """The clusters, each with its picture, colour, share and what can be done to it, as HTML."""
    share = np.bincount(cut.labels.ravel(), minlength=cut.clusters) / cut.labels.size
    unseen = edits.unseen(cut)

    def row(i: int) -> str:
        name = escape(cut.name(i), quote=True)
        frames = int((cut.labels == i).any((1, 2)).sum())
        looks, other = "", "object"
        if not cut.background[i]:
            hidden, alone, other = i in unseen, edits.is_alone(cut, i), "background"
            looks = _button("hide", i, name, "Show" if hidden else "Hide", pressed=hidden)
            looks += _button("alone", i, name, "Only this", pressed=alone)
        return (
            f'<li class="{"unseen" if i in unseen else ""}">'
            f'<i style="background:rgb{render.object_colour(i)}"></i>'
            f'<img src="{thumbnails[i]}" alt="{name}">'
            f'<input data-action="name" data-id="{i}" value="{name}" aria-label="Name of {name}">'
            f"<small>{share[i]:.1%} of the picture, {frames} frames</small>"
            f"<div>{looks}{_button('split', i, name, 'Split')}"
            f'<select data-action="merge" data-id="{i}" aria-label="Merge {name} into">'
            '<option value="">Merge…</option></select>'
            f"{_button('role', i, name, f'Make {other}', value=other)}</div></li>"
        )

    scenery = [i for i in cut.present if cut.background[i]]
    return (
        f"<p>{_step('undo', edits.edits, cut)}{_step('redo', edits.undone, cut)}</p>"
        f'<ul class="bavos-objects">{"".join(map(row, cut.objects))}</ul>'
        f"<details><summary>Background ({len(scenery)})</summary>"
        f'<ul class="bavos-objects">{"".join(map(row, scenery))}</ul></details>'
        f"<p>{OBJECTS}</p>"
    )


def _button(
    action: str, i: int, name: str, label: str, *, value: str = "", pressed: bool | None = None
) -> str:
    state = "" if pressed is None else f' aria-pressed="{str(pressed).lower()}"'
    return (
        f'<button data-action="{action}" data-id="{i}" data-value="{value}" '
        f'aria-label="{label}: {name}"{state}>{label}</button>'
    )


def _step(action: str, edits: Sequence[Edit], cut: Segmentation) -> str:
    """The button that takes the last edit back, or makes it again."""
    if not edits:
        return f'<button data-action="{action}" disabled>{action.capitalize()}</button>'
    last = edits[-1]
    elsewhere = "" if last.at in (None, cut.cut) else f" (at {last.at} clusters)"
    said = f"{action.capitalize()} {CHANGES[last.action]}{elsewhere}"
    return f'<button data-action="{action}">{said}</button>'


def one_part(name: str) -> str:
    """That a cluster cannot be split."""
    return f"{name} has only one part, so it cannot be split."


def attention(analysis: Analysis, rows: np.ndarray, queries: Sequence[Query]) -> str:
    """Rows of attention (Q, T, h, w) in numbers, and their share per frame as bars, as HTML."""
    return "".join(
        _attention(analysis, row, query, i if len(rows) > 1 else None)
        for i, (row, query) in enumerate(zip(rows, queries, strict=True))
    )


def _attention(analysis: Analysis, row: np.ndarray, query: Query, number: int | None) -> str:
    probabilities = row[row > 0]
    entropy = float(-(probabilities * np.log(probabilities)).sum())
    dot = (
        ""
        if number is None
        else f'<i class="dot" style="background:rgb{query_colour(number)}"></i>'
    )
    height, width = analysis.size
    y, x = int(query[1] * row.shape[1] / height), int(query[2] * row.shape[2] / width)
    return (
        f"<p>{dot}Patch in row {y}, column {x} of frame {query[0]}: {row[query[0]].sum():.1%} of "
        f"its attention stays in that frame (an even share is {1 / len(row):.1%}); "
        f"{term(f'entropy {entropy:.2f} nats', ENTROPY)}, as if spread "
        f"evenly over {math.exp(entropy) / row.size:.0%} of all patches.</p>"
        f"{_bars(row.sum((1, 2)))}"
    )


def _bars(shares: np.ndarray) -> str:
    """A small plot of the share of attention that each frame gets."""
    high, wide = 36, 8
    top = max(float(shares.max()), 1e-9)
    bars = "".join(
        f'<rect x="{wide * t}" y="{high * (1 - s / top):.1f}" width="{wide - 1}" '
        f'height="{high * s / top:.1f}"><title>Frame {t}: {s:.1%}</title></rect>'
        for t, s in enumerate(shares.tolist())
    )
    label = f"Share of attention per frame, {top:.1%} at most"
    return (
        f'<svg class="bavos-bars" viewBox="0 0 {wide * len(shares)} {high}" '
        f'preserveAspectRatio="none" role="img" aria-label="{label}">{bars}</svg>'
        f"<small>{label}</small>"
    )


def patch_weight(row: np.ndarray, position: int, place: tuple[int, int]) -> str:
    """Weight and rank of one patch in a row of attention (T, h, w)."""
    weight = float(row[position, place[0], place[1]])
    rank = int((row > weight).sum()) + 1
    return (
        f"The patch in row {place[0]}, column {place[1]} of frame {position} gets {weight:.3%} of "
        f"the attention: rank {rank} of {row.size}, {weight * row.size:.1f} times the mean."
    )


def code(result: Result, cut: Segmentation, edits: Edits, link: str) -> str:
    """Lines that give exactly this result elsewhere."""
    settings = result.analysis.settings
    adapted = ADAPTED in result.notices
    correlator = "correlator.safetensors" if adapted else file_name(settings.correlator)
    weights = settings.weights and file_name(settings.weights)
    option = f" --weights {weights}" if weights else ""
    plain = " (without what was adapted)" if adapted else ""
    said = backbones.describe(settings.backbone)
    about = f"# Backbone: {said}\n" if said != settings.backbone else ""
    made = edits.concerning(cut)
    changed = f".edited({_lines(map(_as_python, made))})" if made else ""
    passed = f", [{_lines(repr(edit.to_dict()) for edit in made)}]" if made else ""
    return f"""{about}# Command line (edits are made in Python or on the page)
python -m bavos_core segment CLIP --out results --backbone {settings.backbone}{option} \\
    --correlator {correlator} --frames {settings.frames} --patches {settings.patches} \\
    --tau {cut.tau!r}

# Python
from bavos_core import Edit, Settings, analyse
analysis = analyse("CLIP", Settings(backbone={settings.backbone!r}, weights={weights!r},
    correlator={correlator!r}, frames={settings.frames}, patches={settings.patches}))
cut = analysis{changed}.segment(n_clusters={cut.cut})

# This server, from Python{plain}
from gradio_client import Client, handle_file
client = Client("{link or "http://127.0.0.1:7860/"}")
summary, overlay = client.predict(handle_file("CLIP"), {settings.backbone!r},
    {settings.frames}, {settings.patches}, api_name="/segment")
files = client.predict(summary["result"], {cut.cut}{passed}, api_name="/export")
"""


def _as_python(edit: Edit) -> str:
    """The call that makes an edit."""
    values = [repr(value) for value in (edit.cluster, edit.value) if value is not None]
    place = [] if edit.at is None else [f"at={edit.at}"]
    return f"Edit.{edit.action}({', '.join(values + place)})"


def _lines(values: Iterable[str]) -> str:
    """What stands between brackets: values with commas, a line each."""
    return "".join(f"\n    {value}," for value in values) + "\n"


def file_name(source: FileOrUrl) -> str:
    """A URL as it is, a file without the folders of this machine."""
    return source.name if isinstance(source, Path) else source


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
    }


def cut_as_json(result: Result, cut: Segmentation) -> dict[str, Any]:
    """A cut in numbers for the HTTP API; an empty cluster has no role."""
    present = set(cut.present)
    return {
        "tau": cut.tau,
        "clusters": cut.clusters,
        "background": cut.background.tolist(),
        "names": [cut.name(i) for i in range(cut.clusters)],
        "roles": [cut.role(i) if i in present else None for i in range(cut.clusters)],
        "instances": _instances(result.analysis.tree, cut),
        "splits": {str(i): list(parts) for i, parts in cut.splits.items()},
        "leaves": result.analysis.tree.leaves,
    }


def _instances(tree: ClusterTree, cut: Segmentation) -> list[list[int]]:
    """Groups of clusters that attend alike and are told apart as instances."""
    joins = np.append(np.zeros(tree.leaves, bool), tree.instances)
    parents = tree.parents()
    above = joins & (tree.node_clusters(cut.leaf_cluster) < 0)  # the cut
    highest = above & ~((parents >= 0) & above[parents])
    return [
        np.unique(cut.leaf_cluster[tree.leaves_of(int(node))]).tolist()
        for node in np.flatnonzero(highest)
    ]
