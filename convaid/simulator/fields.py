"""Fields of a scenario's classes: their checks, which the file's reader and its schema both go by. Pure."""

from __future__ import annotations

import re
from collections.abc import Sized
from typing import Any

from attrs import field

from convaid.audio.formats import AudioFormat

__all__ = [
    "check_close_code",
    "check_format",
    "check_not_empty",
    "check_not_negative",
    "check_pattern",
    "check_positive",
    "check_status",
    "pattern_field",
    "positive_field",
]


def check_pattern(_: object, __: object, pattern: str | None) -> None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None


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


def check_status(_: object, __: object, status: int | None) -> None:
    if status is not None and not 400 <= status < 600:
        raise ValueError("an HTTP status that refuses is from 400 to 599")


def positive_field(default: float | None) -> Any:
    """A number of seconds, or of milliseconds where the name ends so."""
    return field(default=default, validator=check_positive)


def pattern_field(default: str = "") -> Any:
    """A regular expression, searched for anywhere in the text, whatever the case; the empty one fits any text."""
    return field(default=default, validator=check_pattern)
