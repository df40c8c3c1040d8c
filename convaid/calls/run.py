"""One run of a tool's code: what happens on the plugin's side of the wall, and what may be said about it (floor 5).

`perform` and `perform_async` run in the plugin's thread. Reading the arguments and writing the result belong there too:
both call code of the plugin's (validators, properties), and a large result takes its time.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from traceback import walk_stack
from types import FrameType
from typing import Any

import outcome
import trio
from attrs import define, field, frozen

from convaid.calls.results import UnsendableResult, cut_text, write_result
from convaid.errors import StructureError, ToolError
from convaid.events import Outcome
from convaid.plugins.loading import Plugin
from convaid.plugins.tool import Tool, ToolContext
from convaid.protocol.from_agent import ClientToolCall

__all__ = ["Ending", "Offer", "Run", "describe_stop", "locate_thread", "perform", "perform_async"]

logger = logging.getLogger(__name__)

Ending = tuple[Outcome, str]
"""How a run ended, and the text for the agent."""

SHOWN_FRAMES = 3  # enough to see the plugin's line and what it called


@frozen(eq=False)
class Offer:
    """A tool as it is offered to agents: whose it is, and its limits."""

    tool: Tool
    plugin: Plugin
    time_limit: float
    result_size: int
    """The most characters of a text for the agent."""
    places: trio.Semaphore
    """A run's place is given back when its code has really ended, be it long after the agent was told."""
    log: logging.Logger


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
    """On the clock of ``time.monotonic()``."""
    outside: trio.lowlevel.TrioToken
    """The conversations' loop."""
    waiting: trio.lowlevel.Task | None = field(default=None, init=False)
    """None before the run has begun, and once nobody waits for it any more."""
    is_given_up: bool = field(default=False, init=False)
    """Nobody wants its result any more: what has not begun yet need not begin."""
    has_begun: bool = field(default=False, init=False)
    is_over: bool = field(default=False, init=False)
    thread: int | None = field(default=None, init=False)
    """Where the tool's code runs; None until a thread has taken it up."""
    task: trio.lowlevel.Task | None = field(default=None, init=False)
    """An async tool's, in its room."""
    scope: trio.CancelScope | None = field(default=None, init=False)
    """An async tool's, made and used on its room's loop."""

    def finish(self, result: outcome.Outcome[Ending]) -> None:
        """Give back the place and wake the task that waits, once; belongs to the conversations' loop."""
        if self.is_over:
            return
        self.is_over = True
        self.offer.places.release()
        if isinstance(result, outcome.Error):  # an exception of the plugin's that cannot even be described
            logger.error('the tool "%s" failed', self.offer.tool.name, exc_info=result.error)
            result = outcome.Value(("error", _describe_fault(self.offer.tool.name, result.error)))
        if self.waiting is not None:
            trio.lowlevel.reschedule(self.waiting, result)
        else:
            logger.debug('the tool "%s", which had been given up, has ended', self.offer.tool.name)

    def defer(self, text: str) -> None:
        """Answer the agent with ``text`` while the run goes on; belongs to the conversations' loop."""
        if self.waiting is not None and not self.is_over:
            trio.lowlevel.reschedule(self.waiting, outcome.Value(("deferred", cut_text(text, self.offer.result_size))))
            self.waiting = None

    def ask_to_defer(self, text: str) -> None:
        """`ToolContext.defer`, in the tool's thread; returns at once."""
        with suppress(trio.RunFinishedError):
            self.outside.run_sync_soon(self.defer, str(text))

    def locate(self) -> str:
        """Return where the tool's code is right now, as seen from another thread."""
        if self.task is not None and self.scope is not None and self.scope.cancel_called:
            # Its loop is alive, so it is not where its thread is. It may move on while we look, hence the two errors.
            with suppress(AttributeError, TypeError):
                return _describe_frames(reversed(list(self.task.iter_await_frames())))
        return locate_thread(self.thread)


def perform(run: Run) -> Ending:
    """Run a sync tool to its ending, in this thread. Raises nothing."""
    run.thread = threading.get_ident()
    try:
        return _succeed(run, run.offer.tool.function(**_read_arguments(run)))
    except BaseException as error:  # noqa: BLE001  # plugin code runs here: SystemExit is its answer, too
        return _fail(run, error)


async def perform_async(run: Run) -> Ending:
    """Run an async tool to its ending, in this task. Raises nothing, not even when it is cancelled."""
    try:
        return _succeed(run, await run.offer.tool.function(**_read_arguments(run)))
    except BaseException as error:  # noqa: BLE001  # as above
        return _fail(run, error)


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
    return "ok", cut_text(write_result(value), run.offer.result_size)


def _fail(run: Run, error: BaseException) -> Ending:
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
        case trio.Cancelled():
            kind, text = describe_stop(run)
        case _:
            run.offer.log.error('the tool "%s" failed', name, exc_info=error)
            text = _describe_fault(name, error)
    return kind, cut_text(text, run.offer.result_size)


def describe_stop(run: Run) -> Ending:
    """Return the ending of a run whose plugin stops."""
    return "stopped", f'The tool "{run.offer.tool.name}" was stopped before it finished.'


def _describe_fault(name: str, error: BaseException) -> str:
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
    return frame.f_globals.get("__name__", "").partition(".")[0] not in ("convaid", "outcome", "threading", "trio")
