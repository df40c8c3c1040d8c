"""The messages that the platform sends to us. One frozen class per wire ``type``, fields as on the wire.

On the wire a message is ``{"type": wire_type, payload_key: {...fields...}}``; here the payload's fields are the
class's. Fields that the platform may leave out have defaults. Sources: the platform's AsyncAPI contract, and its Swift
SDK's copy of it for the fields that are marked *newer*; a field is required where both of them require it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from attrs import field, frozen

__all__ = [
    "FROM_AGENT",
    "AgentChatResponsePart",
    "AgentReasoningResponsePart",
    "AgentResponse",
    "AgentResponseComplete",
    "AgentResponseCorrection",
    "AgentResponseMetadata",
    "AgentToolRequest",
    "AgentToolResponse",
    "AgentToolResponseFullPayload",
    "AgentTyping",
    "AsrInitiationMetadata",
    "Attachment",
    "Audio",
    "AudioAlignment",
    "ClientError",
    "ClientToolCall",
    "ContextUsage",
    "ConversationInitiationMetadata",
    "Error",
    "ExternalAgentConnected",
    "ExternalAgentDisconnected",
    "FromAgent",
    "GuardrailTriggered",
    "InternalTentativeAgentResponse",
    "InternalTurnProbability",
    "Interruption",
    "McpConnectionStatus",
    "McpIntegration",
    "McpToolCall",
    "Ping",
    "QueueStatus",
    "RichContent",
    "TentativeUserTranscript",
    "UserTranscript",
    "VadScore",
]


@frozen
class FromAgent:
    """The base of all messages that the platform sends."""

    wire_type: ClassVar[str]
    payload_key: ClassVar[str]  # "": the fields stand beside "type"


# --- the conversation itself ---------------------------------------------------------------------------------------


@frozen
class ConversationInitiationMetadata(FromAgent):
    """The first frame of every session, exactly once. The formats are to be obeyed, whatever was configured."""

    wire_type = "conversation_initiation_metadata"
    payload_key = "conversation_initiation_metadata_event"

    conversation_id: str
    agent_output_audio_format: str = "pcm_16000"
    user_input_audio_format: str = "pcm_16000"


@frozen
class Ping(FromAgent):
    """A sign of life that is owed an immediate `Pong`; ``ping_ms`` is the platform's estimate of the round trip."""

    wire_type = "ping"
    payload_key = "ping_event"

    event_id: int
    ping_ms: int | None = field(default=None, metadata={"null_is_written": True})  # the Python SDK indexes the key


@frozen
class Error(FromAgent):
    """Sent just before the platform closes the connection with the same code; says what the close frame does not."""

    wire_type = "error"
    payload_key = "error_event"

    code: int
    message: str | None = None
    error_type: str | None = None
    reason: str | None = None
    debug_message: str | None = None
    details: dict[str, Any] | None = None


@frozen
class ClientError(FromAgent):
    """The platform disliked something that we sent, without ending the conversation."""

    wire_type = "client_error"
    payload_key = "error_event"

    code: int
    error_name: str
    message: str | None = None


@frozen
class QueueStatus(FromAgent):
    """Where the platform's agent queue has us; newer, seen in the SDKs only."""

    wire_type = "queue_status"
    payload_key = "queue_status_event"

    status: str


# --- speech and text -----------------------------------------------------------------------------------------------


@frozen
class AudioAlignment:
    """Which character of the text is spoken when, within one chunk of audio; times in milliseconds."""

    chars: list[str]
    char_start_times_ms: list[int]
    char_durations_ms: list[int]


@frozen
class Audio(FromAgent):
    """A piece of agent speech, base64 of the announced output format; arrives faster than it can be played."""

    wire_type = "audio"
    payload_key = "audio_event"

    audio_base_64: str = field(repr=lambda text: f"<{len(text)} characters>")
    event_id: int
    alignment: AudioAlignment | None = None
    is_final: bool = False  # newer


@frozen
class Interruption(FromAgent):
    """The user cut in: audio with an ``event_id`` up to and including this one is stale from now on."""

    wire_type = "interruption"
    payload_key = "interruption_event"

    event_id: int


