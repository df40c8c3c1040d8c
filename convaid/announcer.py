"""Telling observers what happens, without holding anybody up (floor 6)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from convaid import events
from convaid.pulse import Pulse

__all__ = ["Announcer"]


class Announcer:
    """Tells observers what happens, in order and in a task of its own: no answer waits for its log line."""

    def __init__(self, observers: list[Callable[[events.Event], None]]) -> None:
        """``observers`` return soon and raise nothing; others may join and leave."""
        self.observers = observers
        self.pulse = Pulse("the announcer")
        self._untold: deque[events.Event] = deque()
        self._told = trio.Event()

    def publish(self, event: events.Event) -> None:
        """Have the observers told, soon."""
        if not self._untold:
            self.pulse.beat()
        self._untold.append(event)
        self._told.set()

    async def run(self) -> None:
        """Tell the observers, until cancelled."""
        self.pulse.attach()
        while True:
            self.pulse.rest()
            await self._told.wait()
            self._told = trio.Event()
            await trio.lowlevel.checkpoint()  # whoever has something to send goes first
            self.tell()

    def tell(self) -> None:
        """Tell the observers what they have not been told."""
        while self._untold:
            event = self._untold.popleft()
            for observe in tuple(self.observers):
                observe(event)
