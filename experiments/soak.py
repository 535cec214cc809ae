"""Load test of a server with many concurrent sessions, over a long time.

    python -m experiments.soak --minutes 30 --out soak.csv

Clients segment clips and explore the results, ask for other sessions' results, upload files that
are not clips, cancel, and disconnect; decoders are killed at random. Every answer is compared byte
by byte with the answer to the same request on an idle server. Linux only: memory is read from
/proc. Nothing outside this machine is called.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from tqdm import tqdm

from demo import strings
from demo.store import GONE as NOT_MINE

from .common import Row, markdown, parser_of, write_rows
from .server import Server, client_of, connected, serving
from .soak_requests import FRAMES, LOOKS, PATCHES, answers, ask, bad_files, write_clip

CLIPS = 4
UNCLEAR = strings.failure(Exception())


# ---- clients -----------------------------------------------------------------------------------


@dataclass
class Tally:
    """Counts of what happened, from many threads."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, what: str) -> None:
        """Count one event."""
        with self.lock:
            self.counts[what] += 1

    def fail(self, what: str) -> None:
        """Record one failure."""
        with self.lock:
            self.wrong.append(what)


@dataclass(frozen=True)
class Load:
    """What all clients share."""

    server: Server
    folder: Path  # for downloads
    clips: list[Path]
    expected: list[dict[str, str]]  # of every clip: request → answer
    bad: list[Path]
    tally: Tally
    others: list[str] = field(default_factory=list)  # ids of all results so far

    def run_session(self, rng: random.Random) -> None:
        """Run one session."""
        with tempfile.TemporaryDirectory(dir=self.folder) as downloads:
            client = client_of(self.server, Path(downloads))
            try:
                rng.choices(
                    [self.explore, self.upload_a_bad_file, self.cancel, self.disconnect],
                    [6, 2, 2, 1],
                )[0](client, rng)
            finally:
                client.close()

    def explore(self, client: Client, rng: random.Random) -> None:
        """Segment a clip, explore the result, and ask for results of other sessions."""
        i = rng.randrange(len(self.clips))
        result = self._asked("segment", i, lambda: ask(client, self.clips[i]))
        if result is None:
            return
        self.others.append(result)
        for _ in range(rng.randrange(1, 7)):
            what = rng.choice(list(LOOKS))
            if rng.random() < 0.25:
                guess = rng.choice(self.others)[:-4] + "AAAA"  # nobody knows another's id
                self._refused("guessed", lambda w=what, g=guess: LOOKS[w](client, g), NOT_MINE)
            else:
                self._asked(what, i, lambda w=what: (result, LOOKS[w](client, result)))

    def upload_a_bad_file(self, client: Client, rng: random.Random) -> None:
        """Upload a file that is not a clip."""
        self._refused("bad file", lambda: ask(client, rng.choice(self.bad)))

    def cancel(self, client: Client, rng: random.Random) -> None:
        """Cancel at a random moment; a run that ended before is a result like any other."""
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

    def disconnect(self, client: Client, rng: random.Random) -> None:
        """Disconnect while the clip is processed."""
        i = rng.randrange(len(self.clips))
        client.submit(
            handle_file(self.clips[i]), "descriptors", FRAMES, PATCHES, api_name="/segment"
        )
        time.sleep(rng.random())
        self.tally.add("left")

    def _asked(self, what: str, clip: int, request: Callable[[], tuple[str, str]]) -> str | None:
        """Compare an answer with the expected one; return its id, or None if it was refused."""
        try:
            result, answer = request()
        except AppError as error:
            self._judge(f"{what} refused", error)
            return None
        self.tally.add(what)
        if answer != self.expected[clip][what]:
            whose = [i for i, known in enumerate(self.expected) if known[what] == answer]
            self.tally.fail(f"{what} of clip {clip} answered that of {whose or 'none'}")
        return result

    def _refused(
        self, what: str, request: Callable[[], object], sentence: str | None = None
    ) -> None:
        """Make a request that must be refused."""
        try:
            request()
        except AppError as error:
            self._judge(what, error, sentence)
        else:
            self.tally.fail(f"{what} was answered")

    def _judge(self, what: str, error: AppError, sentence: str | None = None) -> None:
        """Check that a refusal is the expected sentence, or at least a clear one."""
        self.tally.add(what)
        said = str(error)
        if (sentence and said != sentence) or UNCLEAR in said or "Traceback" in said:
            self.tally.fail(f"{what}: {said}")


def keep_killing(server: Server, stop: threading.Event, tally: Tally) -> None:
    """Kill a decoder or an encoder every few seconds."""
    rng = random.Random(0)
    while not stop.wait(rng.uniform(1, 5)):
        for pid in server.decoders()[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                tally.add("killed")


def under_load(load: Load, seconds: float, sessions: int, seed: int, show: bool) -> None:
    """Run sessions one after the other in several threads, for a time."""
    end, stop = time.monotonic() + seconds, threading.Event()

    def run_sessions(number: int) -> None:
        rng = random.Random(f"{seed}-{number}")
        while time.monotonic() < end:
            try:
                load.run_session(rng)
            except Exception as error:  # whatever it is, it is not a clear answer
                load.tally.fail(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=run_sessions, args=(i,)) for i in range(sessions)]
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
    """Return memory and files once the number of files no longer changes."""
    end = time.monotonic() + patience
    seen = [server.files[0]]
    while time.monotonic() < end and (len(seen) < 6 or len(set(seen[-6:])) > 1):
        time.sleep(server.keep_seconds / 4)
        seen.append(server.files[0])
    return state(server)


def state(server: Server) -> dict[str, float]:
    """Return memory and files now."""
    count, mib = server.files
    return {"memory_mib": round(server.resident_mib, 1), "files": count, "files_mib": round(mib, 2)}


def soak(
    seconds: float,
    *,
    sessions: int = 6,
    warm_seconds: float = 60,
    keep_seconds: int = 20,
    show: bool = False,
) -> dict[str, Any]:
    """Load a server for a time; return what was requested, what went wrong and what was left.

    warm_seconds: load before memory and files are first measured; 0 to measure at the start.
    keep_seconds: for which the server keeps files; short, so that their removal is seen.
    """
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        temporary, downloads = folder / "server", folder / "clients"
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
                under_load(load, warm_seconds, sessions, 0, show)
                before = at_rest(server)
            under_load(load, seconds, sessions, 1, show)
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


def rows_of(report: dict[str, Any]) -> Iterator[Row]:
    """Yield one row for every figure of a report."""
    yield from ({"what": f"requests, {k}", "value": v} for k, v in report["requests"].items())
    for name in ("wrong", "left_when_stopped"):
        yield {"what": name, "value": len(report[name])}
    yield {"what": "tracebacks", "value": report["tracebacks"]}
    for when in ("before", "after"):
        yield from ({"what": f"{k}, {when}", "value": v} for k, v in report[when].items())


def main() -> None:
    """Load a server, write every figure, print the report."""
    parser = parser_of(__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--sessions", type=int, default=6, help="at a time (%(default)s)")
    parser.add_argument("--warm-seconds", type=float, default=60)
    options = parser.parse_args()
    report = soak(
        options.minutes * 60,
        sessions=options.sessions, warm_seconds=options.warm_seconds, show=True,
    )  # fmt: skip
    found = write_rows(options.out, rows_of(report))
    print(markdown(["what", "value"], ([row["what"], row["value"]] for row in found)))
    print(*report["wrong"], report["log"], sep="\n", file=sys.stderr)
    sys.exit(bool(report["wrong"] or report["tracebacks"]))


if __name__ == "__main__":
    main()
