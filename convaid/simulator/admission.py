"""Who is let in: an agent's limits of conversations at once and in a day, and the queue before it."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from convaid.protocol.from_agent import QueueStatus
from convaid.simulator.agent import Agent
from convaid.simulator.record import Ending
from convaid.simulator.scenario import Refuse

if TYPE_CHECKING:
    from convaid.simulator.conversation import Conversation

__all__ = ["Admission", "Place", "wait_in_queue"]

QUEUED_TOO_LONG = 4300  # close code
DAY = 24 * 60 * 60


@define(eq=False)
class Place:
    """A place in the conversations with an agent; not ``free`` while it is one in the queue."""

    free: trio.Event = field(factory=trio.Event)


class Admission:
    """Counts the conversations with each agent."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._begun: Counter[tuple[str, int]] = Counter()  # by day
        self._queues: dict[str, deque[Place]] = {}

    def find_refusal(self, agent_id: str, agent: Agent) -> Refuse | None:
        """How one more conversation with the agent would be refused now; None where it would not, or would wait."""
        limits, code = agent.limits, agent.guesses.busy_code
        if self._begun[agent_id, today()] >= limits.daily_limit:
            reason = "The agent has had its daily limit of conversations."
        elif limits.queue_wait is None and self._is_full(agent_id, agent):
            reason = "Too many concurrent connections."
        else:
            return None
        return Refuse(status=code, reason=reason) if code == 429 else Refuse(code, reason)

    @contextmanager
    def open_place(self, agent_id: str, agent: Agent) -> Iterator[Place]:
        """Take a place, or one in the queue, for as long as the context is open."""
        self._begun[agent_id, today()] += 1
        place, queue = Place(), self._queues.setdefault(agent_id, deque())
        if self._is_full(agent_id, agent):
            queue.append(place)
        else:
            self._open[agent_id] += 1
            place.free.set()
        try:
            yield place
        finally:
            if not place.free.is_set():
                queue.remove(place)
            elif queue:
                queue.popleft().free.set()  # which takes this one's place
            else:
                self._open[agent_id] -= 1

    def _is_full(self, agent_id: str, agent: Agent) -> bool:
        limit = agent.limits.agent_concurrency_limit
        return limit is not None and self._open[agent_id] >= limit


async def wait_in_queue(conversation: Conversation, place: Place) -> None:
    """Let a conversation wait until its place is free; its user's side is told, and refused after too long."""
    queued_at = trio.current_time()
    await conversation.send(QueueStatus("waiting"))
    with trio.move_on_after(conversation.agent.limits.queue_wait or math.inf):
        await place.free.wait()
    conversation.record.queue_wait = trio.current_time() - queued_at
    await conversation.send(QueueStatus("admitted" if place.free.is_set() else "timed_out"))
    if not place.free.is_set():
        await conversation.end(Ending("agent", QUEUED_TOO_LONG, "The wait in the queue has timed out."))


def today() -> int:
    return int(time.time() // DAY)
