"""The user's part in time: what they have said that the agent has not come to yet, and for how long they are silent."""

from __future__ import annotations

import math

import trio
from attrs import frozen

from convaid.simulator.agent import Agent

__all__ = ["UNHEARD", "Turns", "UserTurn"]

UNHEARD = 64  # turns of the user's that the agent has not come to yet


@frozen
class UserTurn:
    """What the user said, in writing or by voice."""

    text: str
    is_spoken: bool = False


class Turns:
    """Keeps the user's turns, and three clocks: no input, no turn in time, no turn at all."""

    def __init__(self) -> None:
        self._said, self._unheard = trio.open_memory_channel[UserTurn](UNHEARD)
        self._input_wait = trio.CancelScope()
        self._turn_wait = trio.CancelScope()
        self._end_wait = trio.CancelScope()
        self._patience = self._end_patience = math.inf
        self._are_any = False

    def close(self) -> None:
        """Nothing more is said or heard."""
        self._said.close()
        self._unheard.close()

    def put(self, turn: UserTurn) -> bool:
        """The user has said something; false where the agent has not come to far too much already."""
        self._are_any = True
        self._end_wait.deadline = trio.current_time() + self._end_patience
        try:
            self._said.send_nowait(turn)
        except trio.WouldBlock:
            return False
        return True

    def note_input(self, seconds: float) -> None:
        """The user's side has sent something: from now on it has so many seconds again."""
        self._input_wait.deadline = trio.current_time() + seconds

    def note_activity(self) -> None:
        """The user is busy speaking or typing: they are not spoken to for as long as before."""
        self._turn_wait.deadline = trio.current_time() + self._patience

    async def wait_without_input(self) -> None:
        """Wait until the time for the next input is over."""
        with self._input_wait:
            await trio.sleep_forever()

    async def wait_without_turn(self, seconds: float | None) -> None:
        """Wait until the user has said nothing for so many seconds."""
        self._end_patience = math.inf if seconds is None else seconds
        self._end_wait.deadline = trio.current_time() + self._end_patience
        with self._end_wait:
            await trio.sleep_forever()

    async def next(self, agent: Agent, quiet_at: float) -> UserTurn | None:
        """The user's next turn; None when it is time to speak to a user who is silent since ``quiet_at``."""
        silences = agent.silences
        seconds = silences.turn_timeout
        if not self._are_any and not agent.first_message and silences.initial_wait_time is not None:
            seconds = silences.initial_wait_time
        self._patience = math.inf if seconds is None or not silences.message else seconds
        self._turn_wait = trio.CancelScope(deadline=max(quiet_at, trio.current_time()) + self._patience)
        with self._turn_wait:
            return await self._unheard.receive()
        return None
