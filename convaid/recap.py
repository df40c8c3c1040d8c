"""What was said and done in a conversation, in short: for the one that goes on after its connection was lost (floor 3).

The platform knows no resuming: a new connection is a new conversation, whose agent remembers nothing. Pure.
"""

from __future__ import annotations

from collections import deque

from attrs import define, field

from convaid import events
from convaid.config.model import RecapConfig
from convaid.protocol.endings import Cause, SessionEnd
from convaid.protocol.from_agent import AgentResponse, AgentResponseCorrection, UserTranscript

__all__ = ["RECAP_VARIABLE", "Recap"]

RECAP_VARIABLE = "recap"  # the dynamic variable, for {{recap}} in the agent's prompt
LONGEST_GAP = 600.0  # seconds after which nobody wants to hear where one was
LINE_LENGTH = 400  # characters of one turn, or of a tool's result
INTRODUCTION = (
    "The connection was lost, and this conversation goes on where the one before broke off. "
    "Do not greet again. What was said and done last:"
)
CONTINUED = (Cause.LINK_LOST, Cause.OPERATIONAL, Cause.CRASH, Cause.LIMIT_REACHED)
"""The endings after which the next conversation is the same for those who talk."""


@define(eq=False)
class Recap:
    """The last turns of a conversation, over all its sessions; times are those of one clock, in seconds."""

    config: RecapConfig
    _lines: deque[tuple[str, str]] = field(init=False, factory=deque)
    """Who, and what."""
    _lost_at: float | None = field(init=False, default=None)

    def note(self, event: events.Event) -> None:
        """Take note of what was said and done."""
        match event:
            case events.MessageReceived(message=UserTranscript(user_transcript=text)):
                self._add("user", text)
            case events.MessageReceived(message=AgentResponse(agent_response=text)):
                self._add("agent", text)
            case events.MessageReceived(message=AgentResponseCorrection(corrected_agent_response=text)):
                if self._lines and self._lines[-1][0] == "agent":
                    self._lines.pop()
                self._add("agent (interrupted)", text)
            case events.ToolCallEnded(call=call, answer=answer):
                self._add(f"tool {call.tool_name}, {answer.outcome}", answer.result)
            case events.Ended(heard=heard):
                self._shorten(heard)

    def note_end(self, end: SessionEnd, now: float) -> None:
        """A session has ended: what was said is kept if it is likely to go on, and forgotten if not."""
        if end.cause in CONTINUED:
            self._lost_at = now
        elif end.cause is not Cause.CONTRACT_FAULT:  # it may be our own doing, and be tried again otherwise
            self._lines.clear()

    def write(self, now: float) -> str:
        """Return what an agent is to be told when a session begins; empty where there is nothing to go on with."""
        if self._lost_at is None:
            return ""
        if now > self._lost_at + LONGEST_GAP:
            self._lines.clear()
        lines: list[str] = []
        room = self.config.size - len(INTRODUCTION)
        for who, what in reversed(self._lines):
            line = f"\n{who}: {what}"
            room -= len(line)
            if room < 0:
                break
            lines.append(line)
        return INTRODUCTION + "".join(reversed(lines)) if lines else ""

    def _shorten(self, heard: tuple[events.Heard, ...]) -> None:
        """The agent's last turns were cut off by the end: nobody has heard the rest of them."""
        count = len(heard)
        spoken = list(self._lines)[len(self._lines) - count :]
        if [who for who, _ in spoken] == ["agent"] * count and all(cut.text is not None for cut in heard):
            for _ in heard:
                self._lines.pop()
            for cut in heard:
                self._add("agent (cut off)", cut.text or "")

    def _add(self, who: str, text: str) -> None:
        what = " ".join(text.split())
        what = what if len(what) <= LINE_LENGTH else f"{what[: LINE_LENGTH - 1]}…"
        if what and self.config.way != "off":
            self._lines.append((who, what))
        while len(self._lines) > self.config.turns:
            self._lines.popleft()
