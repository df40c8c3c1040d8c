"""One run of a tool's code: what happens on the plugin's side of the wall, and what may be said about it (floor 5).

`perform` and `perform_async` run in the plugin's thread. Reading the arguments and writing the result belong there too:
both call code of the plugin's (validators, properties), and a large result takes its time.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cached_property
from traceback import walk_stack
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import outcome
import trio
from attrs import define, field, frozen

from convaid.calls.loops import Job
from convaid.calls.results import UnsendableResult, cut_text, write_result
from convaid.config.policy import ToolPolicy
from convaid.errors import JournalError, StructureError, ToolError
from convaid.events import Outcome
from convaid.plugins.loading import Plugin
from convaid.plugins.tool import Tool, ToolContext
from convaid.protocol.from_agent import ClientToolCall
from convaid.wording import shorten

if TYPE_CHECKING:
    from convaid.journal import Journal

__all__ = [
    "Ending",
    "Offer",
    "Run",
    "describe_lack_of_threads",
    "describe_late",
    "describe_stop",
    "describe_time_out",
    "locate_thread",
    "perform",
    "perform_async",
]

logger = logging.getLogger(__name__)

Ending = tuple[Outcome, str]
"""How a run ended, and the text for the agent."""

SHOWN_FRAMES = 3  # enough to see the plugin's line and what it called
OUR_OWN = ("asyncio", "concurrent", "convaid", "outcome", "selectors", "threading", "trio")
"""Packages whose lines say nothing about where a plugin is."""


@frozen(eq=False)
class Offer:
    """A tool as it is offered to agents: whose it is, and what the operator lets it do."""

    tool: Tool
    plugin: Plugin
    policy: ToolPolicy
    time_limit: float
    """Seconds that its code has, whatever the agent was told meanwhile."""
    places: trio.Semaphore
    """A run's place is given back when its code has really ended, be it long after the agent was told."""
    log: logging.Logger

    @property
    def runs(self) -> Literal["room", "thread", "process"]:
        """Where."""
        return self.policy.runs or self.tool.runs

    @property
    def result_size(self) -> int:
        """The most characters of a text for the agent."""
        assert self.policy.result_size is not None
        return self.policy.result_size

    @property
    def memory_limit(self) -> int | None:
        """Bytes of memory that a process has."""
        return None if self.policy.memory is None else self.policy.memory * 2**20

    @property
    def cpu_limit(self) -> float | None:
        """Seconds of processor time that a call has in a process."""
        return None if self.policy.cpu_seconds == math.inf else self.policy.cpu_seconds


