"""The commands `pretrain` and `pretrain-builtin`, each `DATA … --out FILE.safetensors`.

Exit status 0: done. 130: stopped with Ctrl-C (or SIGTERM), what was learned so far being written.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, get_type_hints

from tqdm import tqdm

from ..errors import Cancelled, InputError
from ..training.run import StopRequest, check_agreement, check_out, tell_stopped
from .checkpoint import checkpoint_folder, checkpoint_settings
from .pictures import Pictures, load_pictures
from .quality import read_sequences
from .settings import CooccurrenceSettings, PretrainSettings, RunSettings
from .trainer import Step, pretrain

_HELP = {
    "side": "pixels that pictures are kept at",
    "clip_share": "share of samples that are frames of clips",
    "gap": "frames between the two views of a frame, at most",
    "cache_mib": "memory that pictures may take",
    "view": "pixels of large views",
    "small_view": "pixels of small views",
    "small_views": "small views of a sample",
    "colour": "strength of changes of colour, 0 to 1",
    "patch": "pixels of a patch",
    "width": "channels of the network",
    "depth": "blocks of the network",
    "heads": "heads of a block",
    "prototypes": "what views are assigned to",
    "masked": "share of patches hidden, 0 for no patch-level loss",
    "student_temperature": "of its logits",
    "teacher_temperature": "of its assignments",
    "steps": "steps of the run",
    "batch": "samples a step",
    "lr": "learning rate after the warm-up",
    "warm_up": "share of the steps",
    "final_lr": "share of lr at the end",
    "weight_decay": "of matrices",
    "momentum": "of the teacher at the start",
    "seed": "of everything that is drawn",
    "device": "where to compute",
    "precision": "default: bf16 on CUDA and with AMX",
    "checkpoint_every": "steps between checkpoints",
    "measure_every": "steps between measures of J",
    "grid": "patches along the shorter side of a picture",
    "crop": "patches in a row that a random crop keeps, at least",
    "pairs": "pairs of neighbouring patches, a picture",
    "reach": "patches from one of a pair to the other, at most",
    "apart": "patches of one picture that are nearer are not told apart",
    "brightness": "deviation of the factor of all that is measured",
    "temperature": "of the likeness of two patches",
}
_CHOICES = {"device": ("auto", "cpu", "cuda"), "precision": ("fp32", "bf16")}


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `pretrain` and `pretrain-builtin` to the parser of all commands."""
    _add_recipe(
        commands,
        "pretrain",
        PretrainSettings,
        "train a small Vision Transformer on unlabelled pictures",
        "FILE is for --backbone own-vit --weights FILE.",
    )
    _add_recipe(
        commands,
        "pretrain-builtin",
        CooccurrenceSettings,
        "train the network of the built-in backbone on unlabelled pictures",
        "FILE takes the place of assets/backbones/builtin.safetensors.",
    )


def _add_recipe(
    commands: argparse._SubParsersAction[Any],
    name: str,
    settings: type[RunSettings],
    what: str,
    use: str,
) -> None:
    parser = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}. Beside FILE appear a log (.csv) and, every N "
        f"steps and on Ctrl-C, a checkpoint (the folder .checkpoint). {use}",
    )
    parser.add_argument("data", type=Path, nargs="+", metavar="DATA",
                        help="tars or folders of pictures, folders of clips")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors")
    parser.add_argument("--resume", type=Path, metavar="FOLDER",
                        help="checkpoint to go on from, with its own settings")  # fmt: skip
    parser.add_argument("--davis", type=Path, metavar="ROOT",
                        help="sequences with ground truth to measure J on")  # fmt: skip
    parser.add_argument("--sequences", nargs="+", default=(), metavar="NAME",
                        help="of them; default: all")  # fmt: skip
    kinds = get_type_hints(settings)
    for field in dataclasses.fields(settings):
        _add_option(parser, field, kinds[field.name])
    parser.set_defaults(run=run_pretrain, settings=settings)


def _add_option(parser: argparse.ArgumentParser, field: dataclasses.Field[Any], kind: Any) -> None:
    """An option named after a field, absent unless given."""
    choices = _CHOICES.get(field.name)
    ending = "" if field.default is None else f" (default: {field.default})"
    parser.add_argument(
        f"--{field.name.replace('_', '-')}",
        default=argparse.SUPPRESS,
        type=str if choices else kind,
        choices=choices,
        metavar=None if choices else "N" if kind is int else "X",
        help=_HELP[field.name] + ending,
    )


def run_pretrain(options: argparse.Namespace) -> int:
    """`pretrain[-builtin] DATA … --out FILE.safetensors`; the exit status. Raises InputError."""
    check_out(options.out)
    settings = _settings(options)
    sequences = read_sequences(options.davis, options.sequences) if options.davis else []
    pictures = _load(options.data, settings)
    bar = tqdm(total=settings.steps, desc="pretraining", disable=None, leave=False)
    with StopRequest() as request, bar:

        def preparing(share: float) -> None:
            bar.set_postfix_str(f"measuring pictures {share:.0%}")
            if request.made:
                raise KeyboardInterrupt  # nothing was learned yet

        def progress(step: Step) -> None:
            seen = dataclasses.asdict(step.losses)
            bar.set_postfix({**seen, "j": step.j}, refresh=False)
            bar.update(step.step - bar.n)
            if request.made:
                raise Cancelled

        result = pretrain(
            pictures,
            settings,
            out=options.out,
            sequences=sequences,
            preparing=preparing,
            progress=progress,
            resume=options.resume,
        )
    print(json.dumps({**dataclasses.asdict(result), "out": str(options.out)}))
    if result.stopped:
        tell_stopped(result.steps, settings.steps, checkpoint_folder(options.out))
    return 130 if result.stopped else 0


def _settings(options: argparse.Namespace) -> RunSettings:
    """The settings given, or those of the checkpoint, which what was given may not contradict."""
    given = {name: value for name, value in vars(options).items() if name in _HELP}
    if options.resume is None:
        chosen: RunSettings = options.settings(**given)
        return chosen
    settings = checkpoint_settings(options.resume)
    if not isinstance(settings, options.settings):
        raise InputError(f"{options.resume.name} is of another recipe; use its own command.")
    check_agreement(given, settings, options.resume)
    return settings


def _load(sources: list[Path], settings: RunSettings) -> Pictures:
    with tqdm(desc="reading pictures", disable=None, leave=False) as bar:

        def progress(_source: str, count: int) -> None:
            bar.update(count - bar.n)

        pictures = load_pictures(sources, settings, progress=progress)
    for note in pictures.notes:
        print(f"Note: {note}", file=sys.stderr)
    print(
        f"{len(pictures):,} pictures, {len(pictures.of_clips):,} of them frames of clips; "
        f"{pictures.pixels.nbytes / 2**20:,.0f} MiB of memory.",
        file=sys.stderr,
    )
    return pictures
