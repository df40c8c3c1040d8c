"""What is kept of the sessions as they happen: told on the conversations' loop, written in a thread, soon."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TypeVar

import trio
from attrs import define, field, frozen

from convaid import events
from convaid.calls.arguments import redact_arguments, write_arguments
from convaid.config import HistoryConfig
from convaid.config.secrets import MASK
from convaid.history.charges import Charge
from convaid.history.file import HistoryError, HistoryFile, Write, prune
from convaid.history.masking import redact_text, redact_values
from convaid.history.transcript import Turn
from convaid.protocol.from_agent import AgentResponse, AgentResponseCorrection, UserTranscript
from convaid.protocol.to_agent import ContextualUpdate, MultimodalMessage, UserMessage

__all__ = ["WAITING", "Recorder", "Terms"]

log = logging.getLogger(__name__)

T = TypeVar("T")

WAITING = 2000  # entries that wait to be written
MOST = 10_000  # turns and calls of one session: what is more is a flood
TEXT_LENGTH = 16_000  # characters of a turn
RESULT_LENGTH = 4000  # characters of a tool's result
TYPED = 20  # texts that we sent, and that the platform may tell us again
WRITE_INTERVAL = 0.2  # seconds between two writings: many entries in one are as good as one
RETRY_INTERVAL = 10.0  # seconds until the next attempt, where the file could not be written
PRUNE_INTERVAL = 24 * 3600.0  # seconds
LAST_LIMIT = 1.0  # seconds for the last entries, when the daemon ends
TROUBLE = "history"

INSERT_SESSION = """
INSERT OR IGNORE INTO sessions (id, conversation, conversation_id, agent_id, kept, days, began) VALUES (?,?,?,?,?,?,?)
"""
END_SESSION = "UPDATE sessions SET ended = ?, seconds = ?, cause = ?, code = ?, detail = ?, missing = ? WHERE id = ?"
PUT_TURN = "INSERT OR REPLACE INTO turns (session, number, at, speaker, text, original) VALUES (?,?,?,?,?,?)"
PUT_CALL = "INSERT OR REPLACE INTO calls VALUES (?,?,?,?,?,?,?,?,?,?)"
PUT_CHARGE = "UPDATE sessions SET billed_seconds = ?, cost = ?, charging = ? WHERE id = ?"


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
    last: tuple[int, int, Turn] | None = None
    """The agent's last turn, with its number here and its ``event_id`` there: it may be corrected."""
    typed: deque[str] = field(factory=lambda: deque(maxlen=TYPED))
    """What the user wrote; the platform tells it again, where the agent sends that event."""

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
        values = (self.id, number, turn.at, turn.speaker, self.clean(turn.text), original)
        connection.execute(PUT_TURN, values)

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


