"""The state of one conversation as the platform sees it, for the simulator and for tests: the mirror of `UserSide`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from convaid.errors import LocalProtocolError, RemoteProtocolError
from convaid.protocol.codec import UnknownType, decode_to_agent, encode
from convaid.protocol.from_agent import (
    Audio,
    ClientToolCall,
    ConversationInitiationMetadata,
    Error,
    FromAgent,
    Interruption,
    Ping,
    QueueStatus,
)
from convaid.protocol.to_agent import ClientToolResult, ConversationInitiationClientData, Pong, ToAgent

__all__ = ["INVALID_MESSAGE", "AgentSide"]

INVALID_MESSAGE = "Invalid message received"  # the platform's own words, in its error frame and its close reason (1008)


class AgentSide:
    """The platform's role in one conversation. Pure state: no input or output, no clock.

    Every frame to send comes from `send`, every frame that came goes through `receive`, and `end` tells that the link
    is closed. As tolerant as the platform is taken to be: audio may come before the initiation or without one, results
    may be late or belong to no call. ``counts`` says what was ignored, and how often.
    """

    def __init__(self) -> None:
        self.initiation: ConversationInitiationClientData | None = None
        self.metadata: ConversationInitiationMetadata | None = None
        self.counts: Counter[str] = Counter()
        self._open_calls: dict[str, ClientToolCall] = {}
        self._used_call_ids: set[str] = set()
        self._given_up_calls: set[str] = set()
        self._open_pings: set[int] = set()
        self._interrupted_event: int | None = None
        self._is_ended = False

    @property
    def open_calls(self) -> Mapping[str, ClientToolCall]:
        """The tool calls that have had no result yet, by id, oldest first."""
        return MappingProxyType(self._open_calls)

    def send(self, message: FromAgent) -> str:
        """The frame for a message.

        `LocalProtocolError` after the end, for anything before the metadata (but an error or a place in the queue), for
        a second metadata, for audio up to the interrupted event, and for a call id that was used before.
        """
        self._check(message)
        frame = encode(message)
        match message:
            case ConversationInitiationMetadata():
                self.metadata = message
            case Interruption():
                if self._interrupted_event is None or message.event_id > self._interrupted_event:
                    self._interrupted_event = message.event_id
            case ClientToolCall():
                self._open_calls[message.tool_call_id] = message
                self._used_call_ids.add(message.tool_call_id)
            case Ping():
                self._open_pings.add(message.event_id)
        return frame

    def receive(self, frame: str | bytes) -> ToAgent | RemoteProtocolError | None:
        """What a frame means; None for what is ignored and counted. Never raises.

        A `ClientToolResult` that is returned has closed its call; a late one, or one that belongs to no call, is
        ignored. The reason of a `RemoteProtocolError` begins with `INVALID_MESSAGE`, as the platform's would.
        """
        decoded = decode_to_agent(frame)
        if decoded.unknown_fields:
            self.counts["unknown field"] += len(decoded.unknown_fields)
        message = decoded.message
        if isinstance(message, RemoteProtocolError):
            self.counts["malformed frame"] += 1
            return RemoteProtocolError(f"{INVALID_MESSAGE}: {message}", frame)
        if isinstance(message, UnknownType):
            self.counts["unknown type"] += 1
            return None
        fault = self._take_in(message)
        if fault:
            self.counts[fault] += 1
        return None if fault else message

    def give_up(self, tool_call_id: str) -> None:
        """The call has waited long enough: a result that still comes is late, and ignored."""
        if self._open_calls.pop(tool_call_id, None) is not None:
            self._given_up_calls.add(tool_call_id)

    def end(self) -> None:
        """The link is closed: nothing can be sent any more."""
        self._is_ended = True

    def _check(self, message: FromAgent) -> None:
        problem = ""
        if self._is_ended:
            problem = "the conversation has ended"
        elif isinstance(message, ConversationInitiationMetadata):
            problem = "was sent already" if self.metadata else ""
        elif self.metadata is None and not isinstance(message, Error | QueueStatus):
            problem = "comes before the metadata"
        elif isinstance(message, Audio):
            if self._interrupted_event is not None and message.event_id <= self._interrupted_event:
                problem = f"event {message.event_id} was interrupted"
        elif isinstance(message, ClientToolCall) and message.tool_call_id in self._used_call_ids:
            problem = f"the call id {message.tool_call_id!r} was used before"
        if problem:
            raise LocalProtocolError(f"{message.wire_type}: {problem}")

    def _take_in(self, message: ToAgent) -> str:
        """Note what a message changes; returns why it is to be ignored, or nothing."""
        match message:
            case ConversationInitiationClientData():
                if self.initiation:
                    return "second initiation"
                self.initiation = message
            case ClientToolResult():
                if message.tool_call_id in self._given_up_calls:
                    self._given_up_calls.remove(message.tool_call_id)
                    return "late result"
                if self._open_calls.pop(message.tool_call_id, None) is None:
                    return "unexpected result"
            case Pong():
                if message.event_id not in self._open_pings:
                    return "unexpected pong"
                self._open_pings.remove(message.event_id)
        return ""
