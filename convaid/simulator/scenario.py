"""Scenarios: who the simulated agent is, and what it does in a conversation, as value classes.

An agent works through its ``steps`` in order; after the last one its ``rules`` answer whatever the user says, until
somebody hangs up. Failures are steps like any other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import Factory, field, frozen
from attrs.validators import ge

from convaid.audio.formats import AudioFormat

__all__ = [
    "Agent",
    "Call",
    "Close",
    "Drop",
    "End",
    "ExpectAudio",
    "ExpectResults",
    "ExpectText",
    "Fail",
    "Freeze",
    "Interrupt",
    "Raw",
    "Refuse",
    "Rule",
    "Say",
    "Scenario",
    "Silence",
    "Step",
    "Voice",
]

SOON = 60.0  # seconds that an expectation waits where the scenario does not say


def check_pattern(_: object, __: object, pattern: str | None) -> None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None


def check_format(_: object, __: object, name: str) -> None:
    AudioFormat.parse(name)


def check_positive(_: object, __: object, seconds: float) -> None:
    if not seconds > 0:
        raise ValueError("must be more than 0")


def check_close_code(_: object, __: object, code: int) -> None:
    if not 1000 <= code < 5000:
        raise ValueError("a close code is from 1000 to 4999")


def check_status(_: object, __: object, status: int | None) -> None:
    if status is not None and not 400 <= status < 600:
        raise ValueError("an HTTP status that refuses is from 400 to 599")


def seconds_field(default: float) -> Any:
    return field(default=default, validator=check_positive)


def pattern_field(default: str | None = "") -> Any:
    """A regular expression, searched for anywhere in the text, whatever the case; the empty one fits any text."""
    return field(default=default, validator=check_pattern)


# --- steps: the first field is the one that may be written alone ---------------------------------------------------


@frozen
class Step:
    """One thing that the agent does, or waits for."""


@frozen
class Say(Step):
    """The agent says something, by voice too unless the conversation is text only.

    ``{{name}}`` is replaced by the dynamic variable of that name, ``{result}`` by the last call's result; in a rule
    ``$1`` by what the first group of ``when`` matched.
    """

    text: str


@frozen
class ExpectText(Step):
    """The user's next turn is a text that matches. ``example`` is what a demonstration may write here."""

    matches: str = pattern_field()
    within: float = seconds_field(SOON)
    example: str = ""


@frozen
class ExpectAudio(Step):
    """The user's next turn is spoken, from the first sound to the quiet after the last."""

    within: float = seconds_field(SOON)


@frozen
class Call(Step):
    """The agent calls a client tool and waits for its result, as long as the platform would by default.

    A result that does not come in time is a failure only where one was expected; otherwise the agent goes on, as the
    platform's does. Without ``wait`` the next step follows at once (see `ExpectResults`).
    """

    tool: str
    parameters: dict[str, Any] = Factory(dict)
    expect_result: str | None = pattern_field(None)
    expect_error: bool | None = None
    within: float = seconds_field(20.0)
    expects_response: bool = True
    wait: bool = True
    parameters_json: str = ""  # in a rule: all of them, as the user has typed them


@frozen
class ExpectResults(Step):
    """Every call that was not waited for has its result."""

    within: float = seconds_field(20.0)


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


@frozen
class End(Step):
    """The agent says what it has to say to the end, and hangs up."""


STEPS: dict[str, type[Step]] = {
    "say": Say,
    "expect_text": ExpectText,
    "expect_audio": ExpectAudio,
    "call": Call,
    "expect_results": ExpectResults,
    "interrupt": Interrupt,
    "silence": Silence,
    "freeze": Freeze,
    "refuse": Refuse,
    "error": Fail,
    "close": Close,
    "drop": Drop,
    "raw": Raw,
    "end": End,
}


# --- the rest of a scenario ----------------------------------------------------------------------------------------


@frozen
class Rule:
    """What the agent does when the user says something that fits: call a tool, say something, hang up, in this order.

    The first rule that fits is followed. In the call's tool, its parameters and its ``parameters_json``, ``$1`` stands
    for what the first group matched, and ``#1``, alone in a parameter, for the same as a number.
    """

    when: str = pattern_field()
    call: Call | None = None
    say: str = ""
    end: bool = False


@frozen
class Voice:
    """How the agent sounds: a WAV file's beginning, as long as the text takes to say, or a tone."""

    wav: Path | None = None
    tone: int = field(default=330, validator=check_positive)  # Hz, whole: one second of it is repeated without a click
    pace: float = seconds_field(15.0)  # characters of text a second
    chunk: float = seconds_field(0.1)  # seconds of speech in one frame
    speed: float = seconds_field(5.0)  # times faster than real time that speech is sent


@frozen
class Agent:
    """The simulated agent's settings, as the platform keeps them for a real one."""

    id: str = ""  # empty: the agent answers to any id
    requires_authorization: bool = False  # a private agent: signed URL or API key
    first_message: str = ""
    text_only: bool = False
    client_events: list[str] = Factory(
        lambda: [
            "audio",
            "interruption",
            "user_transcript",
            "agent_response",
            "agent_response_correction",
            "agent_chat_response_part",
            "agent_response_complete",
            "agent_tool_request",
            "agent_tool_response",
        ]
    )  # metadata, pings, tool calls and errors are always sent
    user_input_audio_format: str = field(default="pcm_16000", validator=check_format)
    agent_output_audio_format: str = field(default="pcm_16000", validator=check_format)
    required_dynamic_variables: list[str] = Factory(list)  # beside those that first_message names
    dynamic_variables: dict[str, Any] = Factory(dict)  # for those that the user leaves out
    allowed_overrides: list[str] = Factory(lambda: ["conversation.text_only"])
    metadata_delay: float = field(default=0.0, validator=ge(0))  # seconds; inf: the metadata never comes
    ping_interval: float = seconds_field(2.0)  # inf: no pings
    input_limit: float = seconds_field(60.0)  # without any input from the user the platform hangs up
    max_duration: float = seconds_field(600.0)

    @property
    def audio_formats(self) -> tuple[str, str]:
        """What is heard, and what is spoken."""
        return self.user_input_audio_format, self.agent_output_audio_format


@frozen
class Scenario:
    """One conversation's worth of agent."""

    name: str = "scenario"
    agent: Agent = Factory(Agent)
    voice: Voice = Factory(Voice)
    steps: Sequence[Step] = ()
    rules: Sequence[Rule] = ()

    @property
    def refusal(self) -> Refuse | None:
        """How the conversation is refused, where it is."""
        return self.steps[0] if self.steps and isinstance(self.steps[0], Refuse) else None

    @property
    def examples(self) -> list[str]:
        """What a user may write to get through the steps, one text for each that is expected."""
        return [step.example for step in self.steps if isinstance(step, ExpectText)]
