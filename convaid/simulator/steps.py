"""The steps of a scenario as value classes: what the agent does, or waits for, and what breaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import attrs
from attrs import Factory, field, frozen

from convaid.events import Outcome
from convaid.protocol.from_agent import FromAgent
from convaid.simulator.fields import (
    check_base64,
    check_close_code,
    check_not_empty,
    check_not_negative,
    check_opcode,
    check_positive,
    check_status,
    pattern_field,
    positive_field,
)
from convaid.simulator.patterns import check_expected_result, check_expected_table

__all__ = [
    "EXAMPLE",
    "STEPS",
    "Alternative",
    "Branch",
    "Call",
    "Close",
    "Drop",
    "End",
    "ExpectAudio",
    "ExpectResults",
    "ExpectText",
    "Fail",
    "Frame",
    "Freeze",
    "Interrupt",
    "McpCall",
    "Raw",
    "Refuse",
    "Say",
    "Send",
    "Silence",
    "Step",
    "find_short_field",
]

EXAMPLE = "what the user says here in a test or a demonstration"


@frozen
class Step:
    """One thing that the agent does, or waits for."""

    after_ms: Annotated[float, "milliseconds from the end of the step before to the beginning of this one"] = field(
        default=0.0, validator=check_not_negative, kw_only=True
    )


@frozen
class Say(Step):
    """The agent says something, by voice too unless the conversation is text only.

    ``{{name}}`` is replaced by the dynamic variable of that name, ``{result}`` by the last call's result; in a rule and
    in an alternative's steps, ``$1`` by what the first group of ``when`` matched.
    """

    text: str


@frozen
class ExpectText(Step):
    """The user's next turn is a text that matches."""

    matches: Annotated[str, "a regular expression that is found in the text, whatever the case"] = pattern_field()
    within_ms: Annotated[float, "milliseconds that the user has"] = positive_field(60_000.0)
    example: Annotated[str, EXAMPLE] = ""


@frozen
class ExpectAudio(Step):
    """The user's next turn is spoken, from the first sound to the quiet after the last."""

    within_ms: Annotated[float, "milliseconds that the user has"] = positive_field(60_000.0)


@frozen
class Alternative:
    """One way on from a branch: what the agent does if the user says something that matches.

    ``$1`` in the steps stands for what the first group of ``when`` matched, and ``#1``, alone in a parameter of a call,
    for the same as a number.
    """

    when: Annotated[str, "a regular expression; left out, it fits whatever the user says"] = pattern_field()
    steps: Sequence[Step] = ()
    again: Annotated[bool, "after its steps the user chooses again"] = False
    example: Annotated[str, EXAMPLE] = ""


@frozen
class Branch(Step):
    """The user's next turn decides how it goes on: with the first alternative that fits, or not at all."""

    among: Annotated[list[Alternative], "the alternatives"] = field(validator=check_not_empty)
    within_ms: Annotated[float, "milliseconds that the user has for each turn"] = positive_field(60_000.0)
    rounds: Annotated[int, "how often the user may choose, at most"] = field(default=20, validator=check_positive)


@frozen
class Call(Step):
    """The agent calls a client tool and waits for its result.

    What is expected fails if no result comes in time; where nothing is, the agent goes on after
    ``response_timeout_secs``, as the platform's does. That, and ``expects_response``, are as the tool's settings in the
    workspace have them, where it is one of the agent's there; else 20 s, and true. Without ``wait`` the next step
    follows at once, and what is expected is looked at by ``expect_results``.

    In ``expect_result`` text is a regular expression for the result as it came. A table or a list is held against the
    result as JSON: what stands in it must be there, whatever else is. In it, a value fits itself, but for three tables:
    ``{pattern = "…"}`` fits text that matches, ``{any = true}`` whatever is there, ``{exact = …}`` its value alone.
    """

    tool: str
    parameters: Annotated[dict[str, Any], "what it is called with"] = Factory(dict)
    expect_result: Annotated[Any, "a pattern for the result, or a part of it as JSON"] = field(
        default=None, validator=check_expected_result
    )
    expect_error: Annotated[bool | None, "whether the tool reports an error"] = None
    expect_outcome: Annotated[
        Outcome | None, "how the call ends; where only the result is known, whether that is an error must fit"
    ] = None
    expect_parameters: Annotated[
        dict[str, Any], "a part of what it is called with, once all is filled in; as in expect_result"
    ] = field(factory=dict, validator=check_expected_table)
    within_ms: Annotated[float | None, "milliseconds in which the result must come"] = positive_field(None)
    response_timeout_secs: Annotated[float | None, "seconds that the agent waits; left out, as set on the platform"] = (
        positive_field(None)
    )
    expects_response: Annotated[
        bool | None, "false: the agent does not wait for a result, nor hear it; left out, as set on the platform"
    ] = None
    wait: Annotated[bool, "false: the next step follows at once"] = True
    copies: Annotated[int, "how often the call is sent, always with the same id; it is to be run once"] = field(
        default=1, validator=check_positive
    )
    parameters_json: Annotated[
        str, 'instead of parameters, where the user types them: all of them, as in {"zone": "$1"}'
    ] = ""

    @property
    def needs_result(self) -> bool:
        """Whether a result that does not come in time is a failure."""
        return (self.within_ms, self.expect_result, self.expect_error, self.expect_outcome) != (None,) * 4


