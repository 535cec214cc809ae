"""`train` on the command line. Processes are real; see helpers for how the command is reached."""

import argparse
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path

import pytest

from bavos_core.errors import InputError
from bavos_lab.training import TrainSettings, read_correlator
from bavos_lab.training.checkpoint import checkpoint_path, checkpoint_settings
from bavos_lab.training.command import StopRequest, add_options, run_train

from .helpers import ROOT, quiet_environment

SHORT = ("--backbone", "descriptors", "--size", "48x64", "--columns", "6", "--anchors", "4",
         "--device", "cpu", "--steps", "6", "--measure-every", "3", "--lr", "1e-3")  # fmt: skip


def parsed(*arguments: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bavos_core")
    add_options(parser)
    return parser.parse_args([*map(str, arguments)])


def test_every_setting_has_an_option_of_its_type() -> None:
    default = TrainSettings()
    arguments = []
    for field in fields(TrainSettings):
        value = getattr(default, field.name)
        text = {
            "size": "64x96",
            "weights": "w.pth",
            "layer": "3",
            "precision": "bf16",
            "gain": "2.5",
        }.get(field.name, str(value))
        option = f"--{field.name.replace('_', '-')}"
        arguments += [option] if isinstance(value, bool) else [option, text]
    options = vars(parsed("clips", "--out", "b.safetensors", *arguments))
    given = TrainSettings(**{field.name: options[field.name] for field in fields(TrainSettings)})
    assert given == replace(
        default, size=(64, 96), weights=Path("w.pth"), layer=3, precision="bf16", gain=2.5,
        augment=True, mine_before_dropout=True,
    )  # fmt: skip


def test_weights_can_be_a_url() -> None:
    url = "https://host/x.pth"
    assert parsed("clips", "--out", "b.safetensors", "--weights", url).weights == url


def test_whole_frames_and_the_clips_own_shape() -> None:
    options = parsed("clips", "--out", "b.safetensors", "--columns", "0", "--size", "auto")
    assert (options.columns, options.size) == (None, None)


@pytest.mark.parametrize(
    "bad", [("--size", "big"), ("--columns", "x"), ("--init", "zeros"), ("--steps", "many")]
)
def test_bad_usage_is_refused(bad: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parsed("clips", "--out", "b.safetensors", *bad)
    assert stopped.value.code == 2
    assert bad[1] in capsys.readouterr().err


def test_a_run_tells_what_it_did(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.mp4").write_bytes(b"broken")
    out = tmp_path / "block.safetensors"
    try:
        assert run_train(parsed(folder, "--out", out, *SHORT)) == 0
    finally:
        (folder / "broken.mp4").unlink()
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert list(document) == [
        "steps", "best_step", "semantic", "motion", "measure", "seconds", "out",
    ]  # fmt: skip
    assert document["steps"] == 6
    assert document["best_step"] in (3, 6)
    assert read_correlator(out).about["best_step"] == str(document["best_step"])
    note, memory = told.err.splitlines()  # and no bar, as this is no terminal
    assert note.startswith("Note: broken.mp4 is left out: ")
    assert memory == "4 clips, 46 frames; their features take 0.1 MiB of memory."


def test_ctrl_c_saves_and_says_how_to_go_on(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "block.safetensors"
    many = (*SHORT, "--steps", "400", "--measure-every", "0")
    with on_a_terminal("train", folder, "--out", out, *many) as (process, shown):
        seen = ""
        while not re.search(r"training: .*/400 .*semantic=", seen):  # steps are being taken
            seen += next(shown)
        process.send_signal(signal.SIGINT)
        seen += "".join(shown)
        assert process.stdout is not None
        document = json.loads(process.stdout.read())
    assert process.returncode == 130
    steps = document["steps"]
    assert 0 < steps < 400
    assert seen.splitlines()[-1].endswith(
        f"bavos_core: stopped after step {steps} of 400; go on with --resume {checkpoint_path(out)}"
    )
    assert checkpoint_settings(checkpoint_path(out)).steps == 400
    assert read_correlator(out).about["steps"] == str(steps)
    assert run_train(parsed(folder, "--out", out, "--resume", checkpoint_path(out))) == 0
    assert read_correlator(out).about["steps"] == "400"


@contextmanager
def on_a_terminal(
    *arguments: object,
) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """The command with a terminal as stderr, so that bars show, and what appears there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "bavos_core", *map(str, arguments)],
        cwd=ROOT,
        env=quiet_environment(),
        stderr=theirs,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)

    def shown() -> Iterator[str]:
        with suppress(OSError):  # how Linux tells that the other side is closed
            while chunk := os.read(ours, 4096):
                yield chunk.decode()

    watchdog = threading.Timer(120, process.kill)  # ends the wait for what never appears
    watchdog.start()
    with process:
        yield process, shown()
    watchdog.cancel()
    os.close(ours)


def test_a_second_ctrl_c_is_left_to_python() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # one in the background ignores it
    with StopRequest() as request:
        assert not request.made
        signal.raise_signal(signal.SIGINT)
        assert request.made
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_resuming_takes_the_checkpoints_settings(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "block.safetensors"
    assert run_train(parsed(folder, "--out", out, *SHORT)) == 0
    resume = ("--resume", checkpoint_path(out))
    assert run_train(parsed(folder, "--out", out, *resume)) == 0
    assert run_train(parsed(folder, "--out", out, *resume, "--lr", "0.001")) == 0
    with pytest.raises(InputError, match=r"made with --lr 0.001, not 0.5; leave the option out"):
        run_train(parsed(folder, "--out", out, *resume, "--lr", "0.5"))


def test_bad_input_is_told_before_the_costly_part(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must be a file name that ends in .safetensors"):
        run_train(parsed(folder, "--out", tmp_path / "block.pt", *SHORT))
    with pytest.raises(InputError, match=r"There is no file 'none.safetensors'"):
        run_train(
            parsed(folder, "--out", tmp_path / "b.safetensors", "--resume", "none.safetensors")
        )
    with pytest.raises(InputError, match="is not a folder"):
        run_train(parsed(tmp_path / "none", "--out", tmp_path / "b.safetensors", *SHORT))
    with pytest.raises(InputError, match="Steps is 0"):
        run_train(parsed(folder, "--out", tmp_path / "b.safetensors", "--steps", "0"))
    assert list(tmp_path.iterdir()) == []
