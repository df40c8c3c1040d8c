"""Watching sessions: what convaid tells of each, held against what the simulator has seen of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import trio
from attrs import define, field

from convaid import events
from convaid.protocol.endings import Cause, SessionEnd
from convaid.simulator import ConversationRecord
from convaid.simulator.chaos import RandomConversation
from convaid.simulator.scenario import Frame

from .tools import TOOL_LIMIT

__all__ = ["Watch", "Watched", "find_slips"]

SLACK = 3.0  # seconds more in which an answer has to go out
END_LIMIT = 1.5  # seconds before the end, in which a call is no longer sent, or no longer begun
RESERVED_CODE = 1014  # of close frames, that the library takes for an error


@define(eq=False)
class Watched:
    """One session, as convaid tells of it."""

    started: list[tuple[str, float]] = field(factory=list)
    ended: list[events.ToolCallEnded] = field(factory=list)
    end: SessionEnd | None = None
    ended_at: float = 0.0
    is_over: trio.Event = field(factory=trio.Event)


@define(eq=False)
class Watch:
    """The sessions of one conversation, in their order; those that were looked at are forgotten."""

    stop: trio.Event
    quota: int
    sessions: dict[int, Watched] = field(factory=dict)
    outcomes: Counter[str] = field(factory=Counter)
    causes: Counter[str] = field(factory=Counter)
    _number: int = -1
    _another: trio.Event = field(factory=trio.Event)

    def note(self, event: events.Event) -> None:
        """Take note of an event; the observer of the conversation."""
        match event:
            case events.Connecting():
                self._number += 1
                self.sessions[self._number] = Watched()
                self._another.set()
                self._another = trio.Event()
            case events.ToolCallStarted(call=call):
                self.sessions[self._number].started.append((call.tool_call_id, trio.current_time()))
            case events.ToolCallEnded(answer=answer):
                self.outcomes[answer.outcome] += 1
                self.sessions[self._number].ended.append(event)
            case events.Ended(end=end):
                session = self.sessions[self._number]
                session.end, session.ended_at = end, trio.current_time()
                self.causes[end.cause] += 1
                session.is_over.set()
                if self._number + 1 == self.quota:
                    self.stop.set()

    async def wait_session(self, number: int) -> Watched:
        """Wait until a session is over, and forget it."""
        while number not in self.sessions:
            await self._another.wait()
        await self.sessions[number].is_over.wait()
        return self.sessions.pop(number)


def find_slips(planned: RandomConversation, session: Watched, record: ConversationRecord, lag: float) -> Iterator[str]:
    """What does not hold in one session. ``lag``: seconds by which this process was late at worst."""
    end, ending = session.end, record.ending
    assert end is not None
    assert ending is not None
    if end.cause is Cause.OWN_FAULT:
        yield f"a fault of convaid's: {end}"
    if record.counts["unexpected result"]:
        yield f"{record.counts['unexpected result']} results too many, or with a wrong id"
    if record.counts["malformed frame"]:
        yield f"{record.counts['malformed frame']} malformed frames of ours"
    yield from find_wrong_answers(session, record, lag)
    # Of WebSockets, for which the library has a code of its own:
    breaks_rules = any(isinstance(step, Frame) for step in planned.scenario.steps) or ending.code == RESERVED_CODE
    was_cut = ending.is_reset or record.counts["goodbye cut short"] or planned.wire.trouble != "none"
    if ending.closed_by != "agent" or was_cut or breaks_rules or end.code is None:
        return
    if end.code != ending.code:
        yield f"the simulator has ended with {ending.code}, convaid says {end}"
        return
    begun = {call_id for call_id, _ in session.started}
    before = session.ended_at - END_LIMIT - lag
    if unseen := [
        call.tool_call_id for call in record.calls if call.asked_at < before and call.tool_call_id not in begun
    ]:
        yield f"calls that came well before the close frame and were not seen: {unseen}"


def find_wrong_answers(session: Watched, record: ConversationRecord, lag: float) -> Iterator[str]:
    """Which calls have not had exactly their one answer, as long as there was somebody to answer."""
    begun = Counter(call_id for call_id, _ in session.started)
    if begun != Counter(ended.call.tool_call_id for ended in session.ended) or any(each > 1 for each in begun.values()):
        yield f"calls that began, and that ended: {session.started} and {session.ended}"
        return
    began = dict(session.started)
    for ended in session.ended:
        lived = session.ended_at - began[ended.call.tool_call_id]
        if not ended.is_delivered and lived > TOOL_LIMIT + SLACK + lag:
            yield f"{ended.call} had no answer, and the session lived for {lived:.1f} s more"
    # They go out in their order: what did not come is what was on its way when the link was lost.
    sent = [ended.call.tool_call_id for ended in session.ended if ended.is_delivered]
    came = {call.tool_call_id for call in record.calls if call.result is not None}
    if stray := came - set(sent):
        yield f"answers that nobody gave: {stray}"
    if not record.counts["late result"] and came != set(sent[: len(came)]):
        yield f"answers that were lost: of {sent}, {came} came"
