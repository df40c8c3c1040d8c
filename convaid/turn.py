"""Whose turn it is: knows whether the agent has answered what the user said (floor 6)."""

from __future__ import annotations

import math

import trio

from convaid import events
from convaid.protocol.from_agent import AgentResponse, AgentResponseComplete, AgentResponseCorrection

__all__ = ["GREETING", "Turn"]

QUIET = 1.5  # seconds after which an agent that has spoken, and runs no tool, has answered
GREETING = 3.0  # seconds for the agent to speak first; it may wait for the user instead


class Turn:
    """Knows whether the agent has answered: its own word for it where it is enabled, else a while of quiet."""

    def __init__(self, *, is_connected: bool = False) -> None:
        self.is_connected = is_connected
        self.said: list[tuple[int, str]] = []
        """What the agent has said since the user spoke, as far as it was heard, with the ids of the events."""
        self._heard = self._heard_before = 0
        self._is_answered = False
        self._spoke_at = math.inf
        self._running = 0
        self._changed = trio.Event()

    def begin(self, heard: int | None = None) -> None:
        """The user is about to speak. ``heard``: the event's id of the latest that the agent has said, if known."""
        self._heard = max(self._heard, heard or 0)
        self._is_answered, self._spoke_at, self.said = False, math.inf, []
        self._heard_before = self._heard

    def observe(self, event: events.Event) -> None:
        """Take note of what happens in the conversation."""
        match event:
            case events.Connected():
                self.is_connected, self._heard, self._heard_before = True, 0, 0
            case events.Ended():
                self.is_connected, self._is_answered, self._running = False, True, 0
            case events.ToolCallStarted():
                self._running += 1
            case events.ToolCallEnded():
                self._running -= 1
                self._spoke_at = math.inf  # the agent speaks about the result
            case events.MessageReceived(message=AgentResponse(agent_response=text, event_id=event_id)) if (
                event_id > self._heard_before
            ):
                self._spoke_at = trio.current_time()
                self._heard = max(self._heard, event_id)
                self.said.append((event_id, text))
            case events.MessageReceived(
                message=AgentResponseCorrection(corrected_agent_response=text, event_id=event_id)
            ):
                self.said = [(each, text if each == event_id else said) for each, said in self.said]
            case events.SpeechInterrupted(heard=heard):
                texts = {cut.event_id: cut.text for cut in heard if cut.text is not None}
                self.said = [(each, texts.get(each, said)) for each, said in self.said]
            case events.MessageReceived(message=AgentResponseComplete(event_id=event_id)):
                # Speech is complete when it is all sent: it may be what was said before the user spoke.
                self._is_answered = self._is_answered or event_id > self._heard_before
        self._changed.set()
        self._changed = trio.Event()

    async def wait_connected(self) -> None:
        """Wait for a session."""
        while not self.is_connected:
            await self._changed.wait()

    async def wait_answered(self, patience: float) -> bool:
        """Wait for the end of the agent's answer, at most ``patience`` seconds; returns whether it came."""
        with trio.move_on_after(patience):
            while not self._is_answered:
                due = math.inf if self._running else self._spoke_at + QUIET
                if trio.current_time() >= due:
                    return True
                with trio.move_on_at(due):
                    await self._changed.wait()
            return True
        return False
