"""Whatever a tool returns, as the one string that the wire has for it (pure).

Text stays as it is, None becomes a neutral sentence, everything else compact JSON; 0, False, [] and {} are themselves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from inspect import iscoroutine
from pathlib import PurePath
from typing import Any
from uuid import UUID

import attrs

__all__ = ["NOTHING", "UnsendableResult", "cut_text", "write_result"]

NOTHING = "Done. There is nothing to report."
"""What the agent gets for None."""

DEPTH_LIMIT = 100  # levels of nesting: no model reads more, and Python's own recursion limit stays far away
BITS_LIMIT = 13_000  # of a whole number, some 3900 digits; Python refuses to write more than 4300


class UnsendableResult(Exception):
    """The value has no JSON form; ``str()`` says where in it and why."""


def write_result(value: object) -> str:
    """Return the text for a tool's return value.

    attrs classes, dataclasses and mappings become objects, their keys text; lists, tuples and sets arrays; dates and
    times ISO 8601; UUIDs, paths and decimals text; enumerations their values; NaN and infinities null, as JSON has
    neither. Raises UnsendableResult for anything else: bytes, a generator, an object of a class of its own, a value
    inside itself.
    """
    if value is None:
        return NOTHING
    plain = _make_plain(value, "the result", ())
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def cut_text(text: str, size: int) -> str:
    """Return ``text`` in at most ``size`` characters, with a visible mark where it was cut, and encodable as UTF-8."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # a lone surrogate cannot be sent
    if len(text) <= size:
        return text
    mark = f"… [cut here; {len(text)} characters in all]"
    return text[: max(0, size - len(mark))] + mark[:size]


def _make_plain(value: object, place: str, above: tuple[int, ...]) -> object:
    """Return ``value`` in JSON's own types. ``above`` holds the ids of the containers around it."""
    match value:
        case Enum():
            return _make_plain(value.value, place, above)
        case None | bool():
            return value
        case str():
            return str.__str__(value)
        case int():
            if value.bit_length() > BITS_LIMIT:
                raise UnsendableResult(f"{place} is a whole number of thousands of digits")
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case datetime() | date() | time():
            return value.isoformat()
        case UUID() | PurePath() | Decimal():
            return str(value)
    if id(value) in above:
        raise UnsendableResult(f"{place} contains itself")
    if len(above) >= DEPTH_LIMIT:
        raise UnsendableResult(f"{place} is nested more than {DEPTH_LIMIT} levels deep")
    return _make_plain_container(value, place, (*above, id(value)))


def _make_plain_container(value: object, place: str, above: tuple[int, ...]) -> object:
    if isinstance(value, list | tuple | set | frozenset):
        return [_make_plain(item, f"{place}[{index}]", above) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {
            (text := _make_key(key, place, above)): _make_plain(item, f"{place}.{text}", above)
            for key, item in value.items()
        }
    if isinstance(value, type):
        raise UnsendableResult(f"{place} is the class {value.__name__}")
    kind: type[Any] = type(value)
    if attrs.has(kind):
        names = [field.name for field in attrs.fields(kind)]
    elif is_dataclass(value):
        names = [field.name for field in fields(value)]
    else:
        if iscoroutine(value):
            value.close()  # Python would warn that it was never awaited
        raise UnsendableResult(f"{place} is of the type {type(value).__name__}, which has no JSON form")
    return {name: _make_plain(getattr(value, name), f"{place}.{name}", above) for name in names}


def _make_key(key: object, place: str, above: tuple[int, ...]) -> str:
    plain = _make_plain(key, f"a key of {place}", above)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
