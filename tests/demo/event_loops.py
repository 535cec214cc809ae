"""Coroutines in tests that run after a browser's, which leave a running event loop."""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio


def run(work: Callable[..., Awaitable[Any]], *values: Any) -> Any:
    """Run a coroutine function to its end in a thread of its own, where there is no loop yet."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(anyio.run, work, *values).result()
