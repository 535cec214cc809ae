"""A server under the load of strangers: many at once, some of them careless, for a long time.

    python experiments/soak.py --minutes 30 --out soak.json

Visitors segment their own clips and look at the results, ask for results of others, send files
that are no clips, cancel, leave in the middle; somebody kills decoders. Every answer is held
against what the same question gave when nobody else was there, byte by byte. Linux only: memory is
read from /proc. Nothing outside this machine is called.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bavos_core.video import VideoWriter  # noqa: E402
from demo import strings  # noqa: E402
from demo.store import GONE as NOT_MINE  # noqa: E402

CLIPS = 4
FRAMES, PATCHES = 4, 100
UNCLEAR = strings.failure(Exception())


# ---- clips and what they give ------------------------------------------------------------------


def write_clip(path: Path, seed: int) -> None:
    """Six frames of 160×96: a box of its own colour that crosses a ground of its own."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 120, (6, 10, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    colour = rng.integers(130, 256, 3)
    with VideoWriter(path, size=(96, 160), fps=3) as video:
        for i in range(6):
            frame = ground.copy()
            frame[24:72, 8 + 14 * i : 56 + 14 * i] = colour
            video.write(frame)


def fingerprint(path: str | Path) -> str:
    """Of the bytes of a file."""
    return hashlib.sha256(b"".join(parts(Path(path).read_bytes()))).hexdigest()


def parts(content: bytes) -> Iterator[bytes]:
    """The bytes of a file; of a zip, those of its members, for zips also hold the time of day.

    Two members are left out: one holds timings, the other a header in random order.
    """
    if not content.startswith(b"PK"):
        yield content
        return
    with zipfile.ZipFile(BytesIO(content)) as archive:
        for name in sorted(set(archive.namelist()) - {"summary.json", "correlator.safetensors"}):
            yield name.encode()
            yield from parts(archive.read(name))


def ask(client: Client, clip: Path) -> tuple[str, str]:
    """Segment a clip: the id of the result, and what it looks like."""
    name, frames, patches = "descriptors", FRAMES, PATCHES
    summary, overlay = client.predict(handle_file(clip), name, frames, patches, api_name="/segment")
    kept = {name: summary[name] for name in ("clusters", "grid", "tau", "background")}
    return summary["result"], json.dumps(kept) + fingerprint(overlay)


LOOKS: dict[str, Callable[[Client, str], str]] = {
    "cut": lambda client, result: _cut(*client.predict(result, 3, 1, api_name="/cut")),
    "attend": lambda client, result: _attend(
        *client.predict(result, 1, 40, 60, -1, "key-similarity", api_name="/attend")
    ),
    "export": lambda client, result: fingerprint(client.predict(result, 3, api_name="/export")[0]),
}


def _cut(numbers: dict[str, Any], picture: str) -> str:
    return json.dumps(numbers) + fingerprint(picture)


def _attend(row: dict[str, Any], picture: str, video: str) -> str:
    return json.dumps(row) + fingerprint(picture) + fingerprint(video)


