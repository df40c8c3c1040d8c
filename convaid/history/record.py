"""One session that is being kept: what of it may be kept, and how it is written (in a thread)."""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Callable, Collection
from typing import TypeVar

from attrs import define, field, frozen

from convaid import events
from convaid.calls.arguments import redact_arguments, write_arguments
from convaid.config import HistoryConfig
from convaid.config.secrets import MASK
from convaid.history.masking import redact_text, redact_values
from convaid.history.transcript import Turn

__all__ = ["TEXT_LENGTH", "Record", "Terms"]

T = TypeVar("T")

TEXT_LENGTH = 16_000  # characters of a turn
RESULT_LENGTH = 4000  # characters of a tool's result
TYPED = 20  # texts that we sent, and that the platform may tell us again
SAID = 8  # turns of the agent's that may still be cut off or corrected

INSERT_SESSION = """
INSERT OR IGNORE INTO sessions (id, conversation, conversation_id, agent_id, kept, days, began) VALUES (?,?,?,?,?,?,?)
"""
END_SESSION = "UPDATE sessions SET ended = ?, seconds = ?, cause = ?, code = ?, detail = ?, missing = ? WHERE id = ?"
PUT_TURN = """
INSERT OR REPLACE INTO turns (session, number, at, speaker, text, original, heard, heard_seconds)
VALUES (?,?,?,?,?,?,?,?)
"""
PUT_CALL = "INSERT OR REPLACE INTO calls VALUES (?,?,?,?,?,?,?,?,?,?)"


@frozen
class Terms:
    """How a conversation is kept; ``mask`` takes known secrets out of a text, however it is kept."""

    config: HistoryConfig
    agent_id: str
    mask: Callable[[str], str]


@define(eq=False)
class Record:
    """A session that is open, and being kept."""

    id: int
    conversation: str
    conversation_id: str
    terms: Terms
    began: float
    count: int = 0
    missing: int = 0
    said: dict[int, tuple[int, Turn]] = field(factory=dict)
    """The agent's latest turns, with their numbers here, by their ``event_id``: they may be cut off, and corrected."""
    cuts: dict[int, events.Heard] = field(factory=dict)
    """Of which turns the speech was cut off, by their ``event_id``: their words may be told later."""
    typed: deque[str] = field(factory=lambda: deque(maxlen=TYPED))
    """What the user wrote; the platform tells it again, where the agent sends that event."""

    def remember(self, entries: dict[int, T], event_id: int, entry: T) -> None:
        """Put an entry into one of the dicts, which keeps the latest."""
        entries.pop(event_id, None)
        entries[event_id] = entry
        if len(entries) > SAID:
            del entries[next(iter(entries))]

    def clean(self, text: str, length: int = TEXT_LENGTH) -> str:
        """Return a text as it may be kept."""
        if len(text) > length:
            text = f"{text[:length]}… [cut here]"
        text = self.terms.mask(text)
        if self.terms.config.keep == "redacted":
            text = redact_text(text)
        return text.encode("utf-8", "replace").decode()  # a lone surrogate cannot be stored

    def write(self, connection: sqlite3.Connection) -> None:
        """Write that there is such a session."""
        terms = self.terms
        values = (self.id, self.conversation, self.conversation_id, terms.agent_id)
        connection.execute(INSERT_SESSION, (*values, terms.config.keep, terms.config.days, self.began))

    def write_turn(self, number: int, turn: Turn, connection: sqlite3.Connection) -> None:
        """Write a turn, or what it turned out to be."""
        self.write(connection)
        original = None if turn.original is None else self.clean(turn.original)
        heard = None if turn.heard is None else self.clean(turn.heard)
        said = (turn.at, turn.speaker, self.clean(turn.text), original, heard, turn.heard_seconds)
        connection.execute(PUT_TURN, (self.id, number, *said))

    def write_call(
        self,
        number: int,
        at: float,
        event: events.ToolCallEnded,
        redact: Collection[str],
        connection: sqlite3.Connection,
    ) -> None:
        """Write a call that has been answered; ``redact`` names the arguments that nobody is to see."""
        self.write(connection)
        answer, call = event.answer, event.call
        result = None if "*" in redact else self.clean(answer.result, RESULT_LENGTH)
        values = (self.id, number, at, call.tool_call_id, call.tool_name, self.write_arguments(call.parameters, redact))
        connection.execute(PUT_CALL, (*values, result, answer.outcome, answer.seconds, event.is_delivered))

    def write_arguments(self, parameters: object, redact: Collection[str]) -> str:
        """Return a call's arguments as they may be kept."""
        try:
            if self.terms.config.keep == "redacted":
                parameters = redact_values(redact_arguments(parameters, redact))
            return self.terms.mask(write_arguments(parameters, redact))
        except RuntimeError:  # a tool that goes on changes them as we read
            return json.dumps(MASK)

    def write_end(self, at: float, event: events.Ended, connection: sqlite3.Connection) -> None:
        """Write how it ended."""
        self.write(connection)
        end = event.end
        values = (at, event.seconds, str(end.cause), end.code, self.clean(end.detail), self.missing, self.id)
        connection.execute(END_SESSION, values)
