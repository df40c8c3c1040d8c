"""What is kept of the sessions as they happen: told on the conversations' loop, written in a thread, soon."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, TypeVar

import attrs
import trio

from convaid import events
from convaid.history.charges import Charge
from convaid.history.file import HistoryError, HistoryFile, Write, prune
from convaid.history.record import TEXT_LENGTH, Record, Terms
from convaid.history.transcript import Turn
from convaid.protocol.from_agent import AgentResponse, AgentResponseCorrection, UserTranscript
from convaid.protocol.to_agent import ContextualUpdate, MultimodalMessage, UserMessage

__all__ = ["WAITING", "Recorder", "Terms"]

log = logging.getLogger(__name__)

T = TypeVar("T")

WAITING = 2000  # entries that wait to be written
MOST = 10_000  # turns and calls of one session: what is more is a flood
WRITE_INTERVAL = 0.2  # seconds between two writings: many entries in one are as good as one
RETRY_INTERVAL = 10.0  # seconds until the next attempt, where the file could not be written
PRUNE_INTERVAL = 24 * 3600.0  # seconds
LAST_LIMIT = 1.0  # seconds for the last entries, when the daemon ends
TROUBLE = "history"

PUT_CHARGE = "UPDATE sessions SET billed_seconds = ?, cost = ?, charging = ? WHERE id = ?"


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
                case events.SpeechInterrupted(heard=heard):
                    self._cut(record, heard)
                case events.Ended():
                    self._cut(record, event.heard)
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
                record.remember(record.said, event_id, self._add(record, "agent", text, cut=record.cuts.get(event_id)))
            case AgentResponseCorrection(
                original_agent_response=original, corrected_agent_response=text, event_id=event_id
            ):
                last = next(reversed(record.said), None)
                if event_id not in record.said and last is not None and original == record.said[last][1].text:
                    event_id = last
                if event_id in record.said:
                    _, turn = record.said[event_id]
                    whole = turn.text if turn.original is None else turn.original
                    self._change(record, event_id, text=text[:TEXT_LENGTH], original=whole)
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

    def _cut(self, record: Record, heard: Collection[events.Heard]) -> None:
        for cut in heard:
            record.remember(record.cuts, cut.event_id, cut)
            if cut.event_id in record.said:
                self._change(record, cut.event_id, heard=cut.text, heard_seconds=cut.seconds)

    def _change(self, record: Record, event_id: int, **parts: Any) -> None:
        number, turn = record.said[event_id]
        turn = attrs.evolve(turn, **parts)
        record.said[event_id] = (number, turn)
        self._put(record, partial(record.write_turn, number, turn))

    def _add(
        self,
        record: Record,
        speaker: str,
        text: str,
        original: str | None = None,
        cut: events.Heard | None = None,
    ) -> tuple[int, Turn]:
        original = original and original[: TEXT_LENGTH + 1]
        heard = (cut.text, cut.seconds) if cut is not None else ()
        turn = Turn(time.time(), speaker, text[: TEXT_LENGTH + 1], original, *heard)
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
