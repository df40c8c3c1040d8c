"""What the simulator keeps of each conversation and REST call, for tests to assert on and for people to read."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Literal

import trio
from attrs import Factory, define, field, frozen

from convaid.events import Outcome
from convaid.protocol.from_agent import Error
from convaid.protocol.to_agent import ConversationInitiationClientData, ToAgent

__all__ = ["CallRecord", "ConversationRecord", "Ending", "Failure", "Line", "RequestRecord", "Speaker"]

Speaker = Literal["agent", "user"]

KEPT = 10_000  # entries of each list of one conversation; older ones go


@frozen
class Line:
    """Something that was said. ``at`` is in seconds since the conversation began."""

    speaker: Speaker
    text: str
    at: float


@define
class CallRecord:
    """A call of a client tool; ``result`` stays None where none came in time.

    ``outcome`` is for whoever runs the tools beside the simulator, and knows more than what comes over the wire.
    """

    tool: str
    tool_call_id: str
    parameters: dict[str, Any]
    asked_at: float  # this and the next: trio's clock
    answered_at: float | None = None
    result: str | None = None
    is_error: bool | None = None
    outcome: Outcome | None = None
    answered: trio.Event = field(factory=trio.Event, repr=False, eq=False)

    @property
    def seconds(self) -> float | None:
        """The round trip, as the agent saw it."""
        return None if self.answered_at is None else self.answered_at - self.asked_at


@frozen
class Ending:
    """How a conversation ended: who did it, and the close code and reason that the other side was told.

    ``closed_by`` is "link" where no close frame was exchanged, and "simulator" where that was shut down.
    """

    closed_by: Literal["agent", "user", "link", "simulator"]
    code: int
    reason: str = ""
    error: Error | None = None  # sent before the close
    is_reset: bool = False


@frozen
class Failure:
    """An expectation of the scenario's that was not met: where it stands, and in words what was expected and came."""

    place: str
    message: str
    expected: str = ""
    got: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


@define(eq=False)
class ConversationRecord:
    """What happened in one conversation. ``sent`` and ``received`` count frames by type; ``counts`` what was odd.

    ``failure`` is the expectation of the scenario that was not met, if any; it has ended the conversation. ``place`` is
    where in the scenario the agent is, ``is_played`` whether it has done all that stands there.
    """

    conversation_id: str
    agent_id: str
    scenario: str
    api_key: str | None = field(default=None, repr=False)  # as it came on the handshake
    subprotocols: tuple[str, ...] = ()  # as offered
    query: Mapping[str, str] = field(factory=dict, repr=False)  # may hold a signature
    initiation: ConversationInitiationClientData | None = None
    transcript: deque[Line] = Factory(lambda: deque(maxlen=KEPT))
    calls: deque[CallRecord] = Factory(lambda: deque(maxlen=KEPT))
    messages: deque[ToAgent] = field(factory=lambda: deque(maxlen=KEPT), repr=False)  # all but audio and pongs
    sent: Counter[str] = Factory(Counter)
    received: Counter[str] = Factory(Counter)
    counts: Counter[str] = Factory(Counter)
    place: str = ""
    is_played: bool = False
    failure: Failure | None = None
    ending: Ending | None = None
    started_at: float = Factory(trio.current_time)
    started_at_unix: float = Factory(time.time)
    ended_at: float | None = None
    ended: trio.Event = field(factory=trio.Event, repr=False)
    feedback: Mapping[str, Any] = Factory(dict)  # by REST
    is_deleted: bool = False  # by REST: no longer told there

    @property
    def problem(self) -> str | None:
        """The failure in words."""
        return None if self.failure is None else str(self.failure)

    @property
    def seconds(self) -> float:
        """How long the conversation has lasted so far."""
        return (trio.current_time() if self.ended_at is None else self.ended_at) - self.started_at


@frozen
class RequestRecord:
    """A REST call that was answered."""

    method: str
    path: str
    query: Mapping[str, str]
    api_key: str | None = field(repr=False)
    status: int
