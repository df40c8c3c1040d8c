"""Pulses: which of the tasks that matter still move (floor 2).

A task tells its pulse when it has moved, and when it waits for what may never come. Whoever watches finds the one that
hangs: `convaid.service.watchdog` does.
"""

from __future__ import annotations

import math

import trio
from attrs import define, field

__all__ = ["Pulse"]


@define(eq=False)
class Pulse:
    """The pulse of one task; times are trio's clock, in seconds."""

    name: str
    """What the task does, for the log."""
    task: trio.lowlevel.Task | None = field(init=False, default=None)
    due: float = field(init=False, default=math.inf)
    """When the task has to have moved on, if it does not hang."""

    def attach(self) -> None:
        """The calling task is the one."""
        self.task = trio.lowlevel.current_task()
        self.beat()

    def beat(self, within: float = 0.0) -> None:
        """The task moves, and will again ``within`` so many seconds."""
        self.due = trio.current_time() + within

    def rest(self) -> None:
        """The task waits for what may never come."""
        self.due = math.inf
