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

from convaid.protocol.from_agent import FromAgent
from convaid.shapes import find_choices, has_choices, is_union
from convaid.simulator import fields
from convaid.simulator.brain.settings import Brain
from convaid.simulator.messages import SENDABLE
from convaid.simulator.scenario import STEPS, Send, Step, find_short_field
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
    fields.check_events: {"items": {"enum": fields.EVENTS}},
    fields.check_close_code: {"minimum": 1000, "maximum": 4999},
    fields.check_base64: {"contentEncoding": "base64"},
    fields.check_opcode: {"minimum": 0, "maximum": 15},
    fields.check_status: {"minimum": 400, "maximum": 599},
}
STEPS_REFERENCE = {"$ref": "#/definitions/steps"}


def make_schema() -> dict[str, Any]:
    """Return the schema, as plain JSON values."""
    steps = {
        name: _describe_send() if shape is Send else _allow_short(shape, _describe_class(shape))
        for name, shape in STEPS.items()
    }
    scenario = _describe_class(ScenarioFile)
    scenario["properties"]["brain"] = _allow_short(Brain, scenario["properties"]["brain"])
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "convaid scenario",
        **scenario,
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


def _allow_short(shape: type[Any], table: Mapping[str, Any]) -> Mapping[str, Any]:
    """Let the first field of a step, or of the brain, stand alone, too."""
    short = find_short_field(shape)
    if short is None:
        return table
    return {"description": table["description"], "anyOf": [table["properties"][short.name], table]}


def _describe_send() -> dict[str, Any]:
    """The step that is a message of the platform's, beside which it may have a pause."""
    described = _describe_class(Send)
    pause = described["properties"]["after_ms"]
    return {
        "description": described["description"],
        "oneOf": [_describe_message(name, shape, pause) for name, shape in SENDABLE.items()],
    }


def _describe_message(wire_type: str, shape: type[FromAgent], pause: dict[str, Any]) -> dict[str, Any]:
    """A message as it stands on the wire, but that its ``event_id`` may be left out."""
    payload = _describe_class(shape)
    required = [name for name in payload.get("required", ()) if name != "event_id"]
    payload = {name: part for name, part in payload.items() if name not in ("description", "required")}
    payload |= {"required": required} if required else {}
    table = {shape.payload_key: payload} if shape.payload_key else payload["properties"]
    return {
        "description": _write_plain(inspect.getdoc(shape) or ""),
        "type": "object",
        "properties": {"type": {"const": wire_type}, **table, "after_ms": pause},
        "required": ["type", *([shape.payload_key] if shape.payload_key and required else [])],
        "additionalProperties": False,
    }


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
