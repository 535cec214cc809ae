"""The command `train CLIPS_DIR --out FILE.safetensors`.

Exit status 0: done. 130: stopped with Ctrl-C (or SIGTERM) after writing the result so far.
Run it under torchrun to train in several processes.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from tqdm import tqdm

from bavos_core.errors import Cancelled, InputError
from bavos_core.options import BACKBONE_HELP, path, size
from bavos_core.settings import Compute
from bavos_io.download import file_or_url, local_file
from bavos_lab.options import with_known_backbone

from .checkpoint import checkpoint_path, checkpoint_settings
from .data import TrainingData, load_clips
from .log import check_out
from .settings import TrainSettings
from .trainer import Step, TrainResult, train
from .workers import Workers, joined_workers

_MIB = 2**20


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `train` to its parser."""
    parser.description = (
        "Train the temporal correlator on unlabelled clips. A log (.csv) and, "
        "every N steps and on Ctrl-C, a checkpoint (.checkpoint.safetensors)."
    )
    parser.add_argument("clips", type=Path, metavar="CLIPS_DIR",
                        help="folder that holds folders of frames, videos or zips")  # fmt: skip
    parser.add_argument("--out", type=path, required=True, metavar="FILE.safetensors")
    parser.add_argument("--resume", type=Path, metavar="FILE",
                        help="checkpoint to continue from, with its own settings")  # fmt: skip
    for add in (_add_features, _add_samples, _add_block, _add_optimiser):
        add(parser)
    parser.set_defaults(run=run_train)


class _Options:
    """Options named after the fields of TrainSettings, absent unless given.

    So a resumed run knows which of them were given.
    """

    def __init__(self, parser: argparse.ArgumentParser, title: str):
        self._group = parser.add_argument_group(title)
        self._default = TrainSettings()

    def add(self, field: str, text: str, **options: Any) -> None:
        """Add an option for one field; its help ends with the default."""
        default = getattr(self._default, field)
        shown = "x".join(map(str, default)) if isinstance(default, tuple) else default
        ending = "" if default is None or default is False else f" (default: {shown})"
        self._group.add_argument(
            f"--{field.replace('_', '-')}",
            default=argparse.SUPPRESS,
            help=text + ending,
            **options,
        )


def _add_features(parser: argparse.ArgumentParser) -> None:
    options = _Options(parser, "features")
    options.add("backbone", BACKBONE_HELP, metavar="NAME")
    options.add("weights", "weights of the backbone", type=file_or_url, metavar="FILE|URL")
    options.add("layer", "block whose keys are used, from 0", type=int, metavar="L")
    options.add("size", "pixels fed to the backbone, or auto for the clip's own shape",
                type=_size, metavar="HxW")  # fmt: skip
    options.add("standardise", "scale each channel to variance 1, or all by one common factor",
                choices=("channel", "common"))  # fmt: skip
    options.add("cache_mib", "memory limit for features", type=int, metavar="MIB")
    options.add("device", "where to compute", choices=("auto", "cpu", "cuda"))


def _add_samples(parser: argparse.ArgumentParser) -> None:
    options = _Options(parser, "samples")
    options.add("frames", "frames of a sample", type=int, metavar="T")
    options.add("gap", "distance between the frames of a sample", type=int, metavar="N")
    options.add("clip_frames", "frames of each clip that are used", type=int, metavar="N")
    options.add("columns", "width of a random crop in patches, 0 for whole frames",
                type=_columns, metavar="N")  # fmt: skip
    options.add("augment", "vary colours and sharpness at random; slow, since features cannot be "
                "cached", action="store_true")  # fmt: skip
    options.add(
        "holdout_every", "every N-th clip is held out for the measure", type=int, metavar="N"
    )


def _add_block(parser: argparse.ArgumentParser) -> None:
    options = _Options(parser, "correlator and losses")
    options.add("init", "how queries and keys are initialised", choices=("identity", "random"))
    options.add(
        "gain",
        "initial factor of the logits; default: as sharp as key similarity",
        type=float,
        metavar="X",
    )
    options.add("heads", "heads of the correlator", type=int, metavar="N")
    options.add("dropout", "dropout of the residual branches", type=float, metavar="P")
    options.add("attention_dropout", "dropout of attention; the paper's is 0.4",
                type=float, metavar="P")  # fmt: skip
    options.add("anchors", "anchor patches per frame", type=int, metavar="N")
    options.add("weighting", "losses that are weighted by entropy", choices=("motion", "both"))
    options.add("mine_before_dropout", "choose positives before attention dropout",
                action="store_true")  # fmt: skip


