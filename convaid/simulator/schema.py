"""The JSON Schema of a scenario's file, generated from the classes that it is read into: for editors, and for people.

It says what the reader says, but for what only values can tell: that a pattern is a regular expression, a file there.
Draft 7, because editors for TOML know it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

import attrs

from convaid.shapes import find_choices, has_choices, is_union
from convaid.simulator import fields
from convaid.simulator.scenario import STEPS, Step, find_short_field
from convaid.simulator.scenario_file import ScenarioFile

__all__ = ["make_schema"]

LEAVES: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Path: {"type": "string"},
    Any: {},
}
CHECKS: dict[Callable[..., Any] | None, dict[str, Any]] = {
    fields.check_not_empty: {"minItems": 1},
    fields.check_not_negative: {"minimum": 0},
    fields.check_positive: {"exclusiveMinimum": 0},
    fields.check_pattern: {"format": "regex"},
    fields.check_close_code: {"minimum": 1000, "maximum": 4999},
    fields.check_status: {"minimum": 400, "maximum": 599},
}
STEPS_REFERENCE = {"$ref": "#/definitions/steps"}


def make_schema() -> dict[str, Any]:
    """Return the schema, as plain JSON values."""
    steps = {name: _allow_short(shape, _describe_class(shape)) for name, shape in STEPS.items()}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "convaid scenario",
        **_describe_class(ScenarioFile),
        "definitions": {
            "steps": {
                "description": "What the agent does, in order; each step is a table with one key, its name.",
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": steps,
                    "additionalProperties": False,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            }
        },
    }


def _allow_short(shape: type[Step], table: Mapping[str, Any]) -> Mapping[str, Any]:
    """Let a step's first field stand alone, too."""
    short = find_short_field(shape)
    if short is None:
        return table
    return {"description": table["description"], "anyOf": [table["properties"][short.name], table]}


def _describe_class(shape: type[Any]) -> dict[str, Any]:
    attrs.resolve_types(shape)
    described = {field.name: _describe_field(field) for field in attrs.fields(shape)}
    required = [field.name for field in attrs.fields(shape) if field.default is attrs.NOTHING]
    return {
        "description": _write_plain(inspect.getdoc(shape) or ""),
        "type": "object",
        "properties": described,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _describe_field(field: attrs.Attribute[Any]) -> dict[str, Any]:
    described = _describe_shape(field.type) | CHECKS.get(field.validator, {})
    if isinstance(field.default, str | int | float) and field.default not in ("", False):
        described["default"] = field.default
    return described


def _describe_shape(shape: Any) -> dict[str, Any]:
    origin, arguments = get_origin(shape) or shape, get_args(shape)
    if origin is Annotated:
        words = arguments[1]
        return {"description": words[0].upper() + words[1:], **_describe_shape(arguments[0])}
    if origin in LEAVES:
        return dict(LEAVES[origin])
    if is_union(shape):  # TOML has no null: what may be None is what may be left out
        (member,) = (member for member in arguments if member is not NoneType)
        return _describe_shape(member)
    if has_choices(shape):
        return {"enum": find_choices(shape)}
    if origin in (list, Sequence):
        return STEPS_REFERENCE if arguments == (Step,) else {"type": "array", "items": _describe_shape(arguments[0])}
    if origin is dict:
        return {"type": "object"}
    return _describe_class(shape)


def _write_plain(text: str) -> str:
    """A docstring as a paragraph of plain text."""
    return re.sub(r"\s+", " ", text.replace("``", "`"))
