"""The command line: `segment`, `attend`, `train`, `evaluate`, `benchmark`.

Exit status 0: done. 2: bad usage or bad input, with one line on stderr that says what was wrong and
what to do. 130: stopped with Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from tqdm import tqdm

from . import __version__
from .analysis import Analysis
from .compat import OPTIONS as OLD_OPTIONS
from .compat import SOURCES as OLD_SOURCES
from .compat import current
from .errors import InputError
from .export import write_all, write_heatmap
from .files import check_out_file
from .options import add_settings, fetch, given_settings
from .pipeline import analyse
from .settings import SOURCES, Settings
from .video import Clip, open_clip

# Commands that are loaded when they are asked for: module, help.
MORE_COMMANDS = {
    "train": ("bavos_lab.training.command", "train the temporal correlator on a folder of clips"),
    "evaluate": ("bavos_lab.evaluation.command", "measure saved masks or the pipeline"),
    "benchmark": ("bavos_lab.benchmark.command", "time the clustering beside a plain version"),
}


class _Parser(argparse.ArgumentParser):
    """Says what was wrong in one line, instead of the usage and then what was wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with warnings.catch_warnings():
        warnings.simplefilter("always", FutureWarning)  # old names
        warnings.showwarning = _note
        return _run([_today(argument) for argument in arguments])


def _run(arguments: Sequence[str]) -> int:
    options = build_parser(arguments[0] if arguments else None).parse_args(arguments)
    try:
        with _stopped_once():
            return int(options.run(options))
    except InputError as error:
        print(f"bavos_core: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bavos_core: stopped; nothing was written.", file=sys.stderr)
        return 130


@contextmanager
def _stopped_once() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does; once stopping, neither can cut the cleaning up short."""
    signals = (signal.SIGINT, signal.SIGTERM)

    def stop(_number: int, _frame: FrameType | None) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # no other may take signals
        yield
        return
    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands, with the options of `command` if it is of MORE_COMMANDS."""
    parser = _Parser(prog="bavos_core", description="Objects from attention, without labels.")
    parser.add_argument("--version", action="version", version=f"bavos_core {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    segment = commands.add_parser("segment", help="find, follow and colour the objects of a clip")
    _add_common(segment)
    segment.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to fill")
    segment.set_defaults(run=run_segment)

    attend = commands.add_parser("attend", help="show where one patch attends, over space and time")
    _add_common(attend)
    attend.add_argument("--clip-frame", type=int, required=True, metavar="N", help="frame, from 0")
    attend.add_argument("--point", type=_point, required=True, metavar="X,Y", help="pixel")
    attend.add_argument("--out", type=Path, required=True, metavar="FILE.mp4")
    attend.add_argument("--head", type=int, metavar="H", help="one head; default: mean of all")
    attend.add_argument(
        "--source", type=_source, choices=SOURCES, help="default: what segment clusters"
    )
    attend.set_defaults(run=run_attend)

    for name, (module, help_text) in MORE_COMMANDS.items():
        more = commands.add_parser(name, help=help_text)
        if name == command:
            importlib.import_module(module).add_options(more)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clip", type=Path, metavar="CLIP", help="video, folder or zip of frames")
    add_settings(parser)


def run_segment(options: argparse.Namespace) -> int:
    """`segment CLIP --out DIR`."""
    if options.out.exists() and not options.out.is_dir():
        raise InputError(f"{options.out} is a file; give --out a folder.")
    clip = open_clip(options.clip)
    analysis = _analyse(clip, options)
    with _Bar("masks and video") as bar:
        document = write_all(
            options.out, analysis, analysis.segment(), clip, progress=bar.update_to
        )
    shown = ("clusters", "objects", "frames", "frames_analysed", "seconds")
    print(json.dumps({key: document[key] for key in shown}))
    _tell(document["warnings"])
    return 0


def run_attend(options: argparse.Namespace) -> int:
    """`attend CLIP --clip-frame N --point X,Y --out FILE.mp4`."""
    clip = open_clip(options.clip)
    x, y = options.point
    _check_attend(options, clip)
    analysis = _analyse(clip, options, include_frame=options.clip_frame)
    position = int(abs(analysis.analysed - options.clip_frame).argmin())
    row = analysis.attend(position, y, x, head=options.head, source=options.source)
    with _Bar("heatmap video") as bar:
        write_heatmap(
            options.out, analysis, row, clip, query=(position, y, x), progress=bar.update_to
        )
    share = row.sum((1, 2))
    print(
        json.dumps(
            {
                "frame": int(analysis.analysed[position]),
                "heads": analysis.heads(options.source),
                "share_of_attention_per_frame": {
                    int(i): round(float(s), 4)
                    for i, s in zip(analysis.analysed, share, strict=True)
                },
            }
        )
    )
    _tell(analysis.notes)
    return 0


def _tell(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)


def _check_attend(options: argparse.Namespace, clip: Clip) -> None:
    """What can be known to be wrong before the costly call."""
    frames, (height, width) = len(clip.times), clip.size
    if not 0 <= options.clip_frame < frames:
        raise InputError(f"There is no frame {options.clip_frame}; the clip has 0 to {frames - 1}.")
    x, y = options.point
    if not (0 <= x <= width and 0 <= y <= height):
        raise InputError(f"The point {x:g},{y:g} lies outside the {width}×{height} picture.")
    check_out_file(options.out, ".mp4")


def _analyse(
    clip: Clip, options: argparse.Namespace, *, include_frame: int | None = None
) -> Analysis:
    settings = Settings(**given_settings(options))
    with _Bar("decode") as bar:

        def progress(stage: str, share: float) -> None:
            bar.update_to(share, stage)

        fetch(settings, progress)
        return analyse(clip, settings, include_frame=include_frame, progress=progress)


class _Bar:
    """A progress bar on a terminal, silence elsewhere."""

    def __init__(self, stage: str):
        self._bar = tqdm(
            total=100,
            desc=stage,
            bar_format="{desc:<24} {bar} {n:.0f} %",
            disable=None,  # on when stderr is a terminal
            leave=False,
        )

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update_to(self, share: float, stage: str | None = None) -> None:
        """Show that `share` (0 … 1) of a stage is done."""
        if stage is not None:
            self._bar.set_description_str(stage, refresh=False)
        self._bar.n = 100 * share
        self._bar.refresh()


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no point; write X,Y") from None
    return x, y


def _source(text: str) -> str:
    return current(text, OLD_SOURCES)


def _today(argument: str) -> str:
    """Return an argument with an option of version 0.1 under today's name."""
    option, equals, value = argument.partition("=")
    return current(option, OLD_OPTIONS) + equals + value


def _note(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"Note: {message}", file=sys.stderr)
