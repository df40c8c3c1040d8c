"""What is kept in memory of calls that have been answered, for whoever looks what has happened lately (floor 5)."""

from __future__ import annotations

from attrs import frozen

from convaid.events import Outcome

__all__ = ["RECENT", "RESULT_LENGTH", "EndedCall"]

RECENT = 100  # calls; the journal has them all
RESULT_LENGTH = 500  # characters of a result


@frozen
class EndedCall:
    """A call that its agent has had the answer to; what was asked stands in the journal."""

    tool: str
    conversation: str
    conversation_id: str
    tool_call_id: str
    outcome: Outcome
    result: str
    """Its beginning."""
    seconds: float
    ended_at: float
    """Unix seconds."""
