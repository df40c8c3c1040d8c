"""What is sent to the control API and what it answers, as value classes: OpenAPI's schemas are made of them."""

from __future__ import annotations

import math
from typing import Any, Literal

import attrs
from attrs import field, frozen

from convaid.events import Outcome

__all__ = [
    "Answer",
    "ApprovalStatus",
    "Ask",
    "CallStatus",
    "Calls",
    "Context",
    "Decision",
    "Dropped",
    "Error",
    "FeedbackForm",
    "RunResult",
    "RunTool",
    "Say",
    "Sent",
    "Settings",
    "Start",
    "Stop",
    "Stopped",
    "ToolStatus",
]

LONGEST_WAIT = 600.0  # seconds that a request may ask to wait


def _check_not_empty(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not value.strip():
        raise ValueError("is empty")


def _check_wait(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 <= value <= LONGEST_WAIT or math.isnan(value):
        raise ValueError(f"must be between 0 and {LONGEST_WAIT:g} seconds, not {value:g}")


# --- what is sent ----------------------------------------------------------------------------------------------------


@frozen
class Start:
    """Have a conversation opened."""

    wait: float = field(default=0.0, validator=_check_wait)
    """Seconds to wait until the agent is there."""


@frozen
class Stop:
    """Have a conversation closed, with a goodbye."""

    wait: float = field(default=0.0, validator=_check_wait)
    """Seconds to wait until it is closed."""


@frozen
class Say:
    """Say something as the user."""

    text: str = field(validator=_check_not_empty)


@frozen
class Context:
    """Tell the agent something that it need not answer."""

    text: str = field(validator=_check_not_empty)
    context_id: str | None = None
    """The newest with an id replaces those before it."""


@frozen
class Ask:
    """Say something as the user, and wait for the answer."""

    text: str = field(validator=_check_not_empty)
    time_limit: float = field(default=60.0, validator=_check_wait)
    """Seconds, connecting included."""


@frozen
class FeedbackForm:
    """What the user thinks of what the agent has said."""

    score: Literal["like", "dislike"] | None
    """null takes an earlier one back."""
    event_id: int | None = None
    """Which of the agent's responses; the latest if it is left out."""


@frozen
class RunTool:
    """Run a tool by hand."""

    arguments: dict[str, Any] = field(factory=dict)


@frozen
class Decision:
    """Allow or deny a tool call."""

    allow: bool


# --- what is answered ------------------------------------------------------------------------------------------------


@frozen
class Error:
    """Why something was not done."""

    code: str
    """For programs."""
    message: str
    remedy: str
    """What to do about it; "" where nothing is known."""
    problems: list[str]
    """All of them, with their places, where there can be several."""


@frozen
class Sent:
    """It is on its way to the agent."""

    conversation: str
    conversation_id: str | None


@frozen
class Answer:
    """What the agent has answered."""

    conversation: str
    conversation_id: str | None
    text: str
    is_complete: bool
    """False where the time was over before the agent had ended."""
    seconds: float
    """From the question on."""


@frozen
class Dropped:
    """The agent was silenced here."""

    seconds: float
    """Of its speech, that will not be heard."""


@frozen
class Stopped:
    """How many calls were stopped."""

    count: int


@frozen
class ToolStatus:
    """A tool that agents may call."""

    name: str
    plugin: str
    description: str
    parameters: dict[str, Any]
    """In the platform's dialect of JSON Schema."""
    runs: Literal["room", "thread", "process"]
    permission: Literal["allow", "ask", "deny"]
    """Unless a rule for certain arguments says otherwise."""
    time_limit: float
    """Seconds."""
    running: int
    """Calls, now."""


@frozen
class CallStatus:
    """A tool call, running or over. ``at`` is in Unix seconds: when it came, or when it was over."""

    tool: str
    conversation: str
    conversation_id: str
    tool_call_id: str
    at: float
    seconds: float
    """So far, or in all."""
    state: Literal["waiting", "running", "unawaited", "over"]
    """Waits for permission or its turn; runs; runs, and the agent waits for it no more; is over."""
    arguments: str | None
    """As the journal has them; null once it is over: the journal has them then."""
    outcome: Outcome | None
    result: str | None
    """Its beginning."""


@frozen
class Calls:
    """The tool calls of now, and the latest ones."""

    running: list[CallStatus]
    running_count: int
    """More than ``running`` has where there are very many."""
    recent: list[CallStatus]
    """The latest first."""


@frozen
class RunResult:
    """What a tool has come to that was run by hand."""

    tool_call_id: str
    outcome: Outcome
    is_error: bool
    result: str
    seconds: float


@frozen
class ApprovalStatus:
    """A tool call that waits for somebody to allow or deny it."""

    id: str
    conversation: str
    conversation_id: str
    tool: str
    is_mcp: bool
    """It is one that the platform would have a server of the agent's run."""
    arguments: Any
    seconds_left: float


@frozen
class Settings:
    """The configuration as it is in effect, secrets masked; its tables as in the file."""

    configuration: dict[str, Any]
