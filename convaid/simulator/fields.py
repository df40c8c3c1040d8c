"""Fields of a scenario's classes: their checks, which the file's reader and its schema both go by. Pure."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import orjson
import pybase64
from attrs import field

from convaid.audio.formats import AudioFormat
from convaid.patterns import find_pattern_problem
from convaid.protocol.from_agent import FROM_AGENT
from convaid.wording import describe_value, nearest

__all__ = [
    "EVENTS",
    "check_base64",
    "check_close_code",
    "check_events",
    "check_format",
    "check_not_empty",
    "check_not_negative",
    "check_opcode",
    "check_pattern",
    "check_positive",
    "check_status",
    "check_writable",
    "pattern_field",
    "positive_field",
]

EVENTS = sorted({*FROM_AGENT, "dtmf_request"} - {"error"})
"""What ``client_events`` can list, as the platform's REST calls have it: errors cannot be left out."""


def check_pattern(_: object, __: object, pattern: str | None) -> None:
    if pattern and (problem := find_pattern_problem(pattern)):
        raise ValueError(problem)


def check_format(_: object, __: object, name: str) -> None:
    AudioFormat.parse(name)


def check_positive(_: object, __: object, number: Any) -> None:
    if number is not None and not number > 0:
        raise ValueError("must be more than 0")


def check_not_negative(_: object, __: object, number: float) -> None:
    if not number >= 0:
        raise ValueError("must be 0 or more")


def check_not_empty(_: object, __: object, items: Sized) -> None:
    if not items:
        raise ValueError("must not be empty")


def check_close_code(_: object, __: object, code: int) -> None:
    if not 1000 <= code < 5000:
        raise ValueError("a close code is from 1000 to 4999")


def check_base64(_: object, __: object, text: str) -> None:
    try:
        pybase64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"is not base64: {error}") from None


def check_events(_: object, __: object, names: list[str]) -> None:
    if unknown := [name for name in names if name not in EVENTS]:
        found = nearest(str(unknown[0]), EVENTS, 3)
        hint = f"did you mean {' or '.join(found)}?" if found else f"known here: {', '.join(EVENTS)}"
        raise ValueError(f"{describe_value(unknown[0])} is no event; {hint}")


def check_opcode(_: object, __: object, opcode: int) -> None:
    if not 0 <= opcode <= 15:
        raise ValueError("the opcode of a WebSocket frame is from 0 to 15")


def check_status(_: object, __: object, status: int | None) -> None:
    if status is not None and not 400 <= status < 600:
        raise ValueError("an HTTP status that refuses is from 400 to 599")


def check_writable(_: object, __: object, values: dict[str, Any]) -> None:
    try:
        orjson.dumps(values)
    except TypeError as error:  # a whole number of more than 64 bits, say
        raise ValueError(f"cannot be written as JSON: {error}") from None


def positive_field(default: float | None) -> Any:
    """A number of seconds, or of milliseconds where the name ends so."""
    return field(default=default, validator=check_positive)


def pattern_field(default: str = "") -> Any:
    """A regular expression, searched for anywhere in the text, whatever the case; the empty one fits any text."""
    return field(default=default, validator=check_pattern)
