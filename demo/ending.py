"""How the server ends: SIGTERM and Ctrl-C are heard at any moment, and all is left as it was."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator

_START = 5.0  # seconds that a step of the start may take before it is no longer waited for

Step = Callable[[], object]


class Ending:
    """Ends this process with status 0 at the first signal, and at once at the second.

    A thread of its own does it, so that it does not matter what the main thread does meanwhile:
    loading torch, building the page, or waiting.
    """

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._lock = threading.Lock()
        self._heard = threading.Event()

    def listen(self) -> None:
        """Hear signals from now on; for the main thread."""
        heard, wake = os.pipe()
        os.set_blocking(wake, False)
        threading.Thread(target=self._wait, args=(heard,), daemon=True).start()
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        atexit.register(self._let_it_end)

    @contextlib.contextmanager
    def begun(self) -> Iterator[list[Step]]:
        """Yield the list of what is to be done at the end, to which the block adds.

        What comes last in it is done first. The end waits for the block, so that nothing is made in
        it that is not cleared away.
        """
        with self._lock:
            yield self._steps

    def _wait(self, heard: int) -> None:
        os.read(heard, 1)
        self._heard.set()
        _be_quiet()
        threading.Thread(target=self._at_once, args=(heard,), daemon=True).start()
        status = 1
        try:
            self._lock.acquire(timeout=_START)
            for step in reversed(self._steps):
                step()
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            _leave(status)

    def _let_it_end(self) -> None:
        """Keep the main thread, which fails or returns meanwhile, from ending the process first."""
        if self._heard.is_set():
            threading.Event().wait()

    def _at_once(self, heard: int) -> None:
        number = os.read(heard, 1)
        _leave(128 + number[0])


def _be_quiet() -> None:
    """Say nothing any more: what fails from now on does so because it is being ended."""
    logging.disable(logging.CRITICAL)
    sys.excepthook = lambda *_: None
    threading.excepthook = lambda _: None


def _leave(status: int) -> None:
    """End the process without ending its threads.

    Some may be inside torch or FFmpeg. Python would end them as they come back from there, which
    C++ takes for an error and aborts the process.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


ENDING = Ending()
