"""The time of everything that the test kit runs: the machine's, until a test moves it ahead (floor 6).

trio's own autojump clock cannot serve here: it jumps as soon as its loop has nothing to do, and a loop whose tool runs
in another thread has nothing to do. This clock moves only when it is told to, and takes all loops with it: that of the
conversations, and those of the plugins' rooms.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import trio
from attrs import define, field

from convaid.calls.loops import Loop, TrioLoop
from convaid.plugins import Plugin

__all__ = ["Clock", "Watch"]

ROUNDS = 3  # over all loops: a time limit ends on one, a tool is cancelled on another, the first hears of it
BLOCKED = 0.1  # seconds in which a loop that is not blocked has had its turn
SHORTEST_STEP = 0.001  # seconds: what is due so close together is due at once
REST = 0.02  # seconds of the machine's clock for work that waits for no clock: threads, files, sockets
LONGEST_REST = 1.0  # seconds of the same in one move
PAUSE = 0.005  # seconds between two looks whether something is over that time must not overtake
LONGEST_PAUSE = 10.0  # seconds of the same at a time


@define(eq=False)
class Watch:
    """What is known of one loop. `rest` and `wake` belong to its thread."""

    is_room: bool
    post: Callable[[Callable[[], object]], object] | None = None
    """Has a callback run on the loop; None before its first rest. Raises RuntimeError once the loop is gone."""
    due: float = math.inf
    """When the loop will wake by itself."""
    is_resting: bool = False
    _rested: list[threading.Event] = field(factory=list, init=False)
    _asked: threading.Event | None = field(default=None, init=False)

    def rest(self, due: float) -> None:
        """The loop has nothing to do until then."""
        self.due, self.is_resting = due, True
        while self._rested:
            self._rested.pop().set()

    def wake(self) -> None:
        """The loop has something to do."""
        self.is_resting = False

    def let_work(self) -> None:
        """Wait until the loop has done what there is to do, unless it is blocked, or over."""
        if self.post is None or (self._asked is not None and not self._asked.is_set()):
            return
        self._asked = asked = threading.Event()
        try:
            self.post(lambda: self._rested.append(asked))
        except RuntimeError:
            self.due, self.post = math.inf, None
        else:
            asked.wait(BLOCKED)


@define(eq=False, repr=False)
class Clock:
    """Runs as the machine's does; `move` makes more of it pass."""

    _ahead: float = field(default=0.0, init=False)
    _watches: list[Watch] = field(factory=list, init=False)
    _obstacles: list[Callable[[], bool]] = field(factory=list, init=False)

    def now(self) -> float:
        """Return the time that all loops have, in seconds."""
        return time.monotonic() + self._ahead

    def move(self, seconds: float) -> None:
        """Let so many seconds pass, in milliseconds: whatever is due in them happens, in its order.

        For a test's thread. Work that waits for no clock, on a file or in a thread, say, has 20 ms before time moves,
        and again after each thing that a plugin was waiting for.
        """
        until = self.now() + seconds
        rests = int(LONGEST_REST / REST)
        time.sleep(REST)
        while True:
            self.settle()
            self._wait_for_obstacles()
            watch = min(
                (watch for watch in self._watches if watch.is_resting), key=lambda watch: watch.due, default=None
            )
            if watch is None or watch.due >= until:
                break
            self._advance(max(watch.due, self.now() + SHORTEST_STEP))
            if watch.is_room and rests:
                rests -= 1
                self.settle()
                time.sleep(REST)
        self._advance(until)
        self.settle()

    def settle(self) -> None:
        """Wait until all loops have done what there is to do now; one that is blocked is not waited for."""
        for _ in range(ROUNDS):
            for watch in tuple(self._watches):
                watch.let_work()

    def respect(self, is_in_the_way: Callable[[], bool]) -> None:
        """Let time not be moved while this is so; called in the test's thread."""
        self._obstacles.append(is_in_the_way)

    def make_trio_clock(self, *, is_room: bool = False) -> trio.abc.Clock:
        """Return what a trio loop is to be run with."""
        return _TrioClock(self, self._watch(is_room))

    def make_loop(self, plugin: Plugin) -> Loop:
        """Return the loop for a plugin's room."""
        if plugin.loop == "trio":
            return TrioLoop(self.make_trio_clock(is_room=True))
        from functools import partial

        from convaid.calls.asyncio_loop import AsyncioLoop
        from convaid.testing.asyncio_clock import MovedLoop

        return AsyncioLoop(str(plugin), partial(MovedLoop, self, self._watch(is_room=True)))

    def _watch(self, is_room: bool) -> Watch:
        self._watches.append(watch := Watch(is_room))
        return watch

    def _wait_for_obstacles(self) -> None:
        end = time.monotonic() + LONGEST_PAUSE
        while any(is_in_the_way() for is_in_the_way in self._obstacles) and time.monotonic() < end:
            time.sleep(PAUSE)
            self.settle()

    def _advance(self, until: float) -> None:
        self._ahead += max(0.0, until - self.now())


@define(eq=False)
class _TrioClock(trio.abc.Clock):
    _clock: Clock
    _watch: Watch

    def start_clock(self) -> None:
        """It runs already."""

    def current_time(self) -> float:
        self._watch.wake()
        return self._clock.now()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Called by trio when its loop has nothing to do."""
        if self._watch.post is None:
            self._watch.post = trio.lowlevel.current_trio_token().run_sync_soon
        self._watch.rest(deadline)
        return deadline - self._clock.now()