class Recorder:
    """Takes note of what happens, and has it written. All but the writing on the conversations' loop."""

    def __init__(
        self,
        file: HistoryFile,
        find_terms: Callable[[str], Terms | None],
        find_redacted: Callable[[str], Collection[str]],
        list_days: Callable[[], Mapping[str, float]],
        troubles: dict[str, str],
    ) -> None:
        """``find_terms`` says how a conversation is kept, None not at all; ``find_redacted`` which arguments of a
        tool nobody is to see; ``list_days`` for how long each conversation is kept; ``troubles`` are told ours."""
        self.lost = 0
        self._file = file
        self._find_terms, self._find_redacted, self._list_days = find_terms, find_redacted, list_days
        self._troubles = troubles
        self._open: dict[str, Record] = {}
        self._last_id = 0
        self._waiting: deque[Write] = deque()
        self._arrived = trio.Event()
        self._prune_at = 0.0
        self._one_thread = trio.CapacityLimiter(1)

    # --- on the loop ---------------------------------------------------------------------------------------------

    def observe(self, event: events.Event) -> int | None:
        """Take note of an event; returns the id of the session that it ends, if that is kept."""
        if isinstance(event, events.Connected):
            self._begin(event)
        elif (record := self._open.get(event.conversation)) is not None:
            match event:
                case events.MessageReceived():
                    self._hear(record, event.message)
                case events.MessageSent():
                    self._say(record, event.message)
                case events.ToolCallEnded(call=call, answer=answer):
                    number, redact = self._count(record), self._find_redacted(call.tool_name)
                    self._put(record, partial(record.write_call, number, time.time() - answer.seconds, event, redact))
                case events.Ended():
                    del self._open[event.conversation]
                    self._put(record, partial(record.write_end, time.time(), event), is_last=True)
                    return record.id
        return None

    def note_charge(self, session: int, charge: Charge) -> None:
        """Take note of what a session cost."""
        values = (charge.seconds, charge.cost, json.dumps(charge.charging), session)
        self._waiting.append(lambda connection: connection.execute(PUT_CHARGE, values))
        self._arrived.set()

    def _begin(self, event: events.Connected) -> None:
        terms = self._find_terms(event.conversation)
        if terms is None or terms.config.keep == "off":
            return
        began = time.time()
        self._last_id = max(int(began * 1e9), self._last_id + 1)
        record = Record(self._last_id, event.conversation, event.conversation_id, terms, began)
        self._open[event.conversation] = record
        self._put(record, record.write)

    def _hear(self, record: Record, message: object) -> None:
        match message:
            case UserTranscript(user_transcript=text):
                if text.strip() in record.typed:
                    record.typed.remove(text.strip())
                else:
                    self._add(record, "user", text)
            case AgentResponse(agent_response=text, event_id=event_id):
                number, turn = self._add(record, "agent", text)
                record.last = (number, event_id, turn)
            case AgentResponseCorrection(
                original_agent_response=original, corrected_agent_response=text, event_id=event_id
            ):
                if record.last is not None and (event_id == record.last[1] or original == record.last[2].text):
                    number, _, said = record.last
                    turn = Turn(said.at, "agent", text[:TEXT_LENGTH], said.text)
                    self._put(record, partial(record.write_turn, number, turn))
                else:
                    self._add(record, "agent", text, original)

    def _say(self, record: Record, message: object) -> None:
        match message:
            case UserMessage(text=str(text)) if text.strip():
                record.typed.append(text.strip())
                self._add(record, "user", text)
            case MultimodalMessage():
                files = len(message.files or []) + (message.file is not None)
                text = (message.text.text if message.text is not None else "") or ""
                if text.strip():
                    record.typed.append(text.strip())
                self._add(record, "user", f"{text} [{files} {'file' if files == 1 else 'files'}]".strip())
            case ContextualUpdate(text=text):
                self._add(record, "context", text)

    def _add(self, record: Record, speaker: str, text: str, original: str | None = None) -> tuple[int, Turn]:
        turn = Turn(time.time(), speaker, text[: TEXT_LENGTH + 1], original and original[: TEXT_LENGTH + 1])
        number = self._count(record)
        self._put(record, partial(record.write_turn, number, turn))
        return number, turn

    def _count(self, record: Record) -> int:
        record.count += 1
        return record.count

    def _put(self, record: Record, write: Write, *, is_last: bool = False) -> None:
        if record.count > MOST and not is_last:
            if record.count == MOST + 1:
                log.warning("%s: there are more than %d turns and calls: no more are kept", record.conversation, MOST)
            record.missing += 1
            return
        room = 2 * WAITING if is_last else WAITING  # whatever is missing of a session, its end is not
        if len(self._waiting) >= room:
            if not self.lost:
                log.warning("entries of the history are lost: more come than can be written")
            record.missing += 1
            self.lost += 1
            return
        self._waiting.append(write)
        self._arrived.set()

    # --- the writing -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write what there is to be written, until cancelled; then what is left, and close the file."""
        try:
            while True:
                with trio.move_on_at(self._prune_at):
                    await self._arrived.wait()
                self._arrived = trio.Event()
                if not await self._write():
                    await trio.sleep(RETRY_INTERVAL)
                    self._arrived.set()
                await trio.sleep(WRITE_INTERVAL)
        finally:
            with trio.move_on_after(LAST_LIMIT) as limit:
                limit.shield = True
                await self._write()
                await self._run_in_thread(self._file.close)
            if self._waiting:
                log.error("%d entries of the history were not written", len(self._waiting))

    async def list_unbilled(self, since: float, most: int) -> list[tuple[int, str, str]]:
        """As `HistoryFile.list_unbilled`; nothing where the file cannot be read."""
        try:
            return await self._run_in_thread(lambda: self._file.list_unbilled(since, most))
        except HistoryError:
            return []  # `run` will say so

    async def _write(self) -> bool:
        """Write all that waits; where that cannot be, it goes on waiting."""
        count, is_due = len(self._waiting), trio.current_time() >= self._prune_at
        writes = list(self._waiting)
        if is_due:
            writes.append(partial(prune, dict(self._list_days()), time.time()))
        try:
            await self._run_in_thread(lambda: self._file.write(writes))
        except HistoryError as error:
            if TROUBLE not in self._troubles:
                log.error("the history cannot be written, and waits until it can: %s", error)
            lost = f"; {self.lost} entries are lost" if self.lost else ""
            self._troubles[TROUBLE] = f"the history cannot be written: {error}{lost}"
            return False
        for _ in range(count):
            self._waiting.popleft()
        if is_due:
            self._prune_at = trio.current_time() + PRUNE_INTERVAL
        if self._troubles.pop(TROUBLE, None) or self.lost:
            log.warning("the history is written again; %d entries are missing", self.lost)
        self.lost = 0
        return True

    async def _run_in_thread(self, work: Callable[[], T]) -> T:
        """One piece of work at a time; a disk that hangs does not keep the daemon from ending."""
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._one_thread)
