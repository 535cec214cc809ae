"""The texts of the page; `html` has those inside markup, `recipe` the code shown."""

from __future__ import annotations

import errno
from html import escape

import numpy as np

from bavos_core import Analysis, Segmentation, backbones
from bavos_core.settings import AttentionSource
from bavos_io.clip import Clip
from bavos_lab.training import Step

from .presets import PRESETS, Pace, usual_preset
from .settings import DemoSettings
from .store import Result

HEADER = """
<header class="bavos-head"><h1>Bavos</h1>
<p>Segments and tracks the objects in a video using the attention of a Vision Transformer. No
prompts; with a DINO backbone, no labels either.</p></header>
"""
START = "Upload a clip and press **Segment**, or click an example."
READY = "Press **Segment** to find the objects in this clip."
WAITING = "waiting for another clip to finish"
CANCELLED = "Cancelled."
CLICK = (
    "<p><strong>Click a patch</strong> in the large frame to see where it attends, in that frame "
    "and in all others.</p>"
)
CAVEAT = "Attention shows what the network compares; it does not explain a decision."
BACKBONE = (
    f"The network whose attention is used. auto: {backbones.PAPER}, as in the paper, if its "
    f"weights are available; otherwise the bundled one, {backbones.TUNED_ON_SALIENCY}, which needs "
    "no download."
)
PART_START = "Start (seconds)"
PART_END = "End (seconds)"
PRESET = "Quality"
PRESET_INFO = "Frames × patches per frame, and the time that a run takes on this server"
HEAT = "Attention of the marked patch in this frame"
HEAD = "Head (each attention head compares different features)"
HEAT_STYLE = "Heatmap style"
WEIGH = "Click this heatmap to read the attention weight of a patch."
TIME = "Time (analysed frame; arrow keys step)"
GRANULARITY = "Granularity (number of clusters)"
BACKGROUND = "Colour the background too"
VIEW = {"Objects": "objects", "Compare": "compare", "Original": "original"}
STYLE = "Style"
STYLES = {"Fill and outline": "both", "Fill": "fills", "Outline": "outlines"}
COLOURS = ("inferno", "viridis", "magma", "turbo", "gray")
KEEP = "Keep earlier points"
GRID = "Patch grid"
SOURCE_LABEL = "Source of attention"
SOURCE = (
    "Frame-wise: the backbone's own attention within each frame (paper, Fig. 1b). Cross-frame: the "
    "same across all frames. Untrained and trained correlator: Fig. 1c, d. Key similarity: that of "
    "the backbone's keys, without training."
)
SOURCES = {
    "framewise": "Frame-wise",
    "cross-frame": "Cross-frame",
    "untrained": "Untrained correlator",
    "correlator": "Trained correlator",
    "key-similarity": "Key similarity",
}
ADAPT = (
    "Train the correlator on this clip alone, without labels, and watch its attention change. "
    "The clip is then segmented again with it; Undo restores the previous result."
)
ADAPTED = "The correlator was adapted to this clip."
ADAPTING_SEEN = "Attention of the clicked patch, or of the centre, during training"
STEPS = "Training steps"
SIDE_BY_SIDE = "Side by side: click a picture to select its frame or head"
COMPARE = {"Over time": "time", "All sources": "sources", "All heads": "heads"}
MEAN_HEAD = "Mean of all"
CLUSTERS = (
    "Patches with similar attention form a cluster. It is suggested as an object if it is compact, "
    "closer to the centre than the rest, and attended to by the network's [CLS] token."
)
OBJECTS = (
    "The choice of objects is a suggestion that you can change. Names, roles, merges and splits "
    "are included in the downloads; hiding is not. A split applies at this number of clusters only."
)
CHANGES = {"name": "rename", "role": "role change", "merge": "merge", "split": "split"}
TAU = "The largest difference (symmetric KL divergence) between the attention maps of a cluster."
PATCHES = "Small squares of the picture; the network represents each by one token."
ENTROPY = "How widely attention is spread: 0 if it all goes to one patch."
EDITORS = "For video editors"
EDITORS_INFO = (
    "The objects cut out of the clip. ProRes 4444 and PNG frames are too large for this page; the "
    "command line writes them."
)
CUT_OUTS = {
    "None": "", "Video with alpha (VP9, webm)": "vp9", "Matte (black and white, mp4)": "matte"
}  # fmt: skip
EACH = "One file per object"
CODE = "Code that reproduces this result"
TREE = (
    "Each branch is a part of the scene, from the finest parts at the bottom to the whole scene at "
    "the top. Drag the dashed line to choose the granularity; click a branch to see its patches "
    "over time. Dotted branches separate objects that have similar attention, by their position."
)
LEVELS = "From the finest parts to the whole scene"


def backbone_choices() -> list[tuple[str, str]]:
    """Return labels and names of the backbones."""
    return [(backbones.describe(name), name) for name in backbones.names()]


def sources(analysis: Analysis) -> list[tuple[AttentionSource, str]]:
    """Return the attention sources of an analysis with their labels."""
    return [(source, SOURCES[source]) for source in analysis.sources()]


