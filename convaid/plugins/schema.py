"""A function's parameters in the platform's schema dialect, which is a small part of JSON Schema (floor 4).

Nodes are literals (string, integer, number, boolean; ``enum`` for strings), arrays and objects. Any other key makes the
platform refuse the tool, and a literal needs a description, because that is what tells it that the model fills the
value in. Source: the platform's OpenAPI description, ``ObjectJsonSchemaProperty`` and its parts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date, datetime, time
from enum import Enum
from inspect import cleandoc
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from uuid import UUID

import attrs

from convaid.structuring import nearest

__all__ = ["ShapeError", "describe_parameters", "read_docstring", "split_annotated"]

Node = dict[str, Any]

LITERALS: dict[Any, tuple[str, str]] = {
    # the type of the node, and what is added to the description: the dialect knows no formats
    str: ("string", ""),
    int: ("integer", ""),
    float: ("number", ""),
    bool: ("boolean", ""),
    date: ("string", "a date such as 2026-11-22"),
    time: ("string", "a time of day such as 18:30"),
    datetime: ("string", "a date and time such as 2026-11-22T18:30:00+01:00"),
    UUID: ("string", "a UUID"),
}
KNOWN = "str, int, float, bool, Literal or Enum of texts, date, time, datetime, UUID, list, attrs class, TypedDict"
SECTION = re.compile(r"(Args|Arguments|Parameters|Attributes|Returns|Yields|Raises|Notes?|Examples?|See Also):")
PARAMETER_SECTIONS = ("Args", "Arguments", "Parameters", "Attributes")
PARAMETER = re.compile(r"\*{0,2}(\w+)(?: *\([^)]*\))?: *(.*)")


class ShapeError(ValueError):
    """Something in a definition cannot be offered; ``str()`` continues a sentence that begins with the tool's name."""


def describe_parameters(hints: Mapping[str, Any], descriptions: Mapping[str, str], optional: Collection[str]) -> Node:
    """Return the object node of a function's parameters. Raises ShapeError."""
    if strangers := [name for name in descriptions if name not in hints]:
        found = nearest(strangers[0], hints)
        hint = f'; did you mean "{found[0]}"?' if found else ""
        raise ShapeError(f'describes the parameter "{strangers[0]}", which it does not have{hint}')
    return _make_object(hints, descriptions, optional, "", ())


def split_annotated(hint: Any) -> tuple[Any, str]:
    """Return the type and the description of ``Annotated[type, "description"]``; of any other type itself and ""."""
    if get_origin(hint) is not Annotated:
        return hint, ""
    kind, *notes = get_args(hint)
    return kind, next((note for note in notes if isinstance(note, str)), "")


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return what stands before the first section of a docstring, and the descriptions of its «Args:» section."""
    summary: list[str] = []
    descriptions: dict[str, str] = {}
    section, name, margin = "", "", 0
    for line in text.splitlines():
        words, indent = line.strip(), len(line) - len(line.lstrip())
        if indent == 0 and words:
            heading = SECTION.fullmatch(words)
            section, name = heading[1] if heading else "", ""
        if not section:
            summary.append(words)
        elif section in PARAMETER_SECTIONS and indent:
            entry = PARAMETER.fullmatch(words)
            if entry and (not name or indent <= margin):
                name, margin = entry[1], indent
                descriptions[name] = entry[2]
            elif name:
                descriptions[name] = f"{descriptions[name]} {words}".strip()
    return " ".join(" ".join(summary).split()), descriptions


def _make_object(
    hints: Mapping[str, Any],
    descriptions: Mapping[str, str],
    optional: Collection[str],
    place: str,
    above: tuple[type, ...],
) -> Node:
    properties = {}
    for name, hint in hints.items():
        kind, description = split_annotated(hint)
        where = f"{place}.{name}" if place else name
        properties[name] = _make_node(kind, description or descriptions.get(name, ""), where, name in optional, above)
    return {"type": "object", "properties": properties, "required": [name for name in hints if name not in optional]}


def _make_node(kind: Any, description: str, place: str, is_optional: bool, above: tuple[type, ...]) -> Node:
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    kinds = [member for member in members if member is not NoneType]
    is_nullable = len(kinds) < len(members)
    if len(kinds) != 1:
        raise ShapeError(f'has the parameter "{place}" of several types: agents can be told of one only')
    node = _make_plain_node(kinds[0], description, place, above)
    if is_nullable and not is_optional:
        if node["type"] in ("array", "object"):
            raise ShapeError(f'has the parameter "{place}" that may be None: give it the default None')
        node["type"] = [node["type"], "null"]
    return node


def _make_plain_node(kind: Any, description: str, place: str, above: tuple[type, ...]) -> Node:
    kind, inner_description = split_annotated(kind)
    description = inner_description or description
    choices = _find_choices(kind)
    if get_origin(kind) is list or kind is list:
        items = get_args(kind)
        if not items:
            raise ShapeError(f'has the parameter "{place}", a list of what? Write list[str], say')
        node: Node = {"type": "array", "items": _make_node(*_prefer(items[0], description), f"{place}[]", False, above)}
    elif attrs.has(kind) or is_typeddict(kind):
        if kind in above:
            raise ShapeError(f'has the parameter "{place}", which contains itself: agents cannot be told of that')
        node = _make_class_node(kind, place, (*above, kind))
    elif choices:
        node = {"type": "string", "enum": choices}
    elif kind in LITERALS:
        type_name, form = LITERALS[kind]
        node = {"type": type_name}
        description = f"{description} ({form})" if description and form else description
    else:
        raise ShapeError(f'has the parameter "{place}" of the type {_name(kind)}: use one of {KNOWN}')
    if description:
        node["description"] = description
    elif node["type"] != "object":
        example = f'Annotated[{_name(kind)}, "what the agent should know"]'
        raise ShapeError(
            f'has the parameter "{place}" without a description: write {example}, or use the "Args:" section'
        )
    return node


def _prefer(hint: Any, description: str) -> tuple[Any, str]:
    kind, own_description = split_annotated(hint)
    return kind, own_description or description


def _make_class_node(kind: Any, place: str, above: tuple[type, ...]) -> Node:
    hints = get_type_hints(kind, include_extras=True)
    _, descriptions = read_docstring(cleandoc(kind.__doc__ or ""))
    if is_typeddict(kind):
        optional = kind.__optional_keys__
        for name, hint in hints.items():
            if (mark := get_origin(hint)) in (Required, NotRequired):
                if (mark is NotRequired) != (name in optional):
                    raise ShapeError(
                        f'has the parameter "{place}", whose "{name}" is marked where Python does not see it: '
                        f'remove "from __future__ import annotations" from the module of {_name(kind)}'
                    )
                hints[name] = get_args(hint)[0]
    else:
        fields = [field for field in attrs.fields(kind) if field.init]
        hints = {field.name: hints[field.name] for field in fields}
        optional = {field.name for field in fields if field.default is not attrs.NOTHING}
    return _make_object(hints, descriptions, optional, place, above)


def _find_choices(kind: Any) -> list[str]:
    """Return the texts that a Literal or an Enum allows; none for other types and for choices that are not texts."""
    if get_origin(kind) is Literal:
        choices = list(get_args(kind))
    elif isinstance(kind, type) and issubclass(kind, Enum):
        choices = [member.value for member in kind]
    else:
        return []
    return choices if all(type(choice) is str for choice in choices) else []


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind).replace("typing.", "")
