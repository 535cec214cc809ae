"""The texts of the page; `recipe` has the code shown."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from html import escape

from bavos_core import backbones
from bavos_io.clip import Clip
from bavos_io.memory import NO_MEMORY, is_out_of_memory
from bavos_lab.training import Step

from .disk import FULL
from .presets import PRESETS, Preset
from .settings import DemoSettings
from .store import Result

ABOUT = "Finds and tracks the objects of a video with the attention of a Vision Transformer."
HEADER = f"""
<header class="bavos-head"><h1>Bavos</h1>
<p>{ABOUT}</p>
<ol><li>Choose a clip, press Segment.</li><li>Move over the picture: attention follows.</li>
<li>Click objects; take them home.</li></ol></header>
"""
START = "This is an example. **Try your own:** upload a clip and press Segment."
READY = "Press **Segment** to find the objects in this clip."
QUEUE_FULL = "Too many jobs are waiting on this server; try again in a minute."
CANCELLED = "Cancelled."
NOT_YET = "This frame is still being made; ask again in a second."
LOST = (
    "**The result of this link is no longer on the server**, which keeps results for a limited "
    "time. Upload the clip again and press Segment."
)
DELETED = "The result was deleted, with its clip and all its files."
EXAMPLE_STAYS = "This is the result of an example, which is the same for everybody; it stays."
WARMING_UP = "The server is still analysing this example; try again in a few seconds."
NO_SUCH_EXAMPLE = "There is no such example; choose one of those shown."
BAD_STATE = "The state of the viewer must be a JSON object of at most 200 kB."
NO_MCP = 'MCP is not installed here; the operator can add it: pip install ".[mcp]".'
MCP_ABOUT = (
    "Bavos finds and tracks the objects of a video with the attention of a Vision Transformer. "
    "Upload a clip (the tool upload says how), call segment, then cut, attend, export or html with "
    "the id of the result."
)
MCP_UPLOAD = "Run `{command}` and give the path that it prints to segment as clip."
MCP_CANCELLED = "The jobs of this session were asked to stop."
MCP_NO_SESSION = "This connection has no session; cancel the request itself instead."
NOT_USABLE = "The values that were sent cannot be used; send those that the API page describes."
BACKBONE = (
    f"The network whose attention is used. auto: {backbones.PAPER}, as in the paper, if its "
    f"weights are available; otherwise the bundled one, {backbones.TUNED_ON_SALIENCY}, which needs "
    "no download."
)
PART_START = "Start (seconds)"
PART_END = "End (seconds)"
PRESET = "Quality: frames × patches of each"
ADAPT = (
    "Train the correlator on this clip alone, without labels, and watch its attention change. "
    "The objects are then found anew with it; the result from before is kept beside the new one."
)
ADAPTED = "The correlator was adapted to this clip."
ADAPTING_SEEN = "Attention of the centre of the middle frame during training"
STEPS = "Training steps"
VERSIONS = {"Before": "before", "After": "after"}
VERSIONS_LABEL = "The viewer shows the result"
VERSION_SHOWN = {
    "before": "The viewer shows the result from before the training.",
    "after": "The viewer shows the result with the correlator that was trained on this clip.",
}
CLUSTERS = (
    "Patches with similar attention form a cluster. It is suggested as an object if it is compact, "
    "closer to the centre than the rest, and attended to by the network's [CLS] token."
)
TAU = "The largest difference (symmetric KL divergence) between the attention maps of a cluster."
PATCHES = "Small squares of the picture; the network represents each by one token."
FILES_HERE = (
    "Files are made when you press the button; of a long clip, this can take minutes. Closing the "
    "page stops it."
)
WHICH_LABEL = "Objects in the files"
WHICH = {"All": "all", "Selected in the viewer": "selected"}
EDITORS = "For video editors"
EDITORS_INFO = (
    "The objects cut out of the clip. ProRes 4444 and PNG frames are too large for this page; the "
    "command line writes them."
)
CUT_OUTS = {
    "None": "", "Video with alpha (VP9, webm)": "vp9", "Matte (black and white, mp4)": "matte"
}  # fmt: skip
EACH = "One file per object"
CUT_OUT_FILE = "objects cut out of the clip, {size}"
CODE = "Code that reproduces this result"
FILES = {  # what each downloaded file is; {size} is that of the clip
    "bavos.zip": "all files below in one",
    "overlay.mp4": "the clip with its objects coloured, {size}, with its sound",
    "masks.zip": "a palette PNG of every frame, {size}, named as the frames",
    "masks.json": "the same masks as COCO RLE, with times and names",
    "labels.npz": "the cluster of every patch, for NumPy",
    "hierarchy.json": "the tree of clusters",
    "hierarchy.svg": "its picture",
    "summary.json": "settings, objects and times",
    "correlator.safetensors": "the correlator that was trained on this clip",
}


def backbone_choices() -> list[tuple[str, str]]:
    """Return labels and names of the backbones."""
    return [(backbones.describe(name), name) for name in backbones.names()]


def term(text: str, meaning: str) -> str:
    """Return a technical term as HTML, with its meaning as a tooltip."""
    return f'<abbr title="{escape(meaning)}">{escape(text)}</abbr>'


def wrong_count(sent: int, names: Iterable[str]) -> str:
    """Return that a request brings too few or too many values."""
    wanted = ", ".join(names) or "no values"
    return f"{counted(sent, 'value')} came; send {wanted}."


# ---- before and during a run -------------------------------------------------------------------


def presets(settings: DemoSettings) -> list[tuple[str, str]]:
    """Return labels and names of the presets, with frames and patches."""
    return [
        (f"{name.capitalize()} {used.frames}×{used.patches}", name)
        for name, used in ((name, PRESETS[name].within(settings)) for name in PRESETS)
    ]


def limits(settings: DemoSettings) -> str:
    """Return the limits of an upload."""
    return (
        f"Video (mp4, mov, webm, mkv, gif, avi), picture, or zip of frames; at most "
        f"{settings.max_upload_mib} MiB, {_minutes(settings.max_seconds)}, "
        f"{settings.max_clip_frames:,} frames, {settings.max_megapixels} megapixels each."
    )


def about(clip: Clip, seconds: float | None, most: int) -> str:
    """Return the size and length of a clip, and how long segmenting it takes, if known.

    most: seconds that a run may take.
    """
    (height, width), frames = clip.size, len(clip.times)
    expected = f" About **{max(seconds, 1):.0f} s** on this server." if seconds else ""
    if seconds and seconds > most:
        expected = f" More than **{_minutes(most)}** on this server."
    return f"{counted(frames, 'frame')} of {width}×{height}, {clip.end:.1f} s. {READY}{expected}"


def too_large(asked: Preset, needed: float, most: float) -> str:
    """Return that a run needs too much memory, in GiB."""
    return (
        f"{_asked(asked)} need about {needed:.1f} GiB, more than the {most:.1f} GiB of a run here;"
    )


def too_long(asked: Preset, seconds: float, most: int) -> str:
    """Return that a run is expected to take too long."""
    minutes = _minutes(60 * round(seconds / 60)) if seconds < 36_000 else "hours"
    return f"{_asked(asked)} take about {minutes}, more than the {_minutes(most)} of a run here;"


def too_slow(seconds: int) -> str:
    """Return that a run was ended."""
    return (
        f"This took longer than {_minutes(seconds)} and was ended; ask for fewer frames or patches."
    )


def remedy(frames: int, patches: int) -> str:
    """Return the numbers that fit: frames of as many patches, or patches of as many frames."""
    fitting = {"frame": frames, "patch": patches}
    found = [f"at most {number:,} {noun}{'es' if noun == 'patch' else 's'}"
             for noun, number in fitting.items() if number > 1]  # fmt: skip
    return f"ask for {', or '.join(found)}." if found else "choose a smaller clip."


def _asked(asked: Preset) -> str:
    return f"{counted(asked.frames, 'frame')} of {asked.patches:,} patches"


def waiting(before: int) -> str:
    """Return what a job does that waits for others."""
    return f"waiting: {counted(before, 'job')} before yours"


def own_jobs(number: int) -> str:
    """Return the refusal of a job whose address has too many waiting."""
    return (
        f"{counted(number, 'job')} from your address {'is' if number == 1 else 'are'} waiting "
        "already; let one finish or cancel it first."
    )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def files(names: Sequence[str], size: tuple[int, int]) -> str:
    """Return a list in Markdown of what each file is; size: (H, W) of the clip."""
    shown = f"{size[1]}×{size[0]}"
    return "\n".join(
        f"- **{name}**: {FILES.get(name, CUT_OUT_FILE).format(size=shown)}" for name in names
    )


def learning(step: Step) -> str:
    """Return the state of a training run after a step."""
    bar = f'<progress aria-label="Training" max="{step.steps}" value="{step.step}"></progress>'
    return (
        f"<p>Step {step.step} of {step.steps}: semantic loss {step.semantic:.3f}, motion loss "
        f"{step.motion:.3f}; {step.seconds:.1f} s elapsed.</p>{bar}"
    )


def clustering(step: Step) -> str:
    """Return that training has ended and the clip is being segmented again."""
    bar = '<progress aria-label="Finding the objects anew"></progress>'
    return f"<p>{_trained(step)} Finding the objects anew …</p>{bar}"


def learned(step: Step) -> str:
    """Return the outcome of a training run."""
    return f"<p>{_trained(step)} {VERSION_SHOWN['after']}</p>"


def _trained(step: Step) -> str:
    steps = f"{step.steps}" if step.step == step.steps else f"{step.step} of {step.steps}"
    return f"Trained for {steps} steps in {step.seconds:.1f} s."


def footer(settings: DemoSettings) -> str:
    """Return who can see a result and how long it is kept, and the source of the method."""
    return (
        "Whoever has the link of a result can see it; it cannot be guessed. Clips and results are "
        f"deleted {_minutes(settings.grace_seconds)} after you have closed the page, at the latest "
        f"after {_minutes(settings.keep_seconds)}, or when you press Delete. "
        "Attention shows what the network compares; it does not explain a decision. "
        "Method: Ding et al., *Betrayed by Attention*, ECCV 2024."
    )


def failure(error: Exception) -> str:
    """Return the message for an unexpected error; the log has the traceback."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return FULL
    if is_out_of_memory(error):
        return NO_MEMORY
    return "Something went wrong on the server and was logged; try again, or use another clip."


def _minutes(seconds: int) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds} seconds"


# ---- results -----------------------------------------------------------------------------------


def report(result: Result) -> str:
    """Return what was found, with what and how fast, in one line of Markdown."""
    analysis = result.analysis
    cut = analysis.segment()
    seconds = sum(analysis.timings.values())
    count, notes = len(result.notices), "".join(f"<li>{escape(n)}</li>" for n in result.notices)
    news = (
        f"<details><summary>{counted(count, 'note')}</summary>"
        f'<ul class="note-list">{notes}</ul></details>'
        if count
        else ""
    )
    return (
        f"**{counted(len(cut.objects), 'object')} found** in {seconds:.1f} s: "
        f"{term(counted(cut.cut, 'cluster'), CLUSTERS)} at {term(f'τ = {cut.tau:g}', TAU)}, "
        f"{counted(len(analysis.frames), 'frame')} × {analysis.grid[0]}×{analysis.grid[1]} "
        f"{term('patches', PATCHES)}, {backbones.describe(analysis.settings.backbone)}. {news}"
    )
