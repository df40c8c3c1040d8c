"""Where sync tools run: worker threads, for all plugins alike (floor 5)."""

from __future__ import annotations

import logging
from contextlib import suppress
from contextvars import Context
from functools import partial

import trio
from outcome import Error, Outcome, Value

from convaid.calls.answers import Ending, describe_lack_of_threads
from convaid.calls.performing import perform
from convaid.calls.run import Run

__all__ = ["Threads"]

logger = logging.getLogger(__name__)


class Threads:
    """Trio's own threads, used again and again. Nothing ends one: what does not return stays, and keeps its place."""

    def start(self, run: Run) -> None:
        """Begin a run; `Run.finish` is told of its end."""
        # Not trio.to_thread: that takes half as long again, and would let the plugin call back into our loop. A context
        # of its own, because threads are used again: decimal's settings, say, belong to it.
        try:
            trio.lowlevel.start_thread_soon(partial(Context().run, _perform_recorded, run), partial(_tell_fault, run))
        except RuntimeError as error:  # the system gives us no more threads
            logger.error('the tool "%s" cannot run: %s', run.call.tool_name, error)
            _tell_end(run, Value(describe_lack_of_threads(run)))

    def cancel(self, run: Run) -> None:
        """There is no way."""


def _perform_recorded(run: Run) -> None:
    """In the thread: run the tool, and have the conversations' loop told how it ended."""

    def tell(ending: Ending) -> None:
        _tell_end(run, Value(ending))

    if refusal := run.note_begin():
        tell(refusal)
    else:
        run.close(perform(run), tell)


def _tell_fault(run: Run, result: Outcome[None]) -> None:
    """In the thread: a fault of ours is the end of a run, too."""
    if isinstance(result, Error):
        _tell_end(run, result)


def _tell_end(run: Run, result: Outcome[Ending]) -> None:
    """Have `Run.finish` called; nobody cares any more once the conversations' loop is gone."""
    with suppress(trio.RunFinishedError):
        run.outside.run_sync_soon(run.finish, result)