# ---- the server --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """`python app.py` as a child, in a temporary folder of its own."""

    process: subprocess.Popen[bytes]
    address: str
    folder: Path
    keep_seconds: int  # how long it keeps files

    @property
    def resident_mib(self) -> float:
        """Memory that is its own (not shared files), MiB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith("RssAnon"))
        return int(line.split()[1]) / 1024

    @property
    def files(self) -> tuple[int, float]:
        """How many files and folders lie in its temporary folder, and their MiB."""
        sizes = []
        for place, folders, names in os.walk(self.folder):  # what goes meanwhile is no error
            for name in (*folders, *names):
                with contextlib.suppress(FileNotFoundError):
                    path = Path(place, name)
                    sizes.append(path.stat().st_size if path.is_file() else 0)
        return len(sizes), sum(sizes) / 2**20

    def decoders(self) -> list[int]:
        """Process ids of what it started."""
        found: list[int] = []
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it just ended
                found += map(int, (thread / "children").read_text().split())
        return found


@contextlib.contextmanager
def serving(folder: Path, keep_seconds: int) -> Iterator[Server]:
    """A server on a free port, with what it writes to stdout and stderr in a file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {
        "TMPDIR": str(folder), "GRADIO_SERVER_PORT": str(port), "BAVOS_BACKBONE": "descriptors",
        "BAVOS_WARM_UP": "0", "BAVOS_KEEP_SECONDS": str(keep_seconds), "BAVOS_STORE_MIB": "32",
        "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    env.pop("GRADIO_TEMP_DIR", None)
    with (folder.parent / "server.log").open("wb") as log:
        command = [sys.executable, str(ROOT / "app.py")]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        yield Server(process, f"http://127.0.0.1:{port}/", folder, keep_seconds)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def connected(server: Server, downloads: Path) -> Client:
    """A client as soon as the server answers."""
    for _ in range(600):
        if server.process.poll() is not None:
            raise SystemExit("The server did not start; see server.log.")
        with contextlib.suppress(Exception):
            return client_of(server, downloads)
        time.sleep(0.2)
    raise SystemExit("The server does not answer.")


def client_of(server: Server, downloads: Path) -> Client:
    return Client(
        server.address, verbose=False, download_files=str(downloads), analytics_enabled=False
    )


# ---- visitors ----------------------------------------------------------------------------------


@dataclass
class Tally:
    """What happened, counted from many threads."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def fail(self, what: str) -> None:
        with self.lock:
            self.wrong.append(what)


@dataclass(frozen=True)
class Load:
    """Everything that visitors share."""

    server: Server
    folder: Path  # for downloads
    clips: list[Path]
    expected: list[dict[str, str]]  # of every clip: question → answer
    bad: list[Path]
    tally: Tally
    others: list[str] = field(default_factory=list)  # ids of results that somebody got

    def visit(self, rng: random.Random) -> None:
        """One visitor from arrival to leaving."""
        with tempfile.TemporaryDirectory(dir=self.folder) as downloads:
            client = client_of(self.server, Path(downloads))
            try:
                rng.choices(
                    [self.look_around, self.send_a_bad_file, self.change_mind, self.run_away],
                    [6, 2, 2, 1],
                )[0](client, rng)
            finally:
                client.close()

    def look_around(self, client: Client, rng: random.Random) -> None:
        """Segment a clip, look at it in several ways, try the results of others."""
        i = rng.randrange(len(self.clips))
        result = self._asked("segment", i, lambda: ask(client, self.clips[i]))
        if result is None:
            return
        self.others.append(result)
        for _ in range(rng.randrange(1, 7)):
            what = rng.choice(list(LOOKS))
            if rng.random() < 0.25:
                other = rng.choice(self.others)
                if other != result:
                    self._refused("foreign", lambda w=what, o=other: LOOKS[w](client, o), NOT_MINE)
            else:
                self._asked(what, i, lambda w=what: (result, LOOKS[w](client, result)))

    def send_a_bad_file(self, client: Client, rng: random.Random) -> None:
        """Something that is no clip."""
        self._refused("bad file", lambda: ask(client, rng.choice(self.bad)))

    def change_mind(self, client: Client, rng: random.Random) -> None:
        """Cancel at a random moment; what had ended before is a result like any other."""
        i = rng.randrange(len(self.clips))
        job = client.submit(
            handle_file(self.clips[i]), "descriptors", FRAMES, PATCHES, api_name="/segment"
        )
        time.sleep(rng.random() * 1.5)
        client.predict(api_name="/cancel")
        try:
            summary, _ = job.result(timeout=120)
            self.tally.add("cancelled too late")
            self.others.append(summary["result"])
        except AppError as error:
            self._judge("cancelled", error)

    def run_away(self, client: Client, rng: random.Random) -> None:
        """Leave while the clip is worked on."""
        i = rng.randrange(len(self.clips))
        client.submit(
            handle_file(self.clips[i]), "descriptors", FRAMES, PATCHES, api_name="/segment"
        )
        time.sleep(rng.random())
        self.tally.add("left")

    def _asked(self, what: str, clip: int, question: Callable[[], tuple[str, str]]) -> str | None:
        """The id in an answer, which is held against the expected one. None for a refusal."""
        try:
            result, answer = question()
        except AppError as error:
            self._judge(f"{what} refused", error)
            return None
        self.tally.add(what)
        if answer != self.expected[clip][what]:
            whose = [i for i, known in enumerate(self.expected) if known[what] == answer]
            self.tally.fail(f"{what} of clip {clip} answered that of {whose or 'none'}")
        return result

    def _refused(
        self, what: str, question: Callable[[], object], sentence: str | None = None
    ) -> None:
        """A question that must be refused."""
        try:
            question()
        except AppError as error:
            self._judge(what, error, sentence)
        else:
            self.tally.fail(f"{what} was answered")

    def _judge(self, what: str, error: AppError, sentence: str | None = None) -> None:
        """Whether a refusal is the expected sentence, or at least a clear one."""
        self.tally.add(what)
        said = str(error)
        if (sentence and said != sentence) or UNCLEAR in said or "Traceback" in said:
            self.tally.fail(f"{what}: {said}")


def bad_files(folder: Path, clip: Path) -> list[Path]:
    """Files that are no clips."""
    contents = {
        "empty.mp4": b"",
        "notes.mp4": b"Bread, milk, a tripod.\n" * 40,
        "half.mp4": clip.read_bytes()[:200],
        "list.m3u8": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "noise.zip": b"PK\3\4" + os.urandom(300),
        "-y \xe9 '\".png": b"\x89PNG\r\n\x1a\n" + os.urandom(60),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def keep_killing(server: Server, stop: threading.Event, tally: Tally) -> None:
    """Kill a decoder or an encoder every now and then."""
    rng = random.Random(0)
    while not stop.wait(rng.uniform(1, 5)):
        for pid in server.decoders()[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                tally.add("killed")


def under_load(load: Load, seconds: float, visitors: int, seed: int, show: bool) -> None:
    """Visitors come and go for a time, several at once."""
    end, stop = time.monotonic() + seconds, threading.Event()

    def come_and_go(number: int) -> None:
        rng = random.Random(f"{seed}-{number}")
        while time.monotonic() < end:
            try:
                load.visit(rng)
            except Exception as error:  # whatever it is, it is no clear answer
                load.tally.fail(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=come_and_go, args=(i,)) for i in range(visitors)]
    killer = threading.Thread(target=keep_killing, args=(load.server, stop, load.tally))
    for thread in (*threads, killer):
        thread.start()
    with tqdm(total=round(seconds), unit="s", disable=not show) as bar:
        while any(thread.is_alive() for thread in threads):
            time.sleep(1)
            bar.update(1)
            bar.set_postfix(requests=load.tally.counts.total(), wrong=len(load.tally.wrong))
    stop.set()
    killer.join()


def at_rest(server: Server, patience: float = 120) -> dict[str, float]:
    """Memory and files once nothing goes on and everything that shall go is gone."""
    end = time.monotonic() + patience
    seen = [server.files[0]]
    while time.monotonic() < end and (len(seen) < 6 or len(set(seen[-6:])) > 1):
        time.sleep(server.keep_seconds / 4)
        seen.append(server.files[0])
    return state(server)


def state(server: Server) -> dict[str, float]:
    """Memory and files now."""
    count, mib = server.files
    return {"memory_mib": round(server.resident_mib, 1), "files": count, "files_mib": round(mib, 2)}


def soak(
    seconds: float,
    *,
    visitors: int = 6,
    warm_seconds: float = 60,
    keep_seconds: int = 20,
    show: bool = False,
) -> dict[str, Any]:
    """Load for a time; what was asked, what was wrong, and what stayed behind.

    warm_seconds: load before the first look at memory and files; 0 to look at the start.
    keep_seconds: how long the server keeps files; short, so that the end can be seen.
    """
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        temporary, downloads = folder / "server", folder / "visitors"
        temporary.mkdir()
        downloads.mkdir()
        clips = [folder / f"clip-{i}.mp4" for i in range(CLIPS)]
        for i, clip in enumerate(clips):
            write_clip(clip, i)
        with serving(temporary, keep_seconds) as server:
            client = connected(server, downloads)
            before = state(server)
            expected = [answers(client, clip) for clip in clips]
            client.close()
            bad = bad_files(folder, clips[0])
            load = Load(server, downloads, clips, expected, bad, Tally())
            if warm_seconds:  # until caches and pools are full
                under_load(load, warm_seconds, visitors, 0, show)
                before = at_rest(server)
            under_load(load, seconds, visitors, 1, show)
            after = at_rest(server)
        log = (folder / "server.log").read_text(errors="replace")
        left = [str(p.relative_to(temporary)) for p in temporary.rglob("*") if p.is_file()]
    return {
        "requests": dict(sorted(load.tally.counts.items())),
        "wrong": load.tally.wrong,
        "before": before,
        "after": after,
        "tracebacks": log.count("Traceback"),
        "left_when_stopped": left,
        "log": log[-4000:] if "Traceback" in log else "",
    }


def answers(client: Client, clip: Path) -> dict[str, str]:
    """Everything that visitors will ask about a clip, asked when nobody else is there."""
    result, summary = ask(client, clip)
    return {"segment": summary, **{what: look(client, result) for what, look in LOOKS.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--visitors", type=int, default=6)
    parser.add_argument("--out", type=Path, help="a JSON file")
    args = parser.parse_args()
    report = soak(args.minutes * 60, visitors=args.visitors, show=True)
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")
    sys.exit(bool(report["wrong"] or report["tracebacks"]))


if __name__ == "__main__":
    main()
