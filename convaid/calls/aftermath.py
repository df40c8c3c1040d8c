"""Runs that nobody waits for any more: those that may go on, and those that were given up (floor 5)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from convaid.calls.answers import Ending, describe_late, describe_time_out
from convaid.calls.run import Run
from convaid.session.late import LateResult

if TYPE_CHECKING:
    from convaid.journal import Journal

__all__ = ["Aftermath", "Deliver", "drop", "note_told"]

logger = logging.getLogger(__name__)

REACTION_LIMIT = 0.5  # seconds for a tool that was given up to end, before the log says where it is
SHOWN = 5  # tools that go on although given up, named in the log at once; more are counted

Deliver = Callable[[str, LateResult], None]
"""Takes the name of a conversation, and what its agent is to be told."""


def drop(conversation: str, late: LateResult) -> None:
    """Deliver to nobody."""
    logger.info("%s: nobody is there to be told: %s", conversation, late.text)


@define(eq=False)
class Aftermath:
    """What becomes of runs when their calls have had their answers, or their conversation is gone."""

    _nursery: trio.Nursery
    _cancel: Callable[[Run], None]
    """Asks a run's code to end."""
    _deliver: Deliver
    _journal: Journal | None
    kept: set[Run] = field(factory=set, init=False)
    """Runs that go on as they may."""
    left_behind: list[Run] = field(factory=list, init=False)
    """Runs that were given up and go on all the same."""
    _suspects: list[Run] = field(factory=list, init=False)

    def keep(self, run: Run) -> None:
        """Let a run go on until its own time limit."""
        run.limit = trio.CancelScope(deadline=run.began_at + run.offer.time_limit)
        self.kept.add(run)
        self._nursery.start_soon(self._see_to_end, run, name=f"tool {run.call.tool_name}, for which nobody waits")
        self._take_over(run)

    def give_up(self, run: Run) -> None:
        """Ask a run to end; nobody waits until it does."""
        run.is_given_up = True
        run.is_timed_out = run.verdict is None and run.limit.cancel_called
        self._cancel(run)
        self._suspects.append(run)
        if len(self._suspects) == 1:
            self._nursery.start_soon(self._report_left_behind)
        self._take_over(run)

    def _take_over(self, run: Run) -> None:
        run.end_late = self.end
        if run.ending is not None:  # while its call's task was about to wake
            self.end(run, run.ending)

    def end(self, run: Run, ending: Ending) -> None:
        """A run that nobody waited for has ended: deliver what came of it, if anybody is to have it, once."""
        self.kept.discard(run)
        name, outcome = run.call.tool_name, ending[0]
        if not run.is_wanted_late(ending):
            logger.debug('the tool "%s", for which nobody waited any more, has ended: %s', name, outcome)
            return
        run.is_told = True
        logger.info('%s: the tool "%s" has ended late: %s', run.conversation, name, outcome)
        told = partial(note_told, self._journal, run.conversation_id, run.call.tool_call_id)
        self._deliver(run.conversation, LateResult(describe_late(run, ending), told))

    async def _see_to_end(self, run: Run) -> None:
        with run.limit:
            await run.over.wait()
        if run.ending is None:
            self.give_up(run)
            self.end(run, run.verdict or describe_time_out(run, run.offer.time_limit))

    async def _report_left_behind(self) -> None:
        """Say in the log where the tools are that were given up and go on all the same."""
        await trio.sleep(REACTION_LIMIT)
        suspects = [run for run in self._suspects if run.ending is None]
        self._suspects.clear()
        self.left_behind = [run for run in self.left_behind if run.ending is None] + suspects
        for run in suspects[:SHOWN]:
            logger.warning(
                'the tool "%s" goes on although it was given up, at %s (%d such in all)',
                run.call.tool_name,
                run.locate(),
                len(self.left_behind),
            )
        if len(suspects) > SHOWN:
            logger.warning("%d more tools go on although they were given up", len(suspects) - SHOWN)


def note_told(journal: Journal | None, conversation_id: str, tool_call_id: str) -> None:
    """Have the journal note that a late result was told, soon and in another thread: it may wait for the disk."""
    if journal is not None:
        try:
            trio.lowlevel.start_thread_soon(partial(journal.mark_told, conversation_id, tool_call_id), _ignore)
        except RuntimeError as error:  # the system gives us no more threads
            logger.error('that the late result of "%s" was told is not recorded: %s', tool_call_id, error)


def _ignore(_: object) -> None:
    """The journal has logged what there is to be said."""