@frozen
class UserTranscript(FromAgent):
    """What the user said, as the platform understood it; a `UserMessage` comes back this way too."""

    wire_type = "user_transcript"
    payload_key = "user_transcription_event"

    user_transcript: str
    event_id: int


@frozen
class TentativeUserTranscript(FromAgent):
    """What the user seems to be saying; superseded by the `UserTranscript` of the turn."""

    wire_type = "tentative_user_transcript"
    payload_key = "tentative_user_transcription_event"

    user_transcript: str
    event_id: int


@frozen
class Attachment:
    """A file that the agent shows beside its words."""

    url: str
    name: str
    mime_type: str | None = None


@frozen
class AgentResponse(FromAgent):
    """The full text of what the agent says in this turn; sent before the speech is finished."""

    wire_type = "agent_response"
    payload_key = "agent_response_event"

    agent_response: str
    event_id: int
    response_id: str | None = None  # newer
    attachments: list[Attachment] | None = None  # newer


@frozen
class AgentResponseCorrection(FromAgent):
    """After an interruption: the part of the response that had been spoken."""

    wire_type = "agent_response_correction"
    payload_key = "agent_response_correction_event"

    original_agent_response: str
    corrected_agent_response: str
    event_id: int


@frozen
class AgentChatResponsePart(FromAgent):
    """Text mode: a piece of the response as it is being written; ``text`` is empty on start and stop."""

    wire_type = "agent_chat_response_part"
    payload_key = "text_response_part"

    text: str
    type: Literal["start", "delta", "stop"]
    event_id: int


@frozen
class AgentReasoningResponsePart(FromAgent):
    """A piece of the agent's reasoning (experimental); the only message whose ``event_id`` is a string."""

    wire_type = "agent_reasoning_response_part"
    payload_key = "reasoning_response_part"

    text: str
    type: Literal["start", "delta", "stop"]
    event_id: str


@frozen
class AgentResponseComplete(FromAgent):
    """The reply is over: text, tools and audio have all been delivered. Only where the agent enables it."""

    wire_type = "agent_response_complete"
    payload_key = "agent_response_complete_event"

    event_id: int


@frozen
class AgentResponseMetadata(FromAgent):
    """Anything the agent's configuration attaches to a response."""

    wire_type = "agent_response_metadata"
    payload_key = "agent_response_metadata_event"

    metadata: dict[str, Any]
    event_id: int


@frozen
class RichContent(FromAgent):
    """A component for a screen (experimental)."""

    wire_type = "rich_content"
    payload_key = "rich_content"

    rich_content_id: str
    component: str
    props: dict[str, Any]
    event_id: int


# --- tools ---------------------------------------------------------------------------------------------------------


@frozen
class ClientToolCall(FromAgent):
    """The request to run one of our tools; it is owed exactly one `ClientToolResult`.

    ``parameters`` is an object by contract, but kept as it came: a wrong one is answered with an error, and an answer
    needs the call. ``expects_response`` is newer; where it is missing the agent is taken to wait.
    """

    wire_type = "client_tool_call"
    payload_key = "client_tool_call"

    tool_name: str
    tool_call_id: str
    parameters: Any = None
    event_id: int | None = None
    expects_response: bool = True


@frozen
class AgentToolRequest(FromAgent):
    """Tells that the agent calls a tool of any kind; never a request to us (that is `ClientToolCall`)."""

    wire_type = "agent_tool_request"
    payload_key = "agent_tool_request"

    tool_name: str
    tool_call_id: str
    tool_type: str
    event_id: int
    expects_response: bool | None = None  # this and the following: newer
    disable_interruptions: bool | None = None
    response_timeout_secs: float | None = None
    execution_mode: str | None = None


@frozen
class AgentToolResponse(FromAgent):
    """Tells how a tool of any kind ended. ``tool_name`` "end_call" announces that the agent hangs up."""

    wire_type = "agent_tool_response"
    payload_key = "agent_tool_response"

    tool_name: str
    tool_call_id: str
    tool_type: str
    is_error: bool
    is_called: bool
    event_id: int
    is_blocked: bool = False
    status: str | None = None


