"""A plugin's room: a thread with an event loop of its own, for the plugin's code that is async, observes or approves
(floor 5).

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
from functools import partial
from inspect import isawaitable
from typing import Any

import trio
from attrs import define, field
from outcome import Error, Outcome, Value, acapture

from convaid.calls.answers import Ending, describe_stop
from convaid.calls.locating import locate_thread
from convaid.calls.loops import Event as LoopEvent
from convaid.calls.loops import Job, Loop, Steps, TrioLoop
from convaid.calls.performing import perform_async
from convaid.calls.run import Run
from convaid.events import ApprovalRequest, Event
from convaid.plugins.activation import Activation
from convaid.plugins.loading import Plugin, describe_failure

__all__ = ["MakeLoop", "Room", "make_loop"]

logger = logging.getLogger(__name__)

START_LIMIT = 10.0  # seconds for a lifespan to begin: a start of the daemon that waits longer looks like one that hangs
CLOSE_LIMIT = 3.0  # seconds for tools to be cancelled and a lifespan to end
HURRIED_CLOSE_LIMIT = 0.2  # seconds for the same when we are cancelled: plenty for one that only closes a file
PROBE_PAUSE = 1.0  # seconds between two looks whether the loop turns, while something is to be done there
FIRST_PAUSE = 1.0  # seconds until a failed activation is called again; then twice as many each time
LONGEST_PAUSE = 60.0  # seconds
EVENTS_HELD = 1000  # events that wait for an observer: some minutes of conversation

MakeLoop = Callable[[Plugin], Loop]


def make_loop(plugin: Plugin) -> Loop:
    """Return the loop that a plugin's code is written for."""
    if plugin.loop == "trio":
        return TrioLoop()
    from convaid.calls.asyncio_loop import AsyncioLoop

    return AsyncioLoop(str(plugin))


@define(eq=False)
class _Question:
    """A tool call that the plugin is asked to allow."""

    request: ApprovalRequest
    answer: Callable[[bool | None], None]
    job: Job | None = None
    is_taken_back: bool = False


@define(eq=False)
class _Errand:
    """A function of the plugin's that runs until it ends by itself, or is asked to: a device of its."""

    name: str
    steps: Steps
    note_end: Callable[[str], None]
    job: Job | None = None
    is_taken_back: bool = False


