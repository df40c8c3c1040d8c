"""One run of a tool, from its call to whatever becomes of it (floor 5)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import outcome
import trio
from attrs import define, field

from convaid.calls.answers import Ending, describe_fault, describe_late, describe_stop
from convaid.calls.arguments import write_arguments
from convaid.calls.locating import describe_frames, locate_thread
from convaid.calls.loops import Job
from convaid.calls.offers import Offer
from convaid.calls.results import cut_text
from convaid.errors import JournalError
from convaid.plugins.activation import Activation
from convaid.protocol.from_agent import ClientToolCall

if TYPE_CHECKING:
    from convaid.journal import Journal

__all__ = ["Run"]

logger = logging.getLogger(__name__)


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
    activation: Activation | None = None
    """What the tool may open and close conversations with."""

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
    is_timed_out: bool = field(default=False, init=False)
    """It was given up because its time was over."""
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
        return write_arguments(self.call.parameters, self.offer.policy.redact or ())

    def note_begin(self) -> Ending | None:
        """Write into the journal that the tool is about to run; returns the answer if it must not. Blocks a little."""
        refusal = self._record_begin(self.journal) if self.journal is not None else None
        if refusal is None and self.is_given_up:  # while it waited for its thread, or for the disk
            refusal = describe_stop(self)
            self.note_end(refusal, is_awaited=True)
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

    def close(self, ending: Ending, tell: Callable[[Ending], None]) -> None:
        """Have `finish` told, and the journal, in the thread that noted the beginning. Blocks a little.

        An agent that waits comes first. Where it does not wait any more, a crash in between is not to lose what it is
        to hear later.
        """
        is_awaited = self.end_late is None
        if is_awaited:
            tell(ending)
        self.note_end(ending, is_awaited=is_awaited)
        if not is_awaited:
            tell(ending)

    def note_end(self, ending: Ending, *, is_awaited: bool) -> None:
        """Write into the journal how it ended, and what is to be told later. Blocks a little."""
        if self.journal is None:
            return
        outcome = ending[0]
        if outcome == "stopped" and self.verdict is not None:
            outcome = self.verdict[0]
        elif outcome == "stopped" and self.is_timed_out:
            outcome = "time-out"
        late = describe_late(self, ending) if not is_awaited and self.is_wanted_late(ending) else None
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
                return describe_frames(self.job.walk_stack())
        return locate_thread(self.thread)
