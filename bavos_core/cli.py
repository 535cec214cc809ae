"""The command line: `segment`, `attend`, `batch`, `train`, `evaluate`, `benchmark`.

Exit status 0: success. 2: bad usage or bad input, with one line on stderr that says what was wrong
and what to do. 3: clips of a batch failed. 130: stopped. 141: nobody reads the output any more.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from bavos_io.clip import Clip
from bavos_io.cut_outs import CUT_OUT_KINDS
from bavos_io.files import check_out_file
from bavos_io.folder import check_out_folder
from bavos_io.memory import enough_memory
from bavos_io.opening import open_clip

from . import __version__
from .analysis import Analysis
from .compat import OPTIONS as OLD_OPTIONS
from .compat import OldNameWarning, current, current_source
from .errors import InputError
from .export import CutOuts, write_all, write_attention, write_heatmap
from .options import add_settings, clusters, fetch, given_settings, path, seconds
from .pipeline import analyse
from .progress import Progress
from .settings import SOURCES, Settings
from .terminal import shown_progress

# Commands of bavos_lab, loaded when they are asked for: module, help.
MORE_COMMANDS = {
    "batch": ("bavos_lab.batch.command", "segment many clips, on one machine or on a Ray cluster"),
    "train": ("bavos_lab.training.command", "train the temporal correlator on a folder of clips"),
    "evaluate": ("bavos_lab.evaluation.command", "evaluate saved masks or the pipeline"),
    "benchmark": ("bavos_lab.benchmark.command", "time the clustering against a naive version"),
}


class _Parser(argparse.ArgumentParser):
    """A parser that reports bad usage in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        try:
            return _status(given)
        finally:
            if sys.stdout:  # None if the caller has closed it
                sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in filter(None, (sys.stdout, sys.stderr)):  # Python flushes both when it ends
            os.dup2(nowhere, stream.fileno())
        return 141  # as programs that SIGPIPE ends


def _status(given: Sequence[str]) -> int:
    try:
        with _old_names_noted(), _stopped_once(), enough_memory():
            given = [_current_option(argument) for argument in given]
            options = build_parser(given[0] if given else None).parse_args(given)
            return int(options.run(options))
    except InputError as error:
        print(f"bavos: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bavos: stopped; nothing was written.", file=sys.stderr)
        return 130


