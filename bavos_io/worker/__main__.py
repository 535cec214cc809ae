"""Answers to requests."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection
from typing import Any, BinaryIO

from av.error import FFmpegError

from ..sampling import spread
from .film import Film, Refused
from .pictures import Pictures
from .sandbox import confine, load_all_of_pyav
from .sound import sound

_TIMES_AT_ONCE = 32  # frames between two messages that tell only times


def send(message: dict[str, Any], data: Collection[memoryview | bytes] = ()) -> None:
    """Write a message."""
    message["bytes"] = sum(map(len, data))
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    for part in data:
        sys.stdout.buffer.write(part)


def send_frames(file: BinaryIO, request: dict[str, Any]) -> None:
    """Send the times of all frames, and the frames asked for.

    request["frames"]: None for all; numbers in rising order, after the last of which nothing is
    read; or {"wanted": count, "include": number} as for `spread`. How many frames there are is
    guessed then, and what was guessed wrongly is sent in a second pass.
    """
    frames = request["frames"]
    if not isinstance(frames, dict):
        send_pass(Film(file, request), frames and set(frames), stop=bool(frames))
        return
    film = Film(file, request)
    count = film.told
    if count is None:
        count, film = film.packets(), Film(file, request)
    guessed = set(spread(count, **frames))
    total = send_pass(film, guessed)
    missing = set(spread(total, **frames)) - guessed
    if missing:
        send({"again": True})
        send_pass(Film(file, request), missing, stop=True)


def send_pass(film: Film, chosen: set[int] | None, *, stop: bool = False) -> int:
    """Send the film's times, and the frames whose numbers are chosen (None: all); return the count.

    stop: end after the last chosen frame.
    """
    pictures, times, number, shown = None, [], -1, None
    final = max(chosen or {-1}) if stop else -1
    for number, shown in enumerate(film.shown()):
        if pictures is None:
            pictures = Pictures(film, shown.frame)
            send({"about": {**film.about(), "size": pictures.full_size, "turn": pictures.turn}})
        times.append(shown.time)
        if chosen is None or number in chosen:
            about, rows = pictures.of(shown.frame)
            until = shown.time + shown.length
            send({"times": times, "frame": number, "until": until, **about}, rows)
            times = []
        elif len(times) == _TIMES_AT_ONCE:
            send({"times": times})
            times = []
        if number == final:
            return number + 1
    if shown is None:
        raise Refused("frames" if film.damaged else "nothing")
    send({"times": times, "end": shown.time + shown.length, "damaged": film.damaged})
    return number + 1


def send_sound(file: BinaryIO, request: dict[str, Any]) -> None:
    """Send the sound."""
    for data in sound(Film(file, request)):
        send({}, [data])


def answer(request: dict[str, Any]) -> None:
    """Answer a request, if only by saying why the file cannot be shown."""
    send_what = {"frames": send_frames, "sound": send_sound}[request["task"]]
    try:
        send_what(sys.stdin.buffer, request)
    except Refused as reason:
        send({"refused": str(reason)})
    except (FFmpegError, MemoryError, PermissionError):
        send({"refused": "nothing"})
    sys.stdout.buffer.flush()


def main() -> None:
    """Answer the request in the first argument, and end."""
    status = 1
    try:
        request = json.loads(sys.argv[1])
        load_all_of_pyav()
        confine(request)
        answer(request)
        status = 0
    except BrokenPipeError:
        pass  # nobody reads any more
    finally:
        os._exit(status)  # at once: decoders' threads may keep the interpreter from ending


if __name__ == "__main__":
    main()
