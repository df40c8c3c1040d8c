"""What a fault is: how it is played, and what should come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson
from attrs import Factory, field, frozen

from convaid.protocol.endings import Cause, Retry
from convaid.simulator.agent import Agent, Voice
from convaid.simulator.scenario import Call, End, Refuse, Say, Scenario, Step
from convaid.simulator.wire import WirePlan

__all__ = ["COUNT", "NOW", "WAIT", "Fault", "Limit", "write_frame"]

COUNT = "count"  # a tool: takes ``number``, and returns it
WAIT = "wait"  # a tool: takes ``seconds``, waits for so long, and returns nothing
NOW = b"agent_response_complete"  # for a wire: when the agent has said something

Limit = Literal["connect", "handshake", "link_silence", "answer", "disconnect"]


@frozen
class Fault:
    """Something that goes wrong on the platform or on the way to it, in a conversation of two calls of `COUNT`.

    ``steps`` come between the two, unless they refuse the conversation. ``cause`` and ``retry`` are how convaid's
    session ends; without a cause it goes on, and the second call has its answer. ``limit`` is what it takes to notice.
    """

    name: str
    words: str
    """What happens, for people: the subject is left out."""
    steps: Sequence[Step] = ()
    cause: Cause | None = None
    retry: Retry = Retry.NO
    limit: Limit | None = None
    agent: Mapping[str, Any] = Factory(dict)
    """Settings of the agent's that are not as usual."""
    wire: WirePlan = field(factory=WirePlan)
    is_voice: bool = False
    is_signed: bool = False
    """The agent is private, so that a signed URL is fetched first."""
    is_full: bool = False
    """It is not the simulator that is talked to, but a port at which nobody gets through."""
    stops: bool = False
    """After the first call the user wants the end."""
    clock_steps: Sequence[float] = ()
    """By how many seconds the wall clock jumps after the first call."""
    extra_results: int = 0
    """Results of calls that the simulator has made as raw frames, and does not know."""
    is_heavy: bool = False
    """It takes too much of everything to be mixed in at random."""

    @property
    def refuses(self) -> bool:
        """Whether the conversation never begins."""
        return bool(self.steps) and isinstance(self.steps[0], Refuse)

    def make_scenario(self) -> Scenario:
        """The conversation in which it happens."""
        agent = Agent(
            **{"text_only": not self.is_voice, "requires_authorization": self.is_signed, "ping_interval": 0.5}
            | dict(self.agent)
        )
        steps = self.steps if self.refuses else [make_call(1), *self.steps, make_call(2), Say("Goodbye."), End()]
        return Scenario(self.name, agent, Voice(pace=60, speed=20), steps)


def make_call(number: int) -> Call:
    """A call whose result says that it was this one."""
    return Call(COUNT, {"number": number}, expect_result=f"^{number}$", expect_error=False, within_ms=10_000)


def write_frame(wire_type: str, payload_key: str = "", payload: Any = None) -> str:
    """A frame of the platform's, with whatever payload."""
    frame = {"type": wire_type, payload_key: payload} if payload_key else {"type": wire_type}
    return orjson.dumps(frame).decode()
