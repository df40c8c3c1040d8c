"""The words that messages about somebody's values share: what stands there, where, and what was probably meant."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

__all__ = ["NOTHING", "describe_value", "escape_controls", "join_path", "nearest", "shorten"]

NOTHING = "nothing (null)"
VALUE_LENGTH = 80  # characters of a value that a message shows


CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What ends a line, steers a terminal, or has it show characters in another order."""


def escape_controls(text: str) -> str:
    """Return the text with control characters written out: it cannot forge a line, or steer a terminal."""
    if text.isprintable():  # nearly always, and much faster than looking for what is not there
        return text
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def nearest(name: str, candidates: Iterable[str], most: int = 1) -> list[str]:
    """Return the candidates that look like ``name`` (whatever the case), best first: for «did you mean»."""
    from difflib import get_close_matches

    by_lowered = {candidate.lower(): candidate for candidate in candidates}
    return [by_lowered[match] for match in get_close_matches(name.lower(), by_lowered, most)]


def join_path(path: str, name: str | int) -> str:
    """Return the path one step deeper, as a person would write it: a list's place in brackets, odd keys quoted."""
    if isinstance(name, int):
        return f"{path}[{name}]"
    key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(shorten(name), ensure_ascii=False)
    return f"{path}.{key}" if path else key


def describe_value(value: object) -> str:
    """Return a few words for a value that somebody wrote, for a message; never longer than a line."""
    match value:
        case None:
            words = NOTHING
        case bool():
            words = str(value).lower()
        case str():
            words = f"the text {json.dumps(shorten(value), ensure_ascii=False)}"
        case int() | float():
            words = f"the number {shorten(_write_number(value))}"
        case dict():
            words = "a table (object)"
        case list():
            words = "a list"
        case _:
            words = f"the {type(value).__name__} {shorten(str(value))}"
    return words


def _write_number(number: float) -> str:
    try:
        return repr(number)
    except ValueError:  # Python does not write out whole numbers of more than 4300 digits
        return "of thousands of digits"


def shorten(text: str) -> str:
    """Return the beginning of a text, as much as fits a message."""
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"
