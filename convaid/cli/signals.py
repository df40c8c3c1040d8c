"""SIGINT and SIGTERM, where there is no daemon to take them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["catch_signal"]


@contextmanager
def catch_signal(act: Callable[[], object]) -> Iterator[list[int]]:
    """Call ``act`` at the first SIGINT or SIGTERM; yields where its number is noted. The next one ends the process.

    That one is the system's doing, since what hangs may be a plugin that is being loaded, and all else with it. ``act``
    is called by the signal's handler, between any two steps of the main thread.
    """
    came: list[int] = []

    def note(number: int, _: object) -> None:
        came.append(number)
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        act()

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for each in before:
        signal.signal(each, note)
    try:
        yield came
    finally:
        if not came:
            for each, handler in before.items():
                signal.signal(each, handler)
