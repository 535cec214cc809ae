"""Fuzzer of `open_clip` and of reading the clips that it opens.

    python experiments/fuzz_upload.py --minutes 10 --out crashes

The inputs are the files of tests/core/bad_files.py, mutated at random. Each must give frames that
agree with the clip's properties, or an InputError of one sentence. Anything else is a crash: other
errors, a process that dies or takes longer than a minute, a file left behind. Inputs that crash are
kept in --out. The last line is a summary.
"""

import argparse
import json
import os
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

SECONDS = 60  # that one input may take
MEMORY = 6 * 2**30  # bytes of the process that reads, most of them torch's
FRAMES = 40  # read of each clip
VALUES = [0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1]


# ---- mutations ----------------------------------------------------------------------------------


def corpus(folder: Path) -> list[tuple[str, bytes]]:
    """Return the small single files among the cases of the tests: suffix and bytes."""
    from core.bad_files import CASES

    found = []
    for name, case in CASES.items():
        case.make(folder / name)
        if (folder / name).is_file() and 0 < (folder / name).stat().st_size < 2**18:
            found.append((Path(name).suffix, (folder / name).read_bytes()))
    return found


def flip(data: bytearray, rng: random.Random) -> None:
    """Flip bits."""
    for _ in range(rng.choice([1, 2, 8, 64])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def number(data: bytearray, rng: random.Random) -> None:
    """Overwrite a number with an extreme value."""
    for _ in range(rng.choice([1, 2, 5])):
        size = rng.choice([1, 2, 4, 8])
        place = rng.randrange(len(data))
        value = rng.choice(VALUES) % 2 ** (8 * size)
        data[place : place + size] = value.to_bytes(size, rng.choice(["big", "little"]))


def noise(data: bytearray, rng: random.Random) -> None:
    """Overwrite a part with noise."""
    place, size = rng.randrange(len(data)), rng.choice([4, 40, 400])
    data[place : place + size] = rng.randbytes(min(size, len(data) - place))


def cut(data: bytearray, rng: random.Random) -> None:
    """Truncate the file."""
    del data[rng.randrange(len(data)) :]


def remove(data: bytearray, rng: random.Random) -> None:
    """Remove a part."""
    place = rng.randrange(len(data))
    del data[place : place + rng.choice([1, 4, 100, 5000])]


def repeat(data: bytearray, rng: random.Random) -> None:
    """Repeat a part."""
    place, size = rng.randrange(len(data)), rng.choice([1, 8, 300, 5000])
    data[place:place] = data[place : place + size] * rng.choice([1, 2, 20])


def head(data: bytearray, rng: random.Random) -> None:
    """Change bytes at the beginning, where headers are."""
    for _ in range(rng.choice([1, 3])):
        data[rng.randrange(min(len(data), 200))] = rng.randrange(256)


CHANGES: list[Callable[[bytearray, random.Random], None]] = [
    flip, number, noise, cut, remove, repeat, head,
]  # fmt: skip


def changed(files: list[tuple[str, bytes]], rng: random.Random) -> tuple[str, bytes]:
    """Return a mutated file: its suffix and its bytes."""
    suffix, whole = rng.choice(files)
    data = bytearray(whole)
    if rng.random() < 0.1:
        other = rng.choice(files)[1]
        data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]
    for _ in range(rng.choice([1, 1, 2, 4])):
        if data:
            rng.choice(CHANGES)(data, rng)
    if rng.random() < 0.05:
        suffix = rng.choice(files)[0]
    return suffix, bytes(data)


# ---- reading them, in a process of its own ------------------------------------------------------


def read(path: Path) -> str:
    """Open and read a file; return "read" or "refused"."""
    from bavos_core import InputError, Limits, open_clip

    limits = Limits(
        file_mib=1, seconds=600, frames=2000, pixels=4_000_000, zip_members=200, zip_ratio=200,
        decode_seconds=30, decode_mib=4096,
    )  # fmt: skip
    try:
        clip = open_clip(path, limits=limits, max_side=200)
        frames = list(islice(clip.read(), FRAMES))
    except InputError as error:
        message = str(error)
        assert message.endswith("."), message
        assert "\n" not in message, message
        assert len(message) < 300, message
        return "refused"
    assert {frame.shape for frame in frames} == {(*clip.size, 3)}, clip.size
    assert len(clip.times) == len(clip.frame_names), clip.times
    assert clip.times[0] == 0, clip.times
    assert (clip.times[1:] >= clip.times[:-1]).all(), clip.times
    return "read"


def serve() -> None:
    """Read the files that are named on stdin; print a line of JSON about each."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for line in sys.stdin:
        path = Path(json.loads(line))
        try:
            outcome = read(path)
        except Exception:
            outcome = traceback.format_exc()
        if list(path.parent.iterdir()) != [path]:
            outcome = f"left behind: {list(path.parent.iterdir())}"
        print(json.dumps(outcome), flush=True)


class Reader:
    """The process that reads; restarted when it dies."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(
            target=self._listen, args=(self._process, self._lines), daemon=True
        ).start()

    @staticmethod
    def _listen(process: "subprocess.Popen[str]", lines: "queue.Queue[str]") -> None:
        for line in process.stdout or ():
            lines.put(line)
        lines.put("")

    def outcome(self, path: Path) -> str:
        """Return "read", "refused", or what went wrong."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(str(path)) + "\n")
        self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=SECONDS)
        except queue.Empty:
            line = ""
        if line:
            return str(json.loads(line))
        died = self._process.poll()
        self.close()
        self._start()
        return f"took more than {SECONDS} s" if died is None else f"died with status {died}"

    def close(self) -> None:
        """End the process."""
        self._process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        self._process.wait()


# ---- fuzzing ------------------------------------------------------------------------------------


def fuzz(minutes: float, seed: int, out: Path) -> int:
    """Try files until the time is up; return the number of crashes."""
    rng, counts, slowest = random.Random(seed), Counter[str](), 0.0
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as room:
        files, reader = corpus(Path(made)), Reader()
        reader.outcome(Path(room) / "none.mp4")  # wait until it has started
        begun = time.monotonic()
        while time.monotonic() - begun < 60 * minutes:
            suffix, data = changed(files, rng)
            path = Path(room) / f"upload{suffix}"
            path.write_bytes(data)
            start = time.monotonic()
            outcome = reader.outcome(path)
            slowest = max(slowest, time.monotonic() - start)
            kind = outcome if outcome in ("read", "refused") else "crashed"
            counts[kind] += 1
            counts[f"{kind} {suffix or 'without suffix'}"] += 1
            if kind == "crashed":
                number = counts["crashed"]
                (out / f"{seed}-{number}{suffix}").write_bytes(data)
                (out / f"{seed}-{number}.txt").write_text(outcome)
                print(f"crash {number} ({suffix}): {outcome.strip().splitlines()[-1]}", flush=True)
            for left in Path(room).iterdir():
                left.unlink()
        reader.close()
    kinds = {kind: counts[kind] for kind in ("read", "refused", "crashed")}
    summary = {
        "seed": seed,
        "corpus": len(files),
        "inputs": sum(kinds.values()),
        **kinds,
        "slowest_seconds": round(slowest, 1),
        "by_suffix": {kind: count for kind, count in sorted(counts.items()) if " " in kind},
    }
    print(json.dumps(summary))
    return kinds["crashed"]


def main() -> None:
    """Run the fuzzer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("crashes"))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
    else:
        raise SystemExit(fuzz(options.minutes, options.seed, options.out) > 0)


if __name__ == "__main__":
    main()
