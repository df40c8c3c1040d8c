"""Calls into a sound system that may never return: in threads, of which no more than a few are given up."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import trio

from convaid.devices.interfaces import StreamError

__all__ = ["HANGING_LIMIT", "call_blocking", "given_up"]

T = TypeVar("T")

HANGING_LIMIT = 4  # calls that do not return: no more is begun, as none would
given_up: set[object] = set()
"""The calls that nobody waits for any more and that have not returned; of the whole process, which they hang in."""

_lock = threading.Lock()
_unlimited = trio.CapacityLimiter(math.inf)  # a sound system that hangs is not to take threads from anybody else


async def call_blocking(function: Callable[[], T], undo: Callable[[T], Any] = lambda result: None) -> T:
    """Call ``function`` in a thread; cancelled, this returns at once.

    ``undo`` gets what comes of the call after all, in a thread. Raises `StreamError` where too many calls hang already.
    """
    if len(given_up) >= HANGING_LIMIT:
        raise StreamError("the sound system does not answer")
    call = object()
    results: list[T] = []  # whoever takes it out has it
    is_running = is_wanted = True

    def run() -> None:
        nonlocal is_running
        try:
            results.append(function())
        finally:
            with _lock:
                is_running = False
                given_up.discard(call)
            if not is_wanted:
                undo_result()

    def undo_result() -> None:
        with suppress(IndexError):
            undo(results.pop())

    try:
        await trio.to_thread.run_sync(run, abandon_on_cancel=True, limiter=_unlimited)
        return results.pop()
    except trio.Cancelled:
        with _lock:
            is_wanted = False
            if is_running:
                given_up.add(call)
        if results:  # it came just now
            threading.Thread(target=undo_result, daemon=True).start()
        raise