@contextmanager
def _stopped_once() -> Iterator[None]:
    """Make SIGTERM act as Ctrl-C does, and let neither interrupt the cleaning up."""
    signals = (signal.SIGINT, signal.SIGTERM)

    def stop(_number: int, _frame: FrameType | None) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only it may handle signals
        yield
        return
    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands, with the options of `command` if it is a lab command."""
    parser = _Parser(prog="bavos", description="Segment and track objects by a ViT's attention.")
    parser.add_argument("--version", action="version", version=f"bavos {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    segment = commands.add_parser("segment", help="segment and track the objects of a clip")
    _add_common(segment)
    segment.add_argument("--out", type=path, required=True, metavar="DIR", help="results folder")
    segment.add_argument("--sound", action=argparse.BooleanOptionalAction, default=True,
        help="keep the clip's sound in the overlay (default: yes)")  # fmt: skip
    segment.add_argument("--cut-out", choices=CUT_OUT_KINDS, help="also write the objects for a "
        "video editor: as ProRes 4444, VP9 or PNG frames with alpha, or as a matte")  # fmt: skip
    segment.add_argument("--objects", type=clusters, metavar="N,N",
        help="which to cut out, numbered as in their names (default: all objects)")  # fmt: skip
    segment.add_argument("--each", action="store_true", help="cut out each into a file of its own")
    segment.add_argument("--features", action="store_true", help="also write features.npz")
    segment.set_defaults(run=run_segment)

    attend = commands.add_parser("attend", help="show the attention of one patch in space and time")
    _add_common(attend)
    attend.add_argument("--clip-frame", type=int, required=True, metavar="N", help="frame, from 0")
    attend.add_argument("--point", type=_point, required=True, metavar="X,Y", help="pixel of clip")
    attend.add_argument("--out", type=path, required=True, metavar="FILE.mp4")
    attend.add_argument("--npz", type=path, metavar="FILE.npz", help="write the attention here too")
    attend.add_argument("--head", type=int, metavar="H", help="one head; default: mean of all")
    attend.add_argument("--source", type=current_source, choices=SOURCES,
        help="default: the one that segment clusters")  # fmt: skip
    attend.set_defaults(run=run_attend)

    for name, (module, help_text) in MORE_COMMANDS.items():
        lab = commands.add_parser(name, help=help_text)
        if name == command:
            importlib.import_module(module).add_options(lab)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clip", type=path, metavar="CLIP", help="video, folder or zip of frames")
    parser.add_argument("--start", type=seconds, metavar="TIME", default=0.0,
                        help="where to begin in a video: seconds, mm:ss or hh:mm:ss")  # fmt: skip
    parser.add_argument("--end", type=seconds, metavar="TIME", help="where to end")
    add_settings(parser)


def run_segment(options: argparse.Namespace) -> int:
    """Run `segment CLIP --out DIR`."""
    check_out_folder(options.out, _inputs(options))
    if options.cut_out is None and (options.objects or options.each):
        raise InputError("--objects and --each say what to cut out; give --cut-out too.")
    clip = open_clip(options.clip, start=options.start, end=options.end)
    cut_outs = options.cut_out and CutOuts(options.cut_out, options.objects, options.each)
    with shown_progress() as show:
        analysis = _analyse(clip, options, show)
        document = write_all(options.out, analysis, analysis.segment(), clip, progress=show,
            sound=options.sound, cut_outs=cut_outs, features=options.features)  # fmt: skip
    shown = ("clusters", "objects", "frames", "frames_analysed", "seconds")
    print(json.dumps({key: document[key] for key in shown}))
    _print_notes(document["warnings"])
    return 0


def run_attend(options: argparse.Namespace) -> int:
    """Run `attend CLIP --clip-frame N --point X,Y --out FILE.mp4`."""
    clip = open_clip(options.clip, start=options.start, end=options.end)
    x, y = options.point
    _check_attend(options, clip)
    with shown_progress() as show:
        analysis = _analyse(clip, options, show, include_frame=options.clip_frame)
        sample = int(abs(analysis.analysed - options.clip_frame).argmin())
        row = analysis.attend(sample, y, x, head=options.head, source=options.source)
        if options.npz:
            write_attention(options.npz, analysis, row[None], [(sample, y, x)])
        write_heatmap(options.out, analysis, row, clip, query=(sample, y, x), progress=show)
    shares = zip(analysis.analysed.tolist(), row.sum((1, 2)).tolist(), strict=True)
    document = {
        "frame": int(analysis.analysed[sample]),
        "heads": analysis.heads(options.source),
        "share_of_attention_per_frame": {frame: round(share, 4) for frame, share in shares},
    }
    print(json.dumps(document))
    _print_notes(analysis.notes)
    return 0


def _print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)


def _check_attend(options: argparse.Namespace, clip: Clip) -> None:
    """Raise InputError for options that do not fit the clip, before the clip is analysed."""
    height, width = clip.size
    if options.clip_frame < 0:
        raise InputError(f"There is no frame {options.clip_frame}; frames are counted from 0.")
    x, y = options.point
    if not (0 <= x <= width and 0 <= y <= height):
        raise InputError(f"The point {x:g},{y:g} lies outside the {width}×{height} frame.")
    check_out_file(options.out, ".mp4", _inputs(options))
    if options.npz:
        check_out_file(options.npz, ".npz", _inputs(options), option="--npz")


def _inputs(options: argparse.Namespace) -> list[Path]:
    """Return the paths that are read; those that do not exist are names or URLs."""
    named = filter(None, map(given_settings(options).get, ("weights", "correlator")))
    return [options.clip, *map(Path, named)]


def _analyse(
    clip: Clip, options: argparse.Namespace, show: Progress, *, include_frame: int | None = None
) -> Analysis:
    settings = Settings(**given_settings(options))
    fetch(settings, show)
    return analyse(clip, settings, include_frame=include_frame, progress=show)


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a point; write X,Y") from None
    return x, y


def _current_option(argument: str) -> str:
    """Return an argument with an option of version 0.1 under its current name."""
    option, equals, value = argument.partition("=")
    return current(option, OLD_OPTIONS) + equals + value


@contextmanager
def _old_names_noted() -> Iterator[None]:
    """Print warnings about old names as notes; those of other libraries are shown as usual."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", OldNameWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, OldNameWarning):
                _print_notes([str(message)])
            else:
                usual(message, category, *where, **more)

        warnings.showwarning = show
        yield
