"""The three clocks of a session: is the link alive, does the agent answer, has the conversation gone on too long?

Pure: the time comes in as an argument (trio's clock, seconds), the verdict goes out as a value.
"""

from __future__ import annotations

import math

from convaid.config.model import LimitsConfig
from convaid.protocol.endings import SessionEnd, agent_silent, limit_reached, link_lost
from convaid.protocol.from_agent import (
    AgentChatResponsePart,
    AgentReasoningResponsePart,
    AgentResponse,
    AgentResponseComplete,
    AgentToolRequest,
    AgentToolResponse,
    Audio,
    ClientToolCall,
    ConversationInitiationMetadata,
    FromAgent,
    Interruption,
    McpToolCall,
    QueueStatus,
)

__all__ = ["Clocks"]

ANSWERS = (
    AgentChatResponsePart,
    AgentReasoningResponsePart,
    AgentResponse,
    AgentResponseComplete,
    AgentToolRequest,
    AgentToolResponse,
    Audio,
    ClientToolCall,
    Interruption,
    McpToolCall,
)
"""Messages by which the agent shows that it is at work on its answer; pings and scores are not among them."""


QUIET = 2.0  # seconds after the last word in which nobody is taken to be about to speak
ROTATION_PATIENCE = 60.0  # seconds that a conversation may outlive its limit, until it is quiet


class Clocks:
    """Knows what is due when. Each clock has its limit in ``[conversations.NAME.limits]``; inf turns it off."""

    def __init__(self, limits: LimitsConfig, now: float) -> None:
        self._limits = limits
        self._started_at = now
        self._active_at = now
        self._metadata_due = now + limits.handshake
        self._answer_due = math.inf
        self._is_answer_owed = False
        self._running_tools = 0

    def note_message(self, message: FromAgent, now: float) -> None:
        """The platform sent ``message``."""
        if isinstance(message, ANSWERS):
            self._is_answer_owed = False
            self._answer_due = math.inf
            self._active_at = max(self._active_at, now)
        elif isinstance(message, ConversationInitiationMetadata):
            self._metadata_due = math.inf
        elif isinstance(message, QueueStatus) and not math.isinf(self._metadata_due):
            self._metadata_due = now + self._limits.answer  # in a queue, so it will take longer

    def note_speech(self, until: float) -> None:
        """Agent speech that has arrived will be heard ``until`` then, if nobody interrupts it."""
        self._active_at = until

    def note_user(self, now: float) -> None:
        """The user speaks; what it is, the platform will tell."""
        self._active_at = max(self._active_at, now)

    def owe_answer(self, now: float) -> None:
        """The user spoke: it is the agent's turn, or will be when our tools have answered."""
        self._active_at = now
        self._is_answer_owed = True
        if not self._running_tools:
            self._answer_due = now + self._limits.answer

    def begin_tool(self) -> None:
        """The agent waits for one more of our tools."""
        self._running_tools += 1
        self._answer_due = math.inf

    def end_tool(self, call: ClientToolCall, now: float) -> None:
        """A tool has answered; the agent owes what it makes of the results when all have."""
        self._running_tools -= 1
        self._active_at = max(self._active_at, now)
        self._is_answer_owed = self._is_answer_owed or call.expects_response
        if self._is_answer_owed and not self._running_tools:
            self._answer_due = now + self._limits.answer

    def find_overdue(self, now: float, heard_at: float) -> SessionEnd | None:
        """What ends the session now, if anything does. ``heard_at`` is when the link was last heard."""
        limits = self._limits
        if now >= heard_at + limits.link_silence:
            return link_lost(f"nothing was heard for {limits.link_silence:g} s, not even an answer to our pings")
        if now >= self._metadata_due:
            return link_lost(f"the platform did not begin the conversation in {limits.handshake:g} s")
        if now >= self._answer_due:
            return agent_silent(limits.answer)
        if now >= self._active_at + limits.idle:
            return limit_reached("idle", limits.idle)
        if now >= self._find_life_end():
            return limit_reached("life", limits.life)
        return None

    def _find_life_end(self) -> float:
        """When the conversation has lasted long enough: at its next quiet moment, if one comes soon."""
        due = self._started_at + self._limits.life
        is_busy = self._is_answer_owed or self._running_tools > 0
        return min(due + ROTATION_PATIENCE, math.inf if is_busy else max(due, self._active_at + QUIET))

    def find_next_check(self, heard_at: float) -> float:
        """When the next clock may run out."""
        limits = self._limits
        return min(
            heard_at + limits.link_silence,
            self._metadata_due,
            self._answer_due,
            self._active_at + limits.idle,
            self._find_life_end(),
        )