@define(eq=False)
class Run:
    """One run of a tool, and the task that waits for it. What the conversations' loop owns, only it changes."""

    offer: Offer
    call: ClientToolCall
    conversation: str
    conversation_id: str
    state: Any
    """What the plugin's lifespan yielded."""
    deadline: float
    """When the agent is told that it took too long, on the clock of ``time.monotonic()``."""
    outside: trio.lowlevel.TrioToken
    """The conversations' loop."""
    began_at: float
    """When the call came, on trio's clock."""
    journal: Journal | None = None
    is_dry: bool = False
    """The tool itself is not to run."""

    limit: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    """Around everything that the agent waits for; cancelled where the run is given up."""
    verdict: Ending | None = field(default=None, init=False)
    """Why it was given up, where that was not its time limit."""
    waiting: trio.lowlevel.Task | None = field(default=None, init=False)
    """None before the run has begun, and once nobody waits for it any more."""
    turn: trio.Semaphore | None = field(default=None, init=False)
    """Given back with the place."""
    is_given_up: bool = field(default=False, init=False)
    """Nobody wants its result any more: what has not begun yet need not begin."""
    is_deferred: bool = field(default=False, init=False)
    """The agent was answered and told to expect the result."""
    is_told: bool = field(default=False, init=False)
    """What came of it late has been delivered."""
    has_begun: bool = field(default=False, init=False)
    ending: Ending | None = field(default=None, init=False)
    """None until it is over."""
    end_late: Callable[[Run, Ending], None] | None = field(default=None, init=False)
    """Called with the ending, on the conversations' loop; None while there is a task that may answer with it."""
    over: trio.Event = field(factory=trio.Event, init=False)
    thread: int | None = field(default=None, init=False)
    """Where the tool's code runs; None until a thread has taken it up."""
    job: Job | None = field(default=None, init=False)
    """An async tool's, on its room's loop."""

    def finish(self, result: outcome.Outcome[Ending]) -> None:
        """Give back the place and wake the task that waits, once; belongs to the conversations' loop."""
        if self.ending is not None:
            return
        if isinstance(result, outcome.Error):  # a fault of ours: what the plugin raises has been seen to in its thread
            logger.error('the tool "%s" failed', self.offer.tool.name, exc_info=result.error)
            ending: Ending = "error", describe_fault(self.offer.tool.name, result.error)
        else:
            ending = result.unwrap()
        self.ending = ending
        self.over.set()
        self.offer.places.release()
        if self.turn is not None:
            self.turn.release()
        if self.waiting is not None:
            trio.lowlevel.reschedule(self.waiting, outcome.Value(ending))
        elif self.end_late is not None:
            self.end_late(self, ending)

    def defer(self, text: str) -> None:
        """Answer the agent with ``text`` while the run goes on; belongs to the conversations' loop."""
        if self.waiting is not None and self.ending is None:
            trio.lowlevel.reschedule(self.waiting, outcome.Value(("deferred", text)))
            self.waiting = None
            self.is_deferred = True

    def ask_to_defer(self, text: str) -> None:
        """`ToolContext.defer`, in the tool's thread; returns at once."""
        if self.waiting is None:  # who asks a thousand times is not to keep the conversations' loop busy
            return
        with suppress(trio.RunFinishedError):
            self.outside.run_sync_soon(self.defer, cut_text(str(text), self.offer.result_size))

    @cached_property
    def arguments(self) -> str:
        """The call's, as far as they may be written down. Takes its time where they are many."""
        from convaid.journal import write_arguments

        return write_arguments(self.call.parameters, self.offer.policy.redact or ())

    def note_begin(self) -> Ending | None:
        """Write into the journal that the tool is about to run; returns the answer if it must not. Blocks a little."""
        refusal = self._record_begin(self.journal) if self.journal is not None else None
        if refusal is None and self.is_given_up:  # while it waited for its thread, or for the disk
            refusal = describe_stop(self)
            self.note_end(refusal)
        return refusal

    def _record_begin(self, journal: Journal) -> Ending | None:
        name = self.offer.tool.name
        try:
            earlier = journal.begin(
                self.conversation_id, self.call.tool_call_id, name, self.conversation, self.arguments
            )
        except JournalError as error:
            logger.error('the tool "%s" was not run: %s', name, error)
            return "error", f'The tool "{name}" was not run, because the call cannot be recorded. Try again later.'
        if earlier is None:
            return None
        return "repeated", (
            f'This call of the tool "{name}" has been made before and was not run again; it ended so: '
            f"{earlier.outcome or 'not yet'}. Call it anew only if the user wants it done once more."
        )

    def note_end(self, ending: Ending) -> None:
        """Write into the journal how it ended, in the thread that noted the beginning. Blocks a little."""
        if self.journal is None:
            return
        outcome = ending[0] if self.verdict is None or ending[0] != "stopped" else self.verdict[0]
        late = describe_late(self, ending) if self.end_late is not None and self.is_wanted_late(ending) else None
        self.journal.end(self.conversation_id, self.call.tool_call_id, outcome, late=late)

    def dismiss(self, ending: Ending) -> None:
        """Give it up before its time, with this answer for its agent; where that has one, the run is asked to end."""
        self.verdict = ending
        self.limit.cancel()

    def may_go_on(self) -> bool:
        """Whether a run goes on that its call does not wait for any more."""
        if not self.limit.cancel_called:  # from outside: the link is lost, or we stop
            return self.offer.policy.on_disconnect == "keep"
        has_time = trio.current_time() < self.began_at + self.offer.time_limit
        return has_time and self.verdict is None and self.offer.policy.deliver_late is True

    def is_wanted_late(self, ending: Ending) -> bool:
        """Whether the agent is to hear of an ending that comes when it has been answered, or is gone."""
        is_news = ending[0] in ("ok", "error", "time-out")
        is_wanted = self.is_deferred or (bool(self.offer.policy.deliver_late) and self.verdict is None and is_news)
        return is_wanted and not self.is_told

    def locate(self) -> str:
        """Return where the tool's code is right now, as seen from another thread."""
        if self.job is not None and self.job.is_cancelled:
            # Its loop is alive, so it is not where its thread is. It may move on while we look, hence the two errors.
            with suppress(AttributeError, TypeError):
                return _describe_frames(self.job.walk_stack())
        return locate_thread(self.thread)


def perform(run: Run) -> Ending:
    """Run a sync tool to its ending, in this thread. Raises nothing."""
    run.thread = threading.get_ident()
    if refusal := run.note_begin():
        return refusal
    try:
        arguments = _read_arguments(run)
        ending = _describe_dry_run(run) if run.is_dry else _succeed(run, run.offer.tool.function(**arguments))
    except BaseException as error:  # noqa: BLE001  # plugin code runs here: SystemExit is its answer, too
        ending = _fail(run, error)
    run.note_end(ending)
    return ending


async def perform_async(run: Run, is_cancellation: Callable[[BaseException], bool]) -> Ending:
    """Run an async tool to its ending, in this task. Raises nothing, not even when it is cancelled.

    ``is_cancellation`` tells what the loop raises in a task that is to end from everything else.
    """
    if refusal := run.note_begin():
        return refusal
    try:
        ending = _succeed(run, await run.offer.tool.function(**_read_arguments(run)))
    except BaseException as error:  # noqa: BLE001  # as above
        ending = _fail(run, error, is_cancellation)
    run.note_end(ending)
    return ending