def _add_optimiser(parser: argparse.ArgumentParser) -> None:
    options = _Options(parser, "optimiser and checkpoints")
    options.add("steps", "steps of the run", type=int, metavar="N")
    options.add("batch", "samples per step in each process", type=int, metavar="N")
    options.add("lr", "initial learning rate of the cosine schedule", type=float, metavar="X")
    options.add("final_lr", "final learning rate as a fraction of --lr", type=float, metavar="X")
    options.add("weight_decay", "weight decay of matrices", type=float, metavar="X")
    options.add("seed", "random seed", type=int, metavar="N")
    options.add(
        "precision", "precision of the correlator; default: bf16 on CUDA", choices=("fp32", "bf16")
    )
    options.add("checkpoint_every", "steps between checkpoints", type=int, metavar="N")
    options.add("measure_every", "steps between measurements, which choose the best correlator; 0 "
                "for never", type=int, metavar="N")  # fmt: skip


# ---- running ------------------------------------------------------------------------------------


def run_train(options: argparse.Namespace) -> int:
    """Run `train CLIPS_DIR --out FILE.safetensors`; return the exit status. Raise InputError."""
    check_out(options.out)
    settings = _settings(options)
    with joined_workers(on_cuda=Compute.choose(settings.analysis).on_cuda) as workers:
        data = _load(options.clips, settings, workers)
        with StopRequest() as request, _Bar(settings.steps, workers) as bar:

            def on_step(step: Step) -> None:
                bar.show(step)
                if request.made:
                    raise Cancelled

            result = train(
                data,
                settings,
                out=options.out,
                on_step=on_step,
                resume=options.resume,
                workers=workers,
            )
        if workers.first:
            _tell(result, options.out, settings)
    return 130 if result.stopped else 0


def _settings(options: argparse.Namespace) -> TrainSettings:
    """Return the given settings, or those of the checkpoint, which must not contradict them."""
    names = TrainSettings().to_dict()
    given = {name: value for name, value in vars(options).items() if name in names}
    if options.resume is None:
        return with_known_backbone(TrainSettings(**given))
    settings = checkpoint_settings(options.resume)
    _check_agreement(given, settings, options.resume)
    return settings


def _check_agreement(given: Mapping[str, Any], settings: TrainSettings, resume: Path) -> None:
    """Raise InputError when an option differs from the settings of a checkpoint."""
    for name, value in given.items():
        if value != getattr(settings, name):
            raise InputError(
                f"{resume.name} was made with --{name.replace('_', '-')} "
                f"{getattr(settings, name)}, not {value}; leave the option out."
            )


def _load(folder: Path, settings: TrainSettings, workers: Workers) -> TrainingData:
    with tqdm(
        total=1.0,
        desc="reading clips",
        bar_format="{desc:<40} {bar} {percentage:3.0f} %",
        disable=None if workers.first else True,  # None: on when stderr is a terminal
        leave=False,
    ) as bar:

        def show(name: str, share: float) -> None:
            bar.set_description_str(name[:40], refresh=False)
            bar.update(share - bar.n)

        if settings.weights:
            local_file(settings.weights, progress=lambda share: show("download", share))
        data = load_clips(folder, settings, on_clip=show)
    if workers.first:
        for note in data.notes:
            print(f"Note: {note}", file=sys.stderr)
        held = "frames" if settings.augment else "features"
        print(
            f"{len(data.clips)} clips, {data.frames:,} frames; "
            f"their {held} take {data.nbytes / _MIB:,.1f} MiB of memory.",
            file=sys.stderr,
        )
    return data


def _tell(result: TrainResult, out: Path, settings: TrainSettings) -> None:
    """Print the result as a line of JSON; say on stderr how to resume a stopped run."""
    document = {
        "steps": result.steps,
        "best_step": result.best_step,
        "semantic": round(result.semantic, 6),
        "motion": round(result.motion, 6),
        "measure": None if result.measure is None else round(result.measure, 4),
        "seconds": round(result.seconds, 2),
        "out": str(out),
    }
    print(json.dumps(document))
    if result.stopped:
        print(
            f"bavos_core: stopped after step {result.steps} of {settings.steps}; "
            f"go on with --resume {checkpoint_path(out)}",
            file=sys.stderr,
        )


class StopRequest:
    """Turns Ctrl-C and SIGTERM into a request to stop after the current step.

    An interrupted step could not be resumed. A second Ctrl-C stops at once.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.made = False

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._make) for number in self._SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _make(self, number: int, _frame: FrameType | None) -> None:
        self.made = True
        signal.signal(number, self._before[signal.Signals(number)])


class _Bar:
    """A progress bar with the losses, shown on terminals only."""

    def __init__(self, steps: int, workers: Workers):
        self._bar = tqdm(
            total=steps,
            desc="training",
            disable=None if workers.first else True,  # None: on when stderr is a terminal
            leave=False,
        )

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, step: Step) -> None:
        """Show that a step is done; a resumed run starts where it stopped."""
        self._bar.set_postfix(
            semantic=f"{step.semantic:.3f}", motion=f"{step.motion:.3f}", refresh=False
        )
        self._bar.update(step.step - self._bar.n)


def _size(text: str) -> tuple[int, int] | None:
    try:
        return None if text == "auto" else size(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error} or auto") from None


def _columns(text: str) -> int | None:
    try:
        return int(text) or None
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of columns") from None
