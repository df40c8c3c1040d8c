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
from itertools import takewhile
from pathlib import PurePath
from typing import Any
from uuid import UUID

import attrs
from attrs import define

__all__ = ["NOTHING", "UnsendableResult", "cut_text", "write_result"]

NOTHING = "Done. There is nothing to report."
"""What the agent gets for None."""

DEPTH_LIMIT = 100  # levels of nesting: no model reads more, and Python's own recursion limit stays far away
BITS_LIMIT = 13_000  # of a whole number, some 3900 digits; Python refuses to write more than 4300


class UnsendableResult(Exception):
    """The value has no JSON form; ``str()`` says where in it and why."""


def write_result(value: object, size: int) -> str:
    """Return the text for a tool's return value, in at most ``size`` characters: what is longer is cut, with a mark.

    attrs classes, dataclasses and mappings become objects, their keys text; lists, tuples and sets arrays; dates and
    times ISO 8601; UUIDs, paths and decimals text; enumerations their values; NaN and infinities null, as JSON has
    neither. Raises UnsendableResult for anything else: bytes, a generator, an object of a class of its own, a value
    inside itself. What would be cut off is not even looked at: to write it would keep the interpreter's lock for long.
    """
    if value is None:
        return cut_text(NOTHING, size)
    if isinstance(value, str) and not isinstance(value, Enum):
        return cut_text(value, size)
    writer = _Writer(size)
    plain = writer.make_plain(value, "the result", ())
    text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    return cut_text(text, size, is_whole=writer.left >= 0)


def cut_text(text: str, size: int, *, is_whole: bool = True) -> str:
    """Return ``text`` in at most ``size`` characters, with a visible mark where it was cut, and encodable as UTF-8."""
    text = str.__str__(text)  # of a class of its own, it may behave in its own way
    if len(text) > size:
        mark = f"… [cut here; {'' if is_whole else 'more than '}{len(text)} characters in all]"
        text = text[: max(0, size - len(mark))] + mark[:size]
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # a lone surrogate cannot be sent
    return text


@define
class _Writer:
    """Makes values plain, in JSON's own types, until they fill so many characters."""

    left: int
    """Characters; below 0 once there is more than fits, and then the rest is left out."""

    def make_plain(self, value: object, place: str, above: tuple[int, ...]) -> object:
        """Return ``value`` in JSON's own types. ``above`` holds the ids of the containers around it."""
        if isinstance(value, Enum):
            return self.make_plain(value.value, place, above)
        self.left -= 1  # whatever it is, it takes a character at least
        match value:
            case None | bool():
                return value
            case str():
                return self._take(str.__str__(value))
            case int():
                if value.bit_length() > BITS_LIMIT:
                    raise UnsendableResult(f"{place} is a whole number of thousands of digits")
                self.left -= value.bit_length() // 4  # a digit has 3.3 bits
                return int(value)
            case float():
                return float(value) if math.isfinite(value) else None
            case datetime() | date() | time():
                return self._take(value.isoformat())
            case UUID() | PurePath() | Decimal():
                return self._take(str(value))
        if id(value) in above:
            raise UnsendableResult(f"{place} contains itself")
        if len(above) >= DEPTH_LIMIT:
            raise UnsendableResult(f"{place} is nested more than {DEPTH_LIMIT} levels deep")
        return self._make_plain_container(value, place, (*above, id(value)))

    def _make_plain_container(self, value: object, place: str, above: tuple[int, ...]) -> object:
        if isinstance(value, list | tuple | set | frozenset):
            items = enumerate(takewhile(self._has_room, value))
            return [self.make_plain(item, f"{place}[{index}]", above) for index, item in items]
        if isinstance(value, Mapping):
            return {
                (text := self._make_key(key, place, above)): self.make_plain(item, f"{place}.{text}", above)
                for key, item in takewhile(self._has_room, value.items())
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
        return {name: self.make_plain(getattr(value, name), f"{place}.{name}", above) for name in names}

    def _make_key(self, key: object, place: str, above: tuple[int, ...]) -> str:
        plain = self.make_plain(key, f"a key of {place}", above)
        return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, separators=(",", ":"))

    def _take(self, text: str) -> str:
        text = text[: max(0, self.left) + 2]  # so that it is seen to be too long
        self.left -= len(text)
        return text

    def _has_room(self, _: object) -> bool:
        return self.left >= 0
