"""Results of tools that come too late for the call that asked for them, until an agent can be told."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from attrs import define, field, frozen

__all__ = ["LateResult", "LateResults"]

log = logging.getLogger(__name__)

KEPT = 100  # texts that wait for a session; who comes back to more is not helped by them


@frozen
class LateResult:
    """What an agent is to be told; ``told`` is called once it is on its way, or lost."""

    text: str
    told: Callable[[], None]


@define(eq=False)
class LateResults:
    """The late results of one conversation, in order; kept from one session to the next."""

    arrived: Callable[[], None] | None = None
    """Called when there is another one, while a session can tell it."""
    _waiting: deque[LateResult] = field(factory=deque, init=False)

    def put(self, result: LateResult) -> None:
        """Add one; where too many wait, the oldest is lost."""
        if len(self._waiting) == KEPT:
            lost = self._waiting.popleft()
            log.warning("too many late results wait to be told; lost is: %s", lost.text)
            lost.told()
        self._waiting.append(result)
        if self.arrived is not None:
            self.arrived()

    def take(self) -> LateResult | None:
        """Return the oldest, or None."""
        return self._waiting.popleft() if self._waiting else None
