"""The platform's clocks in a conversation: pings, the user's silence, and the longest duration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from convaid.protocol.from_agent import Ping
from convaid.simulator.record import Ending
from convaid.simulator.scenario import Fail

if TYPE_CHECKING:
    from convaid.simulator.conversation import Conversation

__all__ = ["Clocks"]


class Clocks:
    """Tasks that each wait for one thing, and end the conversation when its time is over."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._ping = Ping(0)
        self._pinged_at = self._ponged_at = trio.current_time()

    async def watch_input(self) -> None:
        """End a conversation in which nothing comes from the user's side, whoever speaks."""
        conversation = self._conversation
        await conversation.turns.wait_without_input()
        reason = f"No user input for {conversation.agent.input_limit:g} seconds."
        await conversation.fail(Fail(1002, "transport_receive_timeout", reason))

    async def watch_silence(self) -> None:
        """Hang up on a user who has not said anything for too long, where the agent's settings say so."""
        conversation = self._conversation
        await conversation.turns.wait_without_turn(conversation.agent.silences.silence_end_call_timeout)
        await conversation.end(Ending("agent", 1000, "The user has been silent for too long."))

    async def watch_duration(self) -> None:
        """End a conversation that has lasted for as long as it may; the agent's last message comes first."""
        conversation = self._conversation
        await trio.sleep(conversation.agent.max_duration)
        await conversation.say_last(conversation.agent.max_duration_message)
        await conversation.fail(Fail(1000, "max_duration_exceeded", "Conversation has exceeded maximum duration."))

    async def send_pings(self) -> None:
        """Ping at an even pace; each tells the round trip of the one before."""
        conversation = self._conversation
        if math.isinf(conversation.agent.ping_interval):
            return
        limit = conversation.agent.guesses.pong_limit
        self._ponged_at = trio.current_time()
        while True:
            if limit is not None and trio.current_time() - self._ponged_at >= limit:
                await conversation.fail(Fail(1002, "transport_receive_timeout", f"No pong for {limit:g} seconds."))
            self._ping = Ping(self._ping.event_id + 1, self._ping.ping_ms)
            self._pinged_at = trio.current_time()
            await conversation.send(self._ping)
            await trio.sleep(conversation.agent.ping_interval)

    def take_pong(self, event_id: int) -> None:
        """A pong has come; one that is not for the newest ping is too late to tell anything."""
        if event_id == self._ping.event_id:
            self._ponged_at = trio.current_time()
            self._ping = Ping(event_id, round((self._ponged_at - self._pinged_at) * 1000))