def head(number: int) -> str:
    """Return the label of an attention head."""
    return f"Head {number}"


def frame_name(analysis: Analysis, position: int) -> str:
    """Return the label of an analysed frame, with its time."""
    return f"Frame {position}, {analysis.times[analysis.analysed[position]]:.1f} s"


def term(text: str, meaning: str) -> str:
    """Return a technical term as HTML, with its meaning as a tooltip."""
    return f'<abbr title="{escape(meaning)}">{escape(text)}</abbr>'


# ---- before and during a run -------------------------------------------------------------------


def presets(pace: Pace, settings: DemoSettings) -> list[tuple[str, str]]:
    """Return labels and names of the presets, with frames, patches and expected time."""
    return [(_preset(name, pace, settings), name) for name in PRESETS]


def _preset(name: str, pace: Pace, settings: DemoSettings) -> str:
    preset = PRESETS[name].within(settings)
    seconds = pace.seconds(preset)
    expected = f", {seconds:.0f} s" if seconds else ""
    return f"{name.capitalize()}: {preset.frames} × {preset.patches}{expected}"


def limits(settings: DemoSettings) -> str:
    """Return the limits of an upload."""
    return (
        f"Video (mp4, mov, webm, mkv, gif, avi), picture, or zip of frames; at most "
        f"{settings.max_upload_mib} MiB, {_minutes(settings.max_seconds)}, "
        f"{settings.max_clip_frames:,} frames, {settings.max_megapixels} megapixels each."
    )


def about(clip: Clip, settings: DemoSettings) -> str:
    """Return the size and length of a clip, and how many of its frames will be analysed."""
    frames, (height, width) = len(clip.times), clip.size
    used = PRESETS[usual_preset()].within(settings).frames
    plan = "All are" if frames <= used else f"{used} of them, evenly spaced, are"
    return f"{frames} frames of {width}×{height}, {clip.end:.1f} s. {plan} analysed by default."


def learning(step: Step) -> str:
    """Return the state of a training run after a step."""
    return (
        f"Step {step.step} of {step.steps}: semantic loss {step.semantic:.3f}, motion loss "
        f"{step.motion:.3f}; {step.seconds:.1f} s elapsed."
    )


def clustering(step: Step) -> str:
    """Return that training has ended and the clip is being segmented again."""
    return f"{_trained(step)} Segmenting the clip again …"


def learned(step: Step) -> str:
    """Return the outcome of a training run."""
    return (
        f"{_trained(step)} The page now shows the adapted correlator; it is included in the "
        "downloads."
    )


def _trained(step: Step) -> str:
    steps = f"{step.steps}" if step.step == step.steps else f"{step.step} of {step.steps}"
    return f"Trained for {steps} steps in {step.seconds:.1f} s."


def footer(settings: DemoSettings) -> str:
    """Return how long files are kept, and the source of the method."""
    return (
        "Clips and results are deleted when you close the page, or after "
        f"{_minutes(settings.keep_seconds)}; nobody else can see them. "
        "Method: Ding et al., *Betrayed by Attention*, ECCV 2024."
    )


def failure(error: Exception) -> str:
    """Return the message for an unexpected error; the log has the traceback."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The server's disk is full; try again in a few minutes."
    if isinstance(error, MemoryError):
        return "The server has no memory left for this; choose fewer frames or try again later."
    return "Something went wrong on the server and was logged; try again, or use another clip."


def _minutes(seconds: int) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds} seconds"


# ---- results -----------------------------------------------------------------------------------


def report(result: Result, cut: Segmentation) -> str:
    """Return what was done and what a cut shows, in Markdown."""
    analysis = result.analysis
    objects = len(cut.objects)
    found = "1 object was" if objects == 1 else f"{objects} objects were"
    stages = ", ".join(f"{stage} {value:.1f} s" for stage, value in result.seconds.items())
    lines = [
        f"**{found} found.** Click in the frame below to see what a patch attends to.",
        f"{term(f'{cut.cut} clusters', CLUSTERS)} at {term(f'τ = {cut.tau:g}', TAU)}, with "
        f"**{backbones.describe(analysis.settings.backbone)}** "
        f"on a grid of {analysis.grid[0]}×{analysis.grid[1]} "
        f"{term('patches', PATCHES)}; {sum(result.seconds.values()):.1f} s: {stages}.",
    ]
    if result.notices:
        lines.append(f"⚠ {' '.join(result.notices)}")
    return "\n\n".join(lines)


def one_part(name: str) -> str:
    """Return that a cluster cannot be split."""
    return f"{name} has only one part and cannot be split."


def patch_weight(row: np.ndarray, position: int, place: tuple[int, int]) -> str:
    """Return weight and rank of one patch in a row of attention (T, h, w)."""
    weight = float(row[position, place[0], place[1]])
    rank = int((row > weight).sum()) + 1
    return (
        f"The patch in row {place[0]}, column {place[1]} of frame {position} receives "
        f"{weight:.3%} of the attention: rank {rank} of {row.size}, {weight * row.size:.1f} times "
        "the mean."
    )
