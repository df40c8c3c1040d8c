"""Notices when the machine's wall clock is set (floor 6).

The daemon counts on a clock that nobody sets; but the hours and budgets of conversations, and what is kept for so many
days, go by the wall clock. Whoever wonders about them finds in the log, and in the status, when it was set.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from convaid.daemon import Daemon

__all__ = ["watch_wall_clock"]

log = logging.getLogger(__name__)

INTERVAL = 5.0  # seconds between two looks
TOLERANCE = 1.0  # seconds: a clock that is only kept right is slewed by 3 ms in that time


async def watch_wall_clock(daemon: Daemon, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Log when the wall clock is set, until cancelled. A service of the daemon's."""
    ahead = find_lead()
    task_status.started()
    while True:
        await trio.sleep(INTERVAL)
        before, ahead = ahead, find_lead()
        if abs(step := ahead - before) >= TOLERANCE:
            way = "forward" if step > 0 else "back"
            log.warning("the machine's clock was set %s by %.0f s; hours and budgets go by it", way, abs(step))


def find_lead() -> float:
    """Seconds by which the wall clock is ahead of one that nobody sets, and that goes on while the machine sleeps."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
