"""The state of one conversation as the user's side sees it: what may be sent, and what the frames that come in mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from convaid.errors import LocalProtocolError, RemoteProtocolError
from convaid.protocol.codec import UnknownType, decode_from_agent, encode
from convaid.protocol.from_agent import (
    AgentResponse,
    Audio,
    ClientToolCall,
    ConversationInitiationMetadata,
    Error,
    FromAgent,
    Interruption,
    McpToolCall,
)
from convaid.protocol.to_agent import ClientToolResult, ConversationInitiationClientData, McpToolApprovalResult, ToAgent

__all__ = ["UserSide"]

REMEMBERED_CALLS = 4096  # answered call ids kept to recognise duplicates: an hour of more than one call a second

OPEN_APPROVALS = 100  # permissions asked for at once: more is a flood, and no person answers it


class UserSide:
    """Our role in one conversation, from the first frame to the last. Pure state: no input or output, no clock.

    Every frame to send comes from `start` or `send`, every frame that came goes through `receive`, and `end` tells that
    the link is closed. ``counts`` says what was ignored, and how often.
    """

    def __init__(self) -> None:
        self.metadata: ConversationInitiationMetadata | None = None
        self.last_error: Error | None = None
        self.last_response: int | None = None
        """The event's id of the latest that the agent has said."""
        self.counts: Counter[str] = Counter()
        self._open_calls: dict[str, ClientToolCall] = {}
        self._answered_calls: dict[str, None] = {}  # in the order of their answers
        self._open_approvals: set[str] = set()
        self._asked_approvals: dict[str, None] = {}  # in the order of asking
        self._interrupted_event: int | None = None
        self._heard_event = 0  # the latest of which speech has come
        self._is_started = False
        self._is_ended = False

    @property
    def conversation_id(self) -> str | None:
        """The platform's name for this conversation; None until the metadata has come."""
        return self.metadata.conversation_id if self.metadata else None

    @property
    def open_calls(self) -> Mapping[str, ClientToolCall]:
        """The tool calls that are still owed their one result, by id, oldest first."""
        return MappingProxyType(self._open_calls)

    @property
    def open_approvals(self) -> Collection[str]:
        """The ids of the MCP calls that the platform wants permission for."""
        return frozenset(self._open_approvals)

    def start(self, init: ConversationInitiationClientData, raw: Mapping[str, Any] | None = None) -> str:
        """The first frame; ``raw`` is merged into it last, for what is not modelled.

        `LocalProtocolError` if anything was sent before.
        """
        if self._is_started or self._is_ended:
            raise LocalProtocolError("the conversation was started already")
        frame = encode(init, raw)
        self._is_started = True
        return frame

    def send(self, message: ToAgent) -> str:
        """The frame for any message but the first.

        `LocalProtocolError` before the start and after the end, and for a tool result that nobody asked for, that was
        given already, or that is not a text, and for a permission that nobody asked for, or that was given already.
        """
        problem = ""
        if self._is_ended:
            problem = "the conversation has ended"
        elif not self._is_started:
            problem = "the conversation has not begun"
        elif isinstance(message, ConversationInitiationClientData):
            problem = "the conversation was started already"
        elif isinstance(message, ClientToolResult):
            if message.tool_call_id not in self._open_calls:
                problem = f"no tool call {message.tool_call_id!r} is open"
            elif not isinstance(message.result, str):
                problem = f"the result is a {type(message.result).__name__}, not a text"
        elif isinstance(message, McpToolApprovalResult) and message.tool_call_id not in self._open_approvals:
            problem = f"nobody asks for permission of the call {message.tool_call_id!r}"
        if problem:
            raise LocalProtocolError(f"{message.wire_type}: {problem}")
        frame = encode(message)
        if isinstance(message, ClientToolResult):
            self._close_call(message.tool_call_id)
        elif isinstance(message, McpToolApprovalResult):
            self._open_approvals.discard(message.tool_call_id)
        return frame

    def receive(self, frame: str | bytes) -> FromAgent | RemoteProtocolError | None:
        """What a frame means; None for what is ignored and counted. Never raises.

        A `Ping` is returned like the rest: the caller owes the `Pong`.
        """
        decoded = decode_from_agent(frame)
        if decoded.unknown_fields:
            self.counts["unknown field"] += len(decoded.unknown_fields)
        message = decoded.message
        if isinstance(message, RemoteProtocolError):
            self.counts["malformed frame"] += 1
            return message
        if isinstance(message, UnknownType):
            self.counts["unknown type"] += 1
            return None
        fault = self._take_in(message)
        if fault:
            self.counts[fault] += 1
        return None if fault else message

    def interrupt(self) -> int:
        """Cut off the agent's turn on our side: audio of it that still comes is stale. Returns its event's id.

        The protocol has no message for that (nothing is to be sent), so the platform goes on with its turn.
        """
        self._interrupted_event = max(self._interrupted_event or 0, self._heard_event)
        return self._interrupted_event

    def end(self) -> None:
        """The link is closed: nothing can be sent any more. What is still in `open_calls` remains unanswered."""
        self._is_ended = True

    def _take_in(self, message: FromAgent) -> str:
        """Note what a message changes; returns why it is to be ignored, or nothing."""
        if isinstance(message, ConversationInitiationMetadata):
            if self.metadata:
                return "second metadata"
            self.metadata = message
        elif self.metadata is None:
            self.counts["before metadata"] += 1
        match message:
            case Audio() if self._interrupted_event is not None and message.event_id <= self._interrupted_event:
                return "stale audio"
            case Audio():
                self._heard_event = max(self._heard_event, message.event_id)
            case Interruption() if self._interrupted_event is None or message.event_id > self._interrupted_event:
                self._interrupted_event = message.event_id
            case ClientToolCall():
                if message.tool_call_id in self._open_calls or message.tool_call_id in self._answered_calls:
                    return "duplicate call"
                self._open_calls[message.tool_call_id] = message
            case McpToolCall():
                return self._take_in_approval(message)
            case AgentResponse():
                self.last_response = message.event_id
            case Error():
                self.last_error = message
        return ""

    def _take_in_approval(self, call: McpToolCall) -> str:
        if call.state != "awaiting_approval":
            self._open_approvals.discard(call.tool_call_id)  # it was decided without us, or we were too late
            return ""
        if call.tool_call_id in self._asked_approvals:
            return "duplicate approval request"
        if len(self._open_approvals) >= OPEN_APPROVALS:
            return "approval request too many"  # without an answer the platform denies it
        self._asked_approvals[call.tool_call_id] = None
        if len(self._asked_approvals) > REMEMBERED_CALLS:
            del self._asked_approvals[next(iter(self._asked_approvals))]
        self._open_approvals.add(call.tool_call_id)
        return ""

    def _close_call(self, tool_call_id: str) -> None:
        del self._open_calls[tool_call_id]
        self._answered_calls[tool_call_id] = None
        if len(self._answered_calls) > REMEMBERED_CALLS:
            del self._answered_calls[next(iter(self._answered_calls))]