class _WrongArguments(Exception):
    """The arguments do not fit. Tells the reader's StructureError from one that the tool itself raises."""


def _read_arguments(run: Run) -> dict[str, Any]:
    tool = run.offer.tool
    try:
        arguments = tool.read_arguments(run.call.parameters)
    except StructureError as error:
        raise _WrongArguments(str(error)) from None
    if tool.context_parameter is not None:
        arguments[tool.context_parameter] = ToolContext(
            conversation=run.conversation,
            conversation_id=run.conversation_id,
            tool_call_id=run.call.tool_call_id,
            settings=run.offer.plugin.settings,
            state=run.state,
            deadline=run.deadline,
            log=run.offer.log,
            defer=run.ask_to_defer,
        )
    return arguments


def _succeed(run: Run, value: object) -> Ending:
    return "ok", write_result(value, run.offer.result_size)


def _fail(run: Run, error: BaseException, is_cancellation: Callable[[BaseException], bool] | None = None) -> Ending:
    """Return the ending of a run that has raised. To describe that may run code of the plugin's, too, and fail."""
    try:
        if is_cancellation is not None and is_cancellation(error):
            return describe_stop(run)
        return _describe_failure(run, error)
    except BaseException as another:  # noqa: BLE001  # as above
        name, kind = run.offer.tool.name, type(another).__name__
        logger.error('the tool "%s" failed, and to describe its exception failed, too (%s)', name, kind)
        return "error", describe_fault(name, another)


def _describe_failure(run: Run, error: BaseException) -> Ending:
    name = run.offer.tool.name
    kind: Outcome = "error"
    match error:
        case _WrongArguments():
            kind = "invalid"
            text = f'The arguments do not fit the tool "{name}": {error}. Correct them and call it again.'
        case ToolError():
            text = str(error) or f'The tool "{name}" could not do it.'
        case UnsendableResult():
            run.offer.log.error('the tool "%s" returned what cannot be sent: %s', name, error)
            text = (
                f'The tool "{name}" has run, but its result cannot be sent: {error}. '
                "Do not call it again for this: its work may have been done."
            )
        case _:
            run.offer.log.error('the tool "%s" failed', name, exc_info=error)
            text = describe_fault(name, error)
    return kind, cut_text(text, run.offer.result_size)


def _describe_dry_run(run: Run) -> Ending:
    logger.info('%s: the tool "%s" would have run with %s', run.conversation, run.offer.tool.name, run.arguments)
    text = run.offer.policy.mock
    if text is None:
        text = f'This is a rehearsal: the tool "{run.offer.tool.name}" was not run.'
    return "dry run", cut_text(text, run.offer.result_size)


def describe_time_out(run: Run, limit: float) -> Ending:
    """Return the answer to a call whose ``limit`` seconds are over."""
    name = run.call.tool_name
    if not run.has_begun:
        text = f'The tool "{name}" is busy: no place became free within {limit:g} s. Try again in a minute.'
        return "overloaded", text
    if run.offer.policy.deliver_late and not run.is_given_up:
        return "time-out", (
            f'The tool "{name}" takes longer than {limit:g} s and goes on. You will be told what comes of it: '
            "do not call it again for this."
        )
    return "time-out", (
        f'The tool "{name}" took longer than {limit:g} s and was given up. It may have done part of its work: '
        "do not call it again at once."
    )


def describe_late(run: Run, ending: Ending) -> str:
    """Return what an agent is told of a result that it waits for no more, be it that of a later conversation."""
    name, arguments = run.call.tool_name, shorten(run.arguments)
    text = f'The tool "{name}", which was called earlier with {arguments}, has ended: {ending[1]}'
    return cut_text(text, run.offer.result_size)


def describe_stop(run: Run) -> Ending:
    """Return the ending of a run whose plugin stops."""
    return "stopped", f'The tool "{run.offer.tool.name}" was stopped before it finished.'


def describe_lack_of_threads(run: Run) -> Ending:
    """Return the ending of a run for which the system gives us no thread."""
    return "overloaded", f'Too much goes on here to run the tool "{run.offer.tool.name}". Try again later.'


def describe_fault(name: str, error: BaseException) -> str:
    return (
        f'The tool "{name}" failed because of a fault in it ({type(error).__name__}). '
        "Calling it again with the same arguments will hardly help."
    )


def locate_thread(ident: int | None) -> str:
    """Return the file, line and function that a thread is in, and from where; innermost first."""
    frame = sys._current_frames().get(ident) if ident is not None else None
    return _describe_frames(walk_stack(frame)) if frame is not None else "an unknown place"


def _describe_frames(frames: Iterable[tuple[FrameType, int]]) -> str:
    """Return the innermost lines that are the plugin's, or a library's of its, in words."""
    shown = [(frame.f_code, line) for frame, line in frames if _is_foreign(frame)][:SHOWN_FRAMES]
    return " from ".join(f"{code.co_filename}:{line} {code.co_name}" for code, line in shown) or "an unknown place"


def _is_foreign(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] not in OUR_OWN
