"""The decoder's process: what it may do, and what becomes of answers that make no sense."""

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bavos_core import InputError, Limits, open_clip

from .helpers import check_message, encode, make_video, noise_clip
from .odd_files import FASTSTART, H264
from .test_faults import children, linux_only

pytestmark = linux_only

# ---- confinement --------------------------------------------------------------------------------

CONFINED = """
import os, socket
from bavos_io.worker.sandbox import confine
confine({"memory": 2**32, "cpu_seconds": 9})
os.close(2)  # frees a number that was open
for attempt in (
    lambda: open("/etc/passwd"), lambda: open("made.txt", "w"), lambda: socket.socket(),
    os.pipe, lambda: os.dup(1), lambda: os.listdir("/"),
):
    try:
        attempt()
    except OSError:
        print("refused")
"""


def test_after_confinement_nothing_can_be_opened(tmp_path) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", CONFINED], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.stdout.split() == ["refused"] * 6, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_confined_decoder_can_open_nothing_more(tmp_path) -> None:
    clip = encode(tmp_path / "long.mp4", noise_clip(20, (240, 320)), *FASTSTART)
    before = children()
    frames = open_clip(clip).read()
    next(frames)
    (decoder,) = children() - before
    limits = Path(f"/proc/{decoder}/limits").read_text()
    assert re.search(r"Max open files +0 +0 ", limits)
    assert len(list(Path(f"/proc/{decoder}/fd").iterdir())) == 3
    frames.close()
    assert children() == before


@pytest.mark.parametrize("mib", [40, 150, 400, 2000])
def test_less_memory_than_the_decoder_may_have_is_enough_or_said_in_a_sentence(mib, tmp_path):
    """As under `ulimit -v`, which the child inherits."""
    path = make_video(tmp_path / "clip.mp4", *H264)
    code = f"""
import resource, sys
from bavos_io.opening import open_clip
from bavos_io.errors import InputError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
most = {mib} * 2**20 + used
resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    print(len(list(open_clip(sys.argv[1]).read())))
except InputError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=50,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert re.fullmatch("5|[^\n]*'clip.mp4'[^\n]*\\.", done.stdout.strip()), done
    assert done.stderr == ""


# ---- a decoder that a file has taken over -------------------------------------------------------


HEAD = {"size": [2, 2], "turn": [False] * 3, "sound": True, "frames": 1, "seconds": 1.0}
FRAME = {"bytes": 12, "times": [0.0], "frame": 0, "until": 1.0, "shape": [2, 2, 3]}
ABOUT = json.dumps({"bytes": 0, "about": HEAD}) + "\n"


def frame(**changes: object) -> str:
    return ABOUT + json.dumps({**FRAME, **changes}) + "\n" + "x" * 12


NONSENSE = {
    "no-json": "hello\n",
    "no-message": "[]\n",
    "null": "null\n",
    "no-length": "{}\n",
    "negative": '{"bytes": -1}\n',
    "huge": '{"bytes": 1000000000000}\n',
    "fraction": '{"bytes": 1.5}\n',
    "words": '{"bytes": "many"}\n',
    "nested": "[" * 60_000 + "\n",
    "digits": '{"bytes": ' + "9" * 60_000 + "}\n",
    "too-many-bytes": ABOUT + '{"bytes": 99}\n' + "x" * 99,
    "not-utf-8": "\xff\xfe\n",
    "no-size": json.dumps({"bytes": 0, "about": {**HEAD, "size": [0, -1]}}) + "\n",
    "odd-size": json.dumps({"bytes": 0, "about": {**HEAD, "size": "ab"}}) + "\n",
    "another-shape": frame(shape=[1, 4, 3]),
    "no-such-frame": frame(frame=7),
    "no-times": frame(times=[]),
    "no-number": frame(times=[float("nan")]),
    "endless": frame(until=float("inf")),
    "backwards": frame(until=-1.0),
    "unknown-light": frame(shape=[1, 2, 3], light=["a", "b"]),
    "unasked": frame() * 5,
    "no-turn": json.dumps({"bytes": 0, "about": {**HEAD, "turn": 3}}) + "\n" + frame(),
    "falling": ABOUT + '{"bytes": 0, "times": [0, 3, 2], "end": 4, "damaged": false}\n',
}


def imposter(folder: Path, monkeypatch, program: str) -> None:
    """Let a program take the place of the decoder, as one that a file has taken over does."""
    script = folder / "imposter"
    script.write_text(f"#!{sys.executable}\nimport sys\nout = sys.stdout.buffer\n{program}")
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))


@pytest.mark.parametrize("kind", NONSENSE)
@pytest.mark.parametrize("use", [lambda c: c.sample(1), lambda c: c.times, lambda c: [*c.read()]])
def test_an_answer_that_makes_no_sense_is_said_in_a_sentence(kind, use, tmp_path, monkeypatch):
    clip = open_clip(make_video(tmp_path / "clip.mp4", "-vf", "scale=2:2", frames=1))
    before = children()
    data = NONSENSE[kind].encode("latin-1")
    imposter(tmp_path, monkeypatch, f"out.write({data!r})\nout.flush()\nsys.stdin.read()")
    with pytest.raises(InputError) as caught:
        use(clip)
    check_message(caught.value, "'clip.mp4'", "broke off")
    assert children() == before


FLOODS = {
    "zeros": "while True: out.write(bytes(2**20))",
    "one-line": "while True: out.write(b'a' * 2**20)",
    "lines": "while True: out.write(b'\\n' * 2**20)",
    "messages": "while True: out.write(b'{\"bytes\": 0}\\n' * 1000)",
    "times": 'while True: out.write(b\'{"bytes": 0, "times": [1, 2, 3]}\\n\' * 1000)',
    "frames": f"out.write({frame().encode()!r})\n"
    f"while True: out.write({frame()[len(ABOUT) :].encode()!r} * 1000)",
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_ended_and_takes_no_memory(flood, tmp_path, monkeypatch) -> None:
    clip = open_clip(
        make_video(tmp_path / "clip.mp4", "-vf", "scale=2:2", frames=1),
        limits=Limits(decode_seconds=1, frames=1000),
    )
    before, used = children(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    confined = "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (2, 2))\n"
    imposter(tmp_path, monkeypatch, confined + FLOODS[flood])
    with pytest.raises(InputError) as caught:
        clip.sample(1)
    check_message(caught.value, "clip.mp4'")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 40_000  # KiB
    assert children() == before
