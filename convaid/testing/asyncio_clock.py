"""An asyncio loop on the test kit's clock (floor 6). Imported where a plugin needs asyncio, and only there."""

from __future__ import annotations

import asyncio
import math
import selectors

from convaid.testing.clock import Clock, Watch

__all__ = ["MovedLoop"]


class MovedLoop(asyncio.SelectorEventLoop):
    """As `asyncio.new_event_loop` makes them, but for the time."""

    def __init__(self, clock: Clock, watch: Watch) -> None:
        super().__init__(_Selector(clock, watch))
        self._moved = clock
        watch.post = self.call_soon_threadsafe

    def time(self) -> float:
        return self._moved.now()


class _Selector(selectors.DefaultSelector):
    """Notices when its loop has nothing to do: that is when asyncio lets it wait."""

    def __init__(self, clock: Clock, watch: Watch) -> None:
        super().__init__()
        self._clock = clock
        self._watch = watch

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            self._watch.rest(math.inf if timeout is None else self._clock.now() + timeout)
        try:
            return super().select(timeout)
        finally:
            self._watch.wake()
