"""A function's parameters in the platform's schema dialect, which is a small part of JSON Schema (floor 4).

Nodes are literals (string, integer, number, boolean; ``enum`` for strings), arrays and objects. Any other key makes the
platform refuse the tool, and a literal needs a description, because that is what tells it that the model fills the
value in. What the dialect has no word for (constraints, choices that are not texts, members of a union) is told in the
description, and held against the arguments here. A union of several JSON types is a string to the platform. Source:
the platform's OpenAPI description, ``ObjectJsonSchemaProperty`` and its parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import date, datetime, time
from inspect import cleandoc
from types import NoneType
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

from convaid.constraints import Constraint, Range, find_constraints
from convaid.shapes import describe_shape, find_choices, find_json_types, has_choices, is_union
from convaid.structuring import nearest

__all__ = ["ShapeError", "describe_parameters", "read_docstring", "split_annotated"]

Node = dict[str, Any]

FORMS: dict[Any, str] = {
    # what is added to the description of each: the dialect knows no formats
    str: "",
    int: "",
    float: "",
    bool: "",
    date: "a date such as 2026-11-22",
    time: "a time of day such as 18:30",
    datetime: "a date and time such as 2026-11-22T18:30:00+01:00",
    UUID: "a UUID",
}
KNOWN = "str, int, float, bool, Literal or Enum of those, date, time, datetime, UUID, list, attrs class, TypedDict"
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
        where = f"{place}.{name}" if place else name
        properties[name] = _make_node(hint, descriptions.get(name, ""), where, name in optional, above)
    return {"type": "object", "properties": properties, "required": [name for name in hints if name not in optional]}


def _make_node(hint: Any, description: str, place: str, is_optional: bool, above: tuple[type, ...]) -> Node:
    kind, description, constraints, is_nullable = _unwrap(hint, description)
    _require_applicable(constraints, kind, place)
    form = ""
    if kind is list or get_origin(kind) is list:
        if not (items := get_args(kind)):
            raise ShapeError(f'has the parameter "{place}", a list of what? Write list[str], say')
        node: Node = {"type": "array", "items": _make_node(items[0], description, f"{place}[]", False, above)}
    elif attrs.has(kind) or is_typeddict(kind):
        if kind in above:
            raise ShapeError(f'has the parameter "{place}", which contains itself: agents cannot be told of that')
        node = _make_class_node(kind, place, (*above, kind))
    else:
        node, form = _make_literal(kind, place)
    if forms := ", ".join(filter(None, (form, *map(str, constraints)))):
        description = description and f"{description} ({forms})"
    if description:
        node["description"] = description
    elif node["type"] != "object":
        example = f'Annotated[{_name(kind)}, "what the agent should know"]'
        raise ShapeError(
            f'has the parameter "{place}" without a description: write {example}, or use the "Args:" section'
        )
    if is_nullable and not is_optional:
        if node["type"] in ("array", "object"):
            raise ShapeError(f'has the parameter "{place}" that may be None: give it the default None')
        node["type"] = [node["type"], "null"]
    return node


def _unwrap(hint: Any, description: str = "") -> tuple[Any, str, tuple[Constraint, ...], bool]:
    """Return the type inside ``Annotated`` and ``| None``, what it is annotated with, and whether it may be None."""
    constraints: tuple[Constraint, ...] = ()
    is_nullable = False
    while True:
        if get_origin(hint) is Annotated:
            constraints += find_constraints(hint)
            hint, own_description = split_annotated(hint)
            description = own_description or description
        elif (is_union(hint) or get_origin(hint) is Literal) and {None, NoneType} & {*get_args(hint)}:
            is_nullable = True
            rest = tuple(member for member in get_args(hint) if member not in (None, NoneType))
            hint = (Union if is_union(hint) else Literal)[rest] if rest else NoneType
        else:
            return hint, description, constraints, is_nullable


def _require_applicable(constraints: tuple[Constraint, ...], kind: Any, place: str) -> None:
    for constraint in constraints:
        if (get_origin(kind) or kind) not in constraint.applies_to:
            names = ", ".join(applicable.__name__ for applicable in constraint.applies_to)
            raise ShapeError(f'has the parameter "{place}" with {constraint!r}: that is for {names}, not {_name(kind)}')
        if isinstance(constraint, Range):
            for bound in (constraint.least, constraint.most):
                if type(bound) not in (kind, NoneType) and (type(bound), kind) != (int, float):
                    raise ShapeError(f'has the parameter "{place}" with the bound {bound!r}, which is no {_name(kind)}')


def _make_literal(kind: Any, place: str) -> tuple[Node, str]:
    """Return a literal's node, and in words what it cannot say."""
    if not is_union(kind):
        if has_choices(kind) and all(type(choice) is str for choice in find_choices(kind)):
            return {"type": "string", "enum": find_choices(kind)}, ""
        if kind not in FORMS and not _has_plain_choices(kind):
            raise ShapeError(f'has the parameter "{place}" of the type {_name(kind)}: use one of {KNOWN}')
        form = _describe_choices(kind) if has_choices(kind) else FORMS[kind]
    else:
        members = [_unwrap(member) for member in get_args(kind)]
        for member, _, constraints, _ in members:
            _require_applicable(constraints, member, place)
            if member not in FORMS and not _has_plain_choices(member):
                raise ShapeError(
                    f'has the parameter "{place}" of several types, and agents cannot be told of {_name(member)} as '
                    "one of them: give each a parameter of its own, with the default None"
                )
        if len(find_json_types(kind)) > 1 and any(member is str for member, *_ in members):
            raise ShapeError(
                f'has the parameter "{place}" of several types, which all come as text because str is among them: '
                "write str alone, or name the texts with a Literal"
            )
        form = "; or ".join(", ".join((describe_shape(member), *map(str, cs))) for member, _, cs, _ in members)
    types = find_json_types(kind)
    return {"type": min(types) if len(types) == 1 else "string"}, form


def _describe_choices(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return describe_shape(kind)
    return "one of " + ", ".join(f"{json.dumps(member.value)}: {member.name}" for member in kind)  # 3 alone says little


def _has_plain_choices(kind: Any) -> bool:
    choices = find_choices(kind) if has_choices(kind) else []
    return bool(choices) and all(type(choice) in (str, int, float, bool) for choice in choices)


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


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind).replace("typing.", "")
