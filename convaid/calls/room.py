"""A plugin's room: a thread with a trio loop of its own, for the plugin's code that is async or observes (floor 5).

Between the conversations' loop and the room's there are only callbacks, in both directions. Nothing on the
conversations' side ever waits for a room without a limit, and the room's thread is a daemon thread: a room that does
not end cannot keep the process alive.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from inspect import isawaitable
from typing import Any

import trio
from attrs import define, field
from outcome import Outcome, Value, acapture

from convaid.calls.run import Ending, Run, describe_stop, locate_thread, perform_async
from convaid.events import Event
from convaid.plugins.loading import Plugin

__all__ = ["Room"]

logger = logging.getLogger(__name__)

START_LIMIT = 10.0  # seconds for a lifespan to begin: a start of the daemon that waits longer looks like one that hangs
CLOSE_LIMIT = 3.0  # seconds for tools to be cancelled and a lifespan to end
HURRIED_CLOSE_LIMIT = 0.2  # seconds for the same when we are cancelled: plenty for one that only closes a file
EVENTS_HELD = 1000  # events that wait for an observer: some minutes of conversation


@define(eq=False)
class Room:
    """One plugin's room. Made, opened and closed on the conversations' loop, by its owner `ToolCalls`."""

    plugin: Plugin
    failure: str = field(default="", init=False)
    """Why the room cannot be used; "" while it can."""
    state: Any = field(default=None, init=False)
    """What the plugin's lifespan yielded."""

    # The conversations' side
    _outside: trio.lowlevel.TrioToken = field(factory=trio.lowlevel.current_trio_token, init=False)
    _runs: set[Run] = field(factory=set, init=False)
    _opened: trio.Event = field(factory=trio.Event, init=False)
    _ended: trio.Event = field(factory=trio.Event, init=False)
    _missed: int = field(default=0, init=False)
    # Both sides
    _is_closing: bool = field(default=False, init=False)
    _events: deque[Event] = field(factory=deque, init=False)
    _thread: threading.Thread = field(init=False)
    # The room's side
    _inside: trio.lowlevel.TrioToken | None = field(default=None, init=False)
    _life: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _has_begun: bool = field(default=False, init=False)
    _nursery: trio.Nursery | None = field(default=None, init=False)  # while tools may run
    _closing: trio.Event = field(factory=trio.Event, init=False)
    _event_waits: trio.Event = field(factory=trio.Event, init=False)

    # --- on the conversations' loop ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start the thread and wait until the lifespan has begun, or until ``failure`` says why it has not."""
        self._thread = threading.Thread(target=self._live_in_thread, name=f"room of {self.plugin.name}", daemon=True)
        self._thread.start()
        with trio.move_on_after(START_LIMIT) as limit:
            await self._opened.wait()
        if limit.cancelled_caught:
            self._fail(f"its lifespan did not begin within {START_LIMIT:g} s (at {locate_thread(self._thread.ident)})")
            self._ask(self._end_life)

    async def close(self) -> None:
        """Cancel what runs, end the lifespan, and wait for both for a limited time, a short one if cancelled."""
        self._is_closing = True
        self._ask(self._end_life)
        try:
            with trio.move_on_after(CLOSE_LIMIT):
                await self._ended.wait()
        finally:
            with trio.move_on_after(HURRIED_CLOSE_LIMIT, shield=True):
                await self._ended.wait()
            if not self._ended.is_set():
                logger.warning(
                    "%s does not end and is left behind, at %s", self.plugin, locate_thread(self._thread.ident)
                )

    def start(self, run: Run) -> None:
        """Begin a run; `Run.finish` is told of its end, whatever happens to the room."""
        run.thread = self._thread.ident
        self._runs.add(run)
        self._ask(self._begin, run)

    def cancel(self, run: Run) -> None:
        """Ask a run to end; nobody waits until it does."""
        self._ask(self._cancel, run)

    def observe(self, event: Event) -> None:
        """Hand an event to the plugin's observer, or count it as missed if too many wait already."""
        if len(self._events) >= EVENTS_HELD:
            if not self._missed:
                logger.warning("%s is too slow to observe: %d events wait, others are lost", self.plugin, EVENTS_HELD)
            self._missed += 1
            return
        if self._missed:
            logger.warning("%s observes again; it has missed %d events", self.plugin, self._missed)
            self._missed = 0
        self._events.append(event)
        self._ask(self._wake_observer)

    def _enter_service(self, state: Any) -> None:
        self.state = state
        self._opened.set()

    def _finish(self, run: Run, result: Outcome[Ending]) -> None:
        self._runs.discard(run)
        run.finish(result)

    def _end(self, failure: str) -> None:
        """The thread is at its end: nothing that ran in it will answer any more."""
        if not self._is_closing:
            self._fail(failure or "its lifespan ended too early")
        elif failure:
            logger.error("%s did not close well: %s", self.plugin, failure)
        for run in tuple(self._runs):
            self._finish(run, Value(describe_stop(run)))
        self._opened.set()
        self._ended.set()

    def _fail(self, failure: str) -> None:
        logger.error("%s is out of service: %s", self.plugin, failure)
        self.failure = self.failure or failure

    def _ask(self, act: Callable[..., object], *args: object) -> None:
        """Have a callback run on the room's loop, if it still has one."""
        if self._inside is not None:
            try:  # contextlib.suppress would be three calls more, in every tool call
                self._inside.run_sync_soon(act, *args)
            except trio.RunFinishedError:
                return

    # --- in the room's thread ---------------------------------------------------------------------------------------

    def _tell(self, act: Callable[..., object], *args: object) -> None:
        """Have a callback run on the conversations' loop, if it still runs."""
        try:
            self._outside.run_sync_soon(act, *args)
        except trio.RunFinishedError:
            return

    def _live_in_thread(self) -> None:
        failure = "its lifespan failed"
        try:
            trio.run(self._live)
            failure = ""
        except BaseException as error:  # plugin code runs here: its lifespan
            logger.error("the lifespan of %s failed", self.plugin, exc_info=error)
            failure += f" ({type(error).__name__}: {error})"
        finally:
            self._tell(self._end, failure)

    async def _live(self) -> None:
        self._inside = trio.lowlevel.current_trio_token()
        if self._is_closing:  # asked before there was anybody to ask
            return
        with self._life:
            async with AsyncExitStack() as stack:
                state = await stack.enter_async_context(self.plugin.lifespan()) if self.plugin.lifespan else None
                self._has_begun = True
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    if self.plugin.observe is not None:
                        nursery.start_soon(self._pass_events_on, self.plugin.observe)
                    self._tell(self._enter_service, state)
                    try:
                        await self._closing.wait()
                    finally:  # asked to, or cancelled by the lifespan
                        self._nursery = None
                        nursery.cancel_scope.cancel()

    def _end_life(self) -> None:
        self._closing.set()
        if not self._has_begun:
            self._life.cancel()

    def _begin(self, run: Run) -> None:
        if self._nursery is None or run.is_given_up:
            # Closing, or given up while the loop was blocked: too late for the tool to do anything.
            self._tell(self._finish, run, Value(describe_stop(run)))
        else:
            run.scope = trio.CancelScope()
            self._nursery.start_soon(self._perform, run, run.scope, name=f"tool {run.call.tool_name}")

    async def _perform(self, run: Run, scope: trio.CancelScope) -> None:
        run.task = trio.lowlevel.current_task()
        with scope:
            result = await acapture(perform_async, run)
        self._tell(self._finish, run, result)

    def _cancel(self, run: Run) -> None:
        if run.scope is not None:
            run.scope.cancel()

    def _wake_observer(self) -> None:
        self._event_waits.set()

    async def _pass_events_on(self, observe: Callable[[Event], Any]) -> None:
        seen: set[type[BaseException]] = set()
        while True:
            await self._event_waits.wait()
            self._event_waits = trio.Event()
            while self._events:
                await trio.lowlevel.checkpoint()  # a sync observer would keep the loop to itself
                try:
                    result = observe(self._events.popleft())
                    if isawaitable(result):
                        await result
                except trio.Cancelled:
                    raise
                except BaseException as error:  # plugin code observes here: never felt, only logged
                    if type(error) not in seen:  # once per kind: events are many
                        logger.error("the observer of %s failed", self.plugin, exc_info=error)
                    seen.add(type(error))