@define(eq=False)
class Room:
    """One plugin's room. Made, opened and closed on the conversations' loop, by its owner `ToolCalls`."""

    plugin: Plugin
    quarantine_after: float
    """Seconds that the loop may not turn, while something is to be done there, before the room counts as stuck."""
    make_loop: MakeLoop = make_loop
    activation: Activation | None = None
    """What the plugin may open and close conversations with; without it, it is not asked to."""
    failure: str = field(default="", init=False)
    """Why the room cannot be used; "" while it can."""
    stuck_since: float | None = field(default=None, init=False)
    """On trio's clock; None while its loop turns."""
    stuck_at: str = field(default="", init=False)
    """The line that blocks, and from where it was called."""
    state: Any = field(default=None, init=False)
    """What the plugin's lifespan yielded."""

    # The conversations' side
    _outside: trio.lowlevel.TrioToken = field(factory=trio.lowlevel.current_trio_token, init=False)
    _runs: set[Run] = field(factory=set, init=False)
    _questions: set[_Question] = field(factory=set, init=False)
    _errands: set[_Errand] = field(factory=set, init=False)
    _opened: trio.Event = field(factory=trio.Event, init=False)
    _ended: trio.Event = field(factory=trio.Event, init=False)
    _work_came: trio.Event = field(factory=trio.Event, init=False)
    _watching: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _missed: int = field(default=0, init=False)
    # Both sides
    _loop: Loop = field(init=False)
    _is_closing: bool = field(default=False, init=False)
    _events: deque[Event] = field(factory=deque, init=False)
    _thread: threading.Thread = field(init=False)
    # The room's side
    _has_begun: bool = field(default=False, init=False)
    _is_in_service: bool = field(default=False, init=False)
    _closing: LoopEvent = field(init=False)
    _event_waits: LoopEvent = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._loop = self.make_loop(self.plugin)
        self._closing, self._event_waits = self._loop.make_event(), self._loop.make_event()

    # --- on the conversations' loop ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start the thread and wait until the lifespan has begun, or until ``failure`` says why it has not."""
        self._thread = threading.Thread(target=self._live_in_thread, name=f"room of {self.plugin.name}", daemon=True)
        self._thread.start()
        with trio.move_on_after(START_LIMIT) as limit:
            await self._opened.wait()
        if limit.cancelled_caught:
            self._fail(f"its lifespan did not begin within {START_LIMIT:g} s (at {locate_thread(self._thread.ident)})")
            self._loop.post(self._end_life)

    async def watch(self) -> None:
        """Notice when the loop does not turn although something is to be done there; until the room ends."""
        with self._watching:
            while True:
                self._work_came = trio.Event()
                if not self._has_work:  # an idle room is left alone
                    await self._work_came.wait()
                await trio.sleep(min(PROBE_PAUSE, self.quarantine_after))
                if self._has_work:
                    await self._probe()

    async def close(self) -> None:
        """Cancel what runs, end the lifespan, and wait for both for a limited time, a short one if cancelled."""
        self._is_closing = True
        self._watching.cancel()
        self._loop.post(self._end_life)
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
        self._work_came.set()
        if self._ended.is_set():
            self._tell(self._finish, run, Value(describe_stop(run)))
        else:
            self._loop.post(self._begin, run)

    def cancel(self, run: Run) -> None:
        """Ask a run to end; nobody waits until it does."""
        self._loop.post(self._cancel, run)

    def ask(self, request: ApprovalRequest, answer: Callable[[bool | None], None]) -> Callable[[], None]:
        """Ask the plugin's approver; ``answer`` is called once, on this loop and later, with what it has decided.

        None stands for no decision: it leaves it to others, it raised, or its room is stuck or out of service. Returns
        what takes the question back; then there is no answer.
        """
        question = _Question(request, answer)
        self._questions.add(question)
        self._work_came.set()
        if self.failure or self.is_stuck or self._ended.is_set():
            self._tell(self._settle, question, None)
        else:
            self._loop.post(self._begin_to_decide, question)
        return partial(self._take_back, question)

    def perform(self, name: str, steps: Steps, note_end: Callable[[str], None]) -> Callable[[], None]:
        """Run a function of the plugin's; ``note_end`` is called once, on this loop and later, with why it is over.

        Returns what asks it to end; ``note_end`` is called when it has.
        """
        errand = _Errand(name, steps, note_end)
        self._errands.add(errand)
        self._work_came.set()
        if self.failure or self._ended.is_set():
            self._tell(self._conclude, errand, self.failure or "its plugin has ended")
        else:
            self._loop.post(self._begin_errand, errand)
        return partial(self._loop.post, self._end_errand, errand)

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
        self._loop.post(self._wake_observer)

    @property
    def is_stuck(self) -> bool:
        """Its loop has not turned for at least ``quarantine_after``, and still does not."""
        return self.stuck_since is not None

    @property
    def _has_work(self) -> bool:
        return bool(self._runs or self._questions or self._errands)

    async def _probe(self) -> None:
        """Send a callback to the room and back, and wait until it has come."""
        echo, sent = trio.Event(), trio.current_time()
        self._loop.post(self._tell, echo.set)
        with trio.move_on_after(self.quarantine_after):
            await echo.wait()
            return
        self.stuck_since, self.stuck_at = sent, locate_thread(self._thread.ident)
        logger.warning(
            "%s is stuck: nothing has moved in its room for %.3g s, at %s; its tools are not run until it moves again",
            self.plugin,
            self.quarantine_after,
            self.stuck_at,
        )
        await echo.wait()
        self.stuck_since, self.stuck_at = None, ""
        logger.warning("%s moves again, after %.3g s, and is in service", self.plugin, trio.current_time() - sent)

    def _enter_service(self, state: Any) -> None:
        self.state = state
        self._opened.set()

    def _finish(self, run: Run, result: Outcome[Ending]) -> None:
        self._runs.discard(run)
        run.finish(result)

    def _settle(self, question: _Question, decision: bool | None) -> None:
        if question in self._questions:
            self._questions.discard(question)
            question.answer(decision)

    def _take_back(self, question: _Question) -> None:
        if question in self._questions:
            self._questions.discard(question)
            question.is_taken_back = True
            self._loop.post(self._cancel, question)

    def _conclude(self, errand: _Errand, why: str) -> None:
        if errand in self._errands:
            self._errands.discard(errand)
            errand.note_end(why)

    def _end(self, failure: str) -> None:
        """The thread is at its end: nothing that ran in it will answer any more."""
        if not self._is_closing:
            self._fail(failure or "its lifespan ended too early")
        elif failure:
            logger.error("%s did not close well: %s", self.plugin, failure)
        self._watching.cancel()
        self.stuck_since, self.stuck_at = None, ""
        for run in tuple(self._runs):
            self._finish(run, Value(describe_stop(run)))
        for question in tuple(self._questions):
            self._settle(question, None)
        for errand in tuple(self._errands):
            self._conclude(errand, self.failure or "its plugin has ended")
        self._opened.set()
        self._ended.set()

    def _fail(self, failure: str) -> None:
        logger.error("%s is out of service: %s", self.plugin, failure)
        self.failure = self.failure or failure

    # --- in the room's thread ---------------------------------------------------------------------------------------

    def _tell(self, act: Callable[..., object], *args: object) -> None:
        """Have a callback run on the conversations' loop, if it still runs."""
        try:  # contextlib.suppress would be three calls more, in every tool call
            self._outside.run_sync_soon(act, *args)
        except trio.RunFinishedError:
            return

    def _live_in_thread(self) -> None:
        failure = "its lifespan failed"
        try:
            self._loop.run(self._live)
            failure = ""
        except BaseException as error:  # plugin code runs here: its lifespan
            logger.error("the lifespan of %s failed", self.plugin, exc_info=error)
            failure += f" ({type(error).__name__}: {error})"
        finally:
            self._tell(self._end, failure)

    async def _live(self) -> None:
        if self._is_closing:  # asked before there was anybody to ask
            return
        async with AsyncExitStack() as stack:
            state = await stack.enter_async_context(self.plugin.lifespan()) if self.plugin.lifespan else None
            self._has_begun = True
            async with self._loop.open_jobs():
                if self.plugin.observe is not None:
                    name = f"observer of {self.plugin.name}"
                    self._loop.start_job(name, self._pass_events_on, self.plugin.observe)
                if self.plugin.activate is not None and self.activation is not None:
                    name = f"activation of {self.plugin.name}"
                    self._loop.start_job(name, self._activate, self.plugin.activate, self.activation)
                self._is_in_service = True
                self._tell(self._enter_service, state)
                try:
                    await self._closing.wait()
                finally:  # asked to, or cancelled by the lifespan
                    self._is_in_service = False

    def _end_life(self) -> None:
        self._closing.set()
        if not self._has_begun:
            self._loop.end_life()

    def _begin(self, run: Run) -> None:
        if not self._is_in_service or run.is_given_up:
            # Closing, or given up while the loop was blocked: too late for the tool to do anything.
            self._tell(self._finish, run, Value(describe_stop(run)))
        else:
            run.job = self._loop.start_job(f"tool {run.call.tool_name}", self._perform, run)

    async def _perform(self, run: Run) -> None:
        result = await acapture(self._perform_recorded, run)
        if isinstance(result, Error):  # a fault of ours
            self._tell(self._finish, run, result)

    async def _perform_recorded(self, run: Run) -> None:
        def tell(ending: Ending) -> None:
            self._tell(self._finish, run, Value(ending))

        if refusal := run.note_begin():
            tell(refusal)
        else:
            run.close(await perform_async(run, self._loop.is_cancellation), tell)

    def _cancel(self, asked: Run | _Question) -> None:
        if asked.job is not None:
            asked.job.cancel()

    def _begin_to_decide(self, question: _Question) -> None:
        if not self._is_in_service or question.is_taken_back:
            self._tell(self._settle, question, None)
        else:
            question.job = self._loop.start_job(f"approver of {self.plugin.name}", self._decide, question)

    async def _decide(self, question: _Question) -> None:
        assert self.plugin.approve is not None
        decision = None
        try:
            given = self.plugin.approve(question.request)
            decision = await given if isawaitable(given) else given
            if not (decision is None or isinstance(decision, bool)):
                logger.error("the approver of %s decided on neither True, False nor None", self.plugin)
                decision = None
        except BaseException as error:  # plugin code approves here: what raises has not decided
            if not self._loop.is_cancellation(error):
                logger.error("the approver of %s failed", self.plugin, exc_info=error)
        self._tell(self._settle, question, decision)

    def _begin_errand(self, errand: _Errand) -> None:
        if not self._is_in_service or errand.is_taken_back:
            self._tell(self._conclude, errand, "its plugin is about to end")
        else:
            errand.job = self._loop.start_job(errand.name, self._run_errand, errand)

    def _end_errand(self, errand: _Errand) -> None:
        errand.is_taken_back = True
        if errand.job is not None:
            errand.job.cancel()

    async def _run_errand(self, errand: _Errand) -> None:
        why = "it has ended"
        try:
            await errand.steps()
        except BaseException as error:  # plugin code runs here: what it raises is why its device is lost
            why = "it was asked to end"
            if not self._loop.is_cancellation(error):
                why = describe_failure(error)
                logger.debug("%s of %s failed", errand.name, self.plugin, exc_info=error)
        self._tell(self._conclude, errand, why)

    async def _activate(self, activate: Callable[[Activation], Any], activation: Activation) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                result = activate(activation)
                if isawaitable(result):
                    await result
                return
            except BaseException as error:  # plugin code activates here: only logged, and tried again
                if self._loop.is_cancellation(error):
                    raise
                logger.error("the activation of %s failed; again in %g s", self.plugin, pause, exc_info=error)
            await self._loop.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _wake_observer(self) -> None:
        self._event_waits.set()

    async def _pass_events_on(self, observe: Callable[[Event], Any]) -> None:
        seen: set[type[BaseException]] = set()
        while True:
            await self._event_waits.wait()
            self._event_waits = self._loop.make_event()
            while self._events:
                await self._loop.checkpoint()  # a sync observer would keep the loop to itself
                try:
                    result = observe(self._events.popleft())
                    if isawaitable(result):
                        await result
                except BaseException as error:  # plugin code observes here: never felt, only logged
                    if self._loop.is_cancellation(error):
                        raise
                    if type(error) not in seen:  # once per kind: events are many
                        logger.error("the observer of %s failed", self.plugin, exc_info=error)
                    seen.add(type(error))
