"""How long to wait before the next connection. Pure: chance comes in as an argument."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import frozen

from convaid.protocol.endings import Retry

__all__ = ["Backoff"]


@frozen
class Pace:
    """Seconds of the first delay, and of the longest; each delay is at most twice the one before."""

    first: float
    longest: float


PACES = {
    Retry.NO: Pace(1.0, 30.0),  # a new conversation after one that ended, in case the agent hangs up at once
    Retry.SOON: Pace(0.5, 30.0),  # a lost link: dead air is what users notice first
    Retry.LATER: Pace(30.0, 600.0),  # busy, out of credits: the platform has asked for patience
    Retry.REPAIR: Pace(900.0, 900.0),  # refused until somebody repairs something: look now and then whether they have
}


class Backoff:
    """Doubles the delay with every failure, with jitter, up to a cap.

    It starts anew only after a session has *lived* for ``stable_after`` seconds: a handshake alone proves nothing,
    and a platform that accepts and then closes would be hammered for ever.
    """

    def __init__(self, stable_after: float, chance: Callable[[float, float], float] = random.uniform) -> None:
        self._stable_after = stable_after
        self._chance = chance
        self._failures = 0

    def find_delay(self, retry: Retry, lived: float) -> float:
        """Seconds until the next try, after a session that ended with ``retry`` and had lived for ``lived`` seconds."""
        if lived >= self._stable_after:
            self._failures = 0
        pace = PACES[retry]
        delay = min(pace.first * 2.0 ** min(self._failures, 32), pace.longest)
        self._failures += 1
        return delay * self._chance(0.5, 1.0)
