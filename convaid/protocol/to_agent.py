"""The messages that we send to the platform. One frozen class per wire ``type``, fields as on the wire.

All are flat: ``{"type": wire_type, ...fields...}``. `UserAudio` alone has no ``type``: the platform knows it by its one
key. A field that is None is left out of the frame, except a `Feedback`'s score and a `UserMessage`'s text, where null
has a meaning. Sources: the platform's AsyncAPI contract, and its Swift SDK's copy of it for what is marked *newer*.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from attrs import field, frozen

__all__ = [
    "TO_AGENT",
    "ClientToolResult",
    "ContextualUpdate",
    "ConversationInitiationClientData",
    "Feedback",
    "FileInput",
    "McpToolApprovalResult",
    "MultimodalMessage",
    "Pong",
    "ToAgent",
    "UserActivity",
    "UserAudio",
    "UserMessage",
]


@frozen
class ToAgent:
    """The base of all messages that we send."""

    wire_type: ClassVar[str]
    payload_key: ClassVar[str] = ""


@frozen
class ConversationInitiationClientData(ToAgent):
    """The first frame of every session, exactly once. What is not set is left out: a null may count as an override."""

    wire_type = "conversation_initiation_client_data"

    conversation_config_override: dict[str, Any] | None = None
    custom_llm_extra_body: dict[str, Any] | None = None
    dynamic_variables: dict[str, Any] | None = field(default=None, repr=False)  # may hold secrets
    user_id: str | None = None
    source_info: dict[str, Any] | None = None
    branch_id: str | None = None
    environment: str | None = None
    tool_mock_config: dict[str, Any] | None = None
    starting_workflow_node_id: str | None = None
    procedure_ids: list[str] | None = None
    start_procedure_ids: list[str] | None = None


@frozen
class UserAudio(ToAgent):
    """A piece of microphone audio, base64 of the announced input format, at the pace of real time."""

    wire_type = ""

    user_audio_chunk: str = field(repr=lambda text: f"<{len(text)} characters>")


@frozen
class Pong(ToAgent):
    """The answer to a `Ping`, with its ``event_id``; to be sent at once."""

    wire_type = "pong"

    event_id: int


@frozen
class UserMessage(ToAgent):
    """Text from the user; the agent answers it as it answers speech."""

    wire_type = "user_message"

    text: str | None = field(default=None, metadata={"null_is_written": True})
    rich_content_id: str | None = None
    user_identifier: str | None = None  # newer


@frozen
class UserActivity(ToAgent):
    """The user is busy (typing, say): the agent should not speak up."""

    wire_type = "user_activity"


@frozen
class ContextualUpdate(ToAgent):
    """Something for the agent to know, without a reply. The newest with a given ``context_id`` replaces the others."""

    wire_type = "contextual_update"

    text: str
    context_id: str | None = None


@frozen
class FileInput:
    """A file that was uploaded to this conversation."""

    file_id: str
    type: Literal["file_input"] = "file_input"


@frozen
class MultimodalMessage(ToAgent):
    """Text and files in one message."""

    wire_type = "multimodal_message"

    text: UserMessage | None = None
    file: FileInput | None = None
    files: list[FileInput] | None = None


@frozen
class ClientToolResult(ToAgent):
    """The one answer to a `ClientToolCall`. A ``result`` that is not a string makes the platform hang up (1008).

    ``error_type`` implies ``is_error``; "user_rejected" marks the tool as not called at all.
    """

    wire_type = "client_tool_result"

    tool_call_id: str
    result: str
    is_error: bool
    error_type: (
        Literal["user_rejected", "external_server", "external_client", "customer_auth", "client_timeout", "unknown"]
        | None
    ) = None  # newer


@frozen
class McpToolApprovalResult(ToAgent):
    """May the agent's MCP server run this call?"""

    wire_type = "mcp_tool_approval_result"

    tool_call_id: str
    is_approved: bool


@frozen
class Feedback(ToAgent):
    """What the user thinks of the response with this ``event_id``; a ``score`` of None takes an earlier one back."""

    wire_type = "feedback"

    event_id: int
    score: Literal["like", "dislike"] | None = field(default=None, metadata={"null_is_written": True})


TO_AGENT: dict[str, type[ToAgent]] = {
    cls.wire_type: cls
    for cls in list(globals().values())
    if isinstance(cls, type) and issubclass(cls, ToAgent) and cls is not ToAgent
}
"""Every message class by its wire type; `UserAudio` under the empty one."""