@frozen
class AgentToolResponseFullPayload(FromAgent):
    """As `AgentToolResponse`, with the result as an opaque string."""

    wire_type = "agent_tool_response_full_payload"
    payload_key = "agent_tool_response_full_payload"

    tool_name: str
    tool_call_id: str
    tool_type: str
    is_error: bool
    is_called: bool
    event_id: int
    full_tool_result: str
    is_blocked: bool = False
    truncated: bool = False


@frozen
class McpToolCall(FromAgent):
    """The state of a call to one of the agent's MCP servers.

    The state "awaiting_approval" is owed an `McpToolApprovalResult`.
    """

    wire_type = "mcp_tool_call"
    payload_key = "mcp_tool_call"

    service_id: str
    tool_call_id: str
    tool_name: str
    parameters: dict[str, Any]
    state: Literal["loading", "awaiting_approval", "success", "failure"]
    timestamp: str | None = None
    tool_description: str | None = None
    approval_timeout_secs: int | None = None
    result: list[dict[str, Any]] | None = None
    error_message: str | None = None


@frozen
class McpIntegration:
    """The state of one MCP server of the agent's."""

    integration_id: str
    integration_type: str
    is_connected: bool
    tool_count: int = 0


@frozen
class McpConnectionStatus(FromAgent):
    """The state of all MCP servers of the agent's."""

    wire_type = "mcp_connection_status"
    payload_key = "mcp_connection_status"

    integrations: list[McpIntegration] = field(factory=list)


# --- observations --------------------------------------------------------------------------------------------------


@frozen
class VadScore(FromAgent):
    """How likely the user is speaking right now, 0 to 1; about every 100 ms where enabled."""

    wire_type = "vad_score"
    payload_key = "vad_score_event"

    vad_score: float


@frozen
class ContextUsage(FromAgent):
    """How much of the model's context the conversation fills, in the provider's tokens."""

    wire_type = "context_usage"
    payload_key = "context_usage_event"

    event_id: int
    model: str
    context_tokens: int
    context_limit_tokens: int


@frozen
class AsrInitiationMetadata(FromAgent):
    """Opaque facts about speech recognition."""

    wire_type = "asr_initiation_metadata"
    payload_key = ""

    asr_initiation_metadata_event: dict[str, Any] = field(factory=dict)


@frozen
class GuardrailTriggered(FromAgent):
    """One of the agent's guardrails stepped in."""

    wire_type = "guardrail_triggered"
    payload_key = "guardrail_triggered_event"

    guardrail_name: str | None = None  # newer


@frozen
class AgentTyping(FromAgent):
    """A human agent is typing."""

    wire_type = "agent_typing"
    payload_key = "agent_typing_event"

    is_typing: bool
    duration_ms: int | None = None


@frozen
class ExternalAgentConnected(FromAgent):
    """A human has taken over from the agent."""

    wire_type = "external_agent_connected"
    payload_key = "external_agent_connected_event"


@frozen
class ExternalAgentDisconnected(FromAgent):
    """The human is gone, the agent is back."""

    wire_type = "external_agent_disconnected"
    payload_key = "external_agent_disconnected_event"


@frozen
class InternalTurnProbability(FromAgent):
    """Internal to the platform: how likely it is that the turn is over."""

    wire_type = "internal_turn_probability"
    payload_key = "turn_probability_internal_event"

    turn_probability: float


@frozen
class InternalTentativeAgentResponse(FromAgent):
    """Internal to the platform: what the agent might say."""

    wire_type = "internal_tentative_agent_response"
    payload_key = "tentative_agent_response_internal_event"

    tentative_agent_response: str


FROM_AGENT: dict[str, type[FromAgent]] = {
    cls.wire_type: cls
    for cls in list(globals().values())
    if isinstance(cls, type) and issubclass(cls, FromAgent) and cls is not FromAgent
}
"""Every message class by its wire type."""
