"""What a type annotation asks for: in words, for messages and descriptions, and in JSON's terms (floor 1, pure)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum, EnumType
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from convaid.wording import NOTHING

__all__ = ["SEQUENCES", "describe_shape", "find_choices", "find_json_types", "find_members", "has_choices", "is_union"]

SEQUENCES: dict[Any, Callable[[list[Any]], Any]] = {
    list: lambda items: items,
    Sequence: lambda items: items,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
}
LEAVES: dict[Any, tuple[str, str]] = {
    # in words, and in JSON
    str: ("text", "string"),
    int: ("a whole number", "integer"),
    float: ("a number", "number"),
    bool: ("true or false", "boolean"),
    NoneType: (NOTHING, "null"),
    date: ('a date such as "2026-11-22"', "string"),
    time: ('a time of day such as "18:30"', "string"),
    datetime: ('a date and time such as "2026-11-22T18:30:00Z"', "string"),
    UUID: ("a UUID as text", "string"),
    Path: ("a path as text", "string"),
    Decimal: ('a decimal number as text, such as "12.50"', "string"),
}


def is_union(shape: Any) -> bool:
    return get_origin(shape) in (Union, UnionType)


def has_choices(shape: Any) -> bool:
    """Whether it is a Literal or an Enum."""
    return get_origin(shape) is Literal or isinstance(shape, EnumType)


def find_members(shape: Any) -> list[Any]:
    """Return what a Literal or an Enum consists of."""
    return list(shape) if isinstance(shape, EnumType) else list(get_args(shape))


def find_choices(shape: Any) -> list[Any]:
    """Return the plain values that a Literal or an Enum allows."""
    return [member.value if isinstance(member, Enum) else member for member in find_members(shape)]


def describe_shape(shape: Any) -> str:
    """Return what is expected, in a few words that need no context: ``a whole number or nothing (null)``."""
    origin = get_origin(shape) or shape
    if origin in LEAVES:
        return LEAVES[origin][0]
    if origin in SEQUENCES:
        return "a list"
    if has_choices(shape):
        return "one of " + ", ".join(json.dumps(choice, ensure_ascii=False) for choice in find_choices(shape))
    if origin is Annotated:
        return describe_shape(get_args(shape)[0])
    if is_union(shape):
        members = [member for member in get_args(shape) if member is not int or float not in get_args(shape)]
        return " or ".join(dict.fromkeys(map(describe_shape, members)))
    return "a table (object)"


def find_json_types(shape: Any) -> frozenset[str]:
    """Return JSON's names for the types that a value of this shape may have there: ``{"integer", "null"}``."""
    origin = get_origin(shape) or shape
    if origin in LEAVES:
        return frozenset({LEAVES[origin][1]})
    if origin in SEQUENCES:
        return frozenset({"array"})
    if has_choices(shape):
        return _join_json_types(map(type, find_choices(shape)))
    if origin is Annotated:
        return find_json_types(get_args(shape)[0])
    if is_union(shape):
        return _join_json_types(get_args(shape))
    return frozenset({"object"})


def _join_json_types(shapes: Iterable[Any]) -> frozenset[str]:
    found = frozenset[str]().union(*map(find_json_types, shapes))
    return found - {"integer"} if "number" in found else found  # every integer is a number