@frozen
class ExpectResults(Step):
    """Every call that was not waited for has its result."""

    within_ms: Annotated[float, "milliseconds that they have"] = positive_field(20_000.0)


@frozen
class McpCall(Step):
    """The platform calls a tool of one of the agent's MCP servers: the user's side sees its states, and may approve.

    Nothing is run. ``{result}`` stands for its result, or its error, from then on.
    """

    tool: str
    parameters: Annotated[dict[str, Any], "what it is called with"] = Factory(dict)
    needs_approval: Annotated[bool, "the user is asked"] = True
    approval_timeout_secs: Annotated[int, "seconds that the user has; the call then fails"] = field(
        default=300, validator=check_positive
    )
    result: Annotated[str, "what it returns"] = ""
    error: Annotated[str, "what it fails with"] = ""
    expect_approved: Annotated[bool | None, "whether the user approves of it"] = None


@frozen
class Send(Step):
    """A message of the platform's, as it stands on the wire: ``{type = "vad_score", vad_score_event = {…}}``.

    It is sent whatever the agent's ``client_events``. An ``event_id`` that is left out is the next one.
    """

    message: FromAgent


@frozen
class Interrupt(Step):
    """The agent takes itself to be interrupted: what it was saying is cut off."""


@frozen
class Silence(Step):
    """The agent does nothing for so many seconds; pings go on."""

    seconds: float = field(validator=check_positive)


@frozen
class Freeze(Step):
    """The link goes dead for so many seconds without being closed: nothing is read, nothing is written."""

    seconds: float = field(validator=check_positive)


@frozen
class Refuse(Step):
    """First step only: the conversation is refused, by close code, or by HTTP status where one is given."""

    code: int = field(default=3000, validator=check_close_code)
    reason: str = "Could not authorize the conversation."
    status: int | None = field(default=None, validator=check_status)
    at: Annotated[Literal["conversation", "signed_url"], "signed_url: there is none to be had; it needs a status"] = (
        field(default="conversation")
    )

    @at.validator
    def _check_at(self, _: object, at: str) -> None:
        if at == "signed_url" and self.status is None:
            raise ValueError("a signed URL is refused by an HTTP status, as in status = 429")


@frozen
class Fail(Step):
    """An ``error`` frame, then a close with the same code."""

    code: int = field(validator=check_close_code)
    error_type: str | None = None
    message: str = ""


@frozen
class Close(Step):
    """A close without an ``error`` frame."""

    code: int = field(default=1000, validator=check_close_code)
    reason: str = ""


@frozen
class Drop(Step):
    """The connection is reset, without a close frame: the peer sees 1006."""


@frozen
class Raw(Step):
    """A text frame of exactly this, whether the protocol allows it or not."""

    text: str
    times: Annotated[int, "how often it is sent"] = field(default=1, validator=check_positive)


@frozen
class Frame(Step):
    """A WebSocket frame with exactly this in it, whether WebSockets allow it or not."""

    base64: Annotated[str, "its payload"] = field(validator=check_base64)
    opcode: Annotated[int, "2: binary; 1: text, 8: close, 9: ping (RFC 6455, 5.2)"] = field(
        default=2, validator=check_opcode
    )


@frozen
class End(Step):
    """The agent says what it has to say to the end, and hangs up."""


STEPS: dict[str, type[Step]] = {
    "say": Say,
    "expect_text": ExpectText,
    "expect_audio": ExpectAudio,
    "branch": Branch,
    "call": Call,
    "expect_results": ExpectResults,
    "mcp_call": McpCall,
    "send": Send,
    "interrupt": Interrupt,
    "silence": Silence,
    "freeze": Freeze,
    "refuse": Refuse,
    "error": Fail,
    "close": Close,
    "drop": Drop,
    "raw": Raw,
    "frame": Frame,
    "end": End,
}


def find_short_field(shape: type[Any]) -> attrs.Attribute[Any] | None:
    """The field of a step, or of the brain, that may be written alone: its first."""
    return next((field for field in attrs.fields(shape) if not field.kw_only), None)
