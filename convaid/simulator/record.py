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
from convaid.protocol.to_agent import ContextualUpdate, ConversationInitiationClientData, ToAgent
from convaid.simulator.tool_settings import ToolSettings

__all__ = ["CallRecord", "ConversationRecord", "Ending", "Failure", "Line", "RequestRecord", "Speaker", "UploadedFile"]

Speaker = Literal["agent", "user"]

KEPT = 10_000  # entries of each list of one conversation; older ones go


@frozen
class Line:
    """Something that was said. ``at`` is in seconds since the conversation began; ``event_id`` as on the wire."""

    speaker: Speaker
    text: str
    at: float
    event_id: int | None = None


@define
class CallRecord:
    """A call of a client tool; ``result`` stays None where none came in time. ``patience`` is in seconds.

    ``settings`` are those that the platform has for the tool; ``is_mocked``: it was answered in the tool's place;
    ``heard`` is what the agent is told of the result, once the call ``is_concluded``.
    ``outcome`` is for whoever runs the tools beside the simulator, and knows more than what comes over the wire.
    """

    tool: str
    tool_call_id: str
    parameters: dict[str, Any]
    asked_at: float  # this and the next: trio's clock
    answered_at: float | None = None
    result: str | None = None
    is_error: bool | None = None
    error_type: str | None = None
    outcome: Outcome | None = None
    expects_response: bool = True
    patience: float = 20.0
    is_mocked: bool = False
    is_concluded: bool = False
    heard: str | None = None
    settings: ToolSettings = field(factory=ToolSettings, repr=False)
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


@frozen
class UploadedFile:
    """A file that the user has uploaded to a conversation."""

    file_id: str
    name: str
    media_type: str
    content: bytes = field(repr=False)


@define(eq=False)
class ConversationRecord:
    """What happened in one conversation. ``sent`` and ``received`` count frames by type; ``counts`` what was odd.

    ``failure`` is the expectation of the scenario that was not met, if any; it has ended the conversation. ``place`` is
    where in the scenario the agent is, ``is_played`` whether it has done all that stands there. ``scores`` are what the
    user thinks of the agent's turns, and ``corrections`` what was heard of those that were cut off, by event id.
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
    context: list[ContextualUpdate] = Factory(list)  # what was told, without what has been replaced
    scores: dict[int, str] = Factory(dict)
    corrections: dict[int, str] = Factory(dict)
    files: dict[str, UploadedFile] = Factory(dict)  # by REST
    max_files: int | None = 10
    queue_wait: float | None = None  # seconds, where it was queued
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

    def put_context(self, update: ContextualUpdate) -> None:
        """Note what the agent was told; the newest with an id replaces the others."""
        kept = [each for each in self.context if update.context_id is None or each.context_id != update.context_id]
        self.context = [*kept, update][-KEPT:]

    def put_score(self, event_id: int, score: str | None) -> None:
        """Note what the user thinks of a turn; None takes it back."""
        self.scores.pop(event_id, None)
        if score is not None:
            self.scores[event_id] = score

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
