"""What an agent is told of a call that has no result to show, or none any more (floor 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convaid.calls.results import cut_text
from convaid.events import Outcome
from convaid.wording import shorten

if TYPE_CHECKING:
    from convaid.calls.run import Run

__all__ = [
    "Ending",
    "describe_fault",
    "describe_lack_of_threads",
    "describe_late",
    "describe_stop",
    "describe_time_out",
]

Ending = tuple[Outcome, str]
"""How a run ended, and the text for the agent."""


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
    """Return what is told of a tool that has raised what it should not."""
    return (
        f'The tool "{name}" failed because of a fault in it ({type(error).__name__}). '
        "Calling it again with the same arguments will hardly help."
    )
