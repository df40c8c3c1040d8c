"""What happens in the conversations, as values: for observers in plugins, for the log, for `convaid chat` (floor 1).

Every event names its conversation as the configuration does; ``conversation_id`` is the platform's, once it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from convaid.protocol.endings import SessionEnd
from convaid.protocol.from_agent import ClientToolCall, FromAgent, McpToolCall
from convaid.protocol.to_agent import ToAgent

__all__ = [
    "NOT_ERRORS",
    "AgentSpeaking",
    "ApprovalAnswered",
    "ApprovalAsked",
    "ApprovalRequest",
    "Connected",
    "Connecting",
    "DeviceChanged",
    "Ended",
    "Event",
    "Heard",
    "MessageReceived",
    "MessageSent",
    "Muted",
    "Outcome",
    "RetryPlanned",
    "SelfHeard",
    "SpeechInterrupted",
    "ToolAnswer",
    "ToolCallEnded",
    "ToolCallStarted",
]

Outcome = Literal[
    "ok",
    "error",
    "time-out",
    "unknown",
    "invalid",
    "stopped",
    "overloaded",
    "denied",
    "repeated",
    "deferred",
    "dry run",
]
"""How a tool call ended: with a result; the tool raised; its time ran out; no such tool; wrong arguments; shutdown or
interruption by us; too many calls at once; not permitted; the same call has been run before; answered while the tool
goes on; answered without running the tool."""

NOT_ERRORS: tuple[Outcome, ...] = ("ok", "deferred", "dry run")
"""The outcomes of which the agent is not told as errors."""


@frozen
class ApprovalRequest:
    """A tool call that waits for somebody to allow or deny it. ``deadline`` is on the clock of ``time.monotonic()``.

    An `McpToolCall` is one that the platform would have a server of the agent's run, and not we.
    """

    conversation: str
    conversation_id: str
    call: ClientToolCall | McpToolCall
    deadline: float


@frozen
class ApprovalAsked:
    """People are asked to allow or deny a tool call, until ``deadline`` (``time.monotonic()``)."""

    conversation: str
    conversation_id: str | None
    id: str
    call: ClientToolCall | McpToolCall
    deadline: float


@frozen
class ApprovalAnswered:
    """The question is settled: allowed or denied ``by`` somebody, or no longer of interest (None)."""

    conversation: str
    conversation_id: str | None
    id: str
    call: ClientToolCall | McpToolCall
    is_allowed: bool | None
    by: str


@frozen
class Connecting:
    """A connection to the platform is being opened; ``host`` is where (the URL itself may be a secret)."""

    conversation: str
    host: str


@frozen
class Connected:
    """The platform has confirmed the conversation; the formats are those of its metadata."""

    conversation: str
    conversation_id: str
    user_input_audio_format: str
    agent_output_audio_format: str


@frozen
class MessageReceived:
    """A message of the platform's, except audio and pings, which are too many, and tool calls, which have their own."""

    conversation: str
    conversation_id: str | None
    message: FromAgent


@frozen
class MessageSent:
    """A message that somebody asked us to send (text, context, feedback); not audio, pongs or tool results."""

    conversation: str
    conversation_id: str | None
    message: ToAgent


@frozen
class ToolCallStarted:
    """The agent has called a tool."""

    conversation: str
    conversation_id: str | None
    call: ClientToolCall


@frozen
class ToolAnswer:
    """What a tool call came to: the one string that the agent gets, and what the log and observers want to know.

    ``seconds`` counts from the call's arrival, waiting for a free place included.
    """

    result: str
    is_error: bool
    outcome: Outcome
    seconds: float


@frozen
class ToolCallEnded:
    """A tool call has its one answer; ``is_delivered`` is False where the link was lost before it could be sent."""

    conversation: str
    conversation_id: str | None
    call: ClientToolCall
    answer: ToolAnswer
    is_delivered: bool


@frozen
class AgentSpeaking:
    """The agent begins to be heard, or has fallen silent; in conversations by voice."""

    conversation: str
    conversation_id: str | None
    is_speaking: bool


@frozen
class Muted:
    """The agent hears silence instead of the microphone from now on, or the microphone again."""

    conversation: str
    conversation_id: str | None
    is_muted: bool


@frozen
class DeviceChanged:
    """A microphone or speaker works (again), is gone, or gives nothing but zeros; the conversation goes on meanwhile.

    ``device`` is its name, "" where none was found; ``detail`` what was seen, and what helps. ``is_repeated``: it comes
    and goes, and has not been well for long since the last time.
    """

    conversation: str
    conversation_id: str | None
    role: Literal["microphone", "speaker"]
    state: Literal["open", "lost", "silent"]
    device: str
    detail: str
    is_repeated: bool


@frozen
class SelfHeard:
    """What the platform took for the user is what the agent has just said: it hears itself."""

    conversation: str
    conversation_id: str | None
    text: str


@frozen
class Heard:
    """A turn of the agent's whose speech was cut off: what had left the speaker by then.

    ``seconds`` had been heard, ``unheard`` seconds had arrived and will not be. ``text`` is how far that is in the
    agent's words: by the platform's timing of the characters, else estimated, in whole words; None where the words are
    not known.
    """

    event_id: int
    seconds: float
    unheard: float
    text: str | None


@frozen
class SpeechInterrupted:
    """The user cut in; ``seconds`` of agent speech that had arrived will not be heard.

    ``heard`` says of each turn that was cut how far it had been heard; empty where nothing was left to be heard.
    """

    conversation: str
    conversation_id: str | None
    event_id: int
    seconds: float
    heard: tuple[Heard, ...] = ()


@frozen
class Ended:
    """A session is over; ``conversation_id`` is None where it never began.

    ``seconds`` counts from the beginning of the connection. ``losses`` says what was ignored, dropped or filled up with
    silence on the way, and how often; empty in most sessions. ``heard`` says how far the agent's last words had been
    heard, where the end cut them off.
    """

    conversation: str
    conversation_id: str | None
    end: SessionEnd
    seconds: float
    losses: Mapping[str, int] = field(factory=dict)
    heard: tuple[Heard, ...] = ()


@frozen
class RetryPlanned:
    """The next connection will be tried in ``delay`` seconds."""

    conversation: str
    delay: float
    end: SessionEnd


Event = (
    Connecting
    | Connected
    | MessageReceived
    | MessageSent
    | ToolCallStarted
    | ToolCallEnded
    | AgentSpeaking
    | Muted
    | DeviceChanged
    | SelfHeard
    | ApprovalAsked
    | ApprovalAnswered
    | SpeechInterrupted
    | Ended
    | RetryPlanned
)
