"""JSON Schema of the value classes that the API takes and gives, from their annotations and docstrings (pure)."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs

from convaid.shapes import is_union

__all__ = ["REFERENCE", "collect_schemas", "describe_type"]

REFERENCE = "#/components/schemas/"
LEAVES: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    NoneType: {"type": "null"},
    Any: {},
}


def describe_type(shape: Any, found: dict[str, type] | None = None) -> dict[str, Any]:
    """Return the schema of a type; each value class is a reference, and noted in ``found``."""
    if shape in LEAVES:
        return LEAVES[shape]
    origin, inner = get_origin(shape), get_args(shape)
    if origin is Literal:
        return {"enum": list(inner)}
    if is_union(shape):
        return {"anyOf": [describe_type(each, found) for each in inner]}
    if origin in (list, tuple):
        return {"type": "array", "items": describe_type(inner[0], found)}
    if origin is dict:
        return {"type": "object", "additionalProperties": describe_type(inner[1], found)}
    if attrs.has(shape):
        if found is not None:
            found[shape.__name__] = shape
        return {"$ref": f"{REFERENCE}{shape.__name__}"}
    raise TypeError(f"{shape!r} has no schema")


def collect_schemas(roots: dict[str, type]) -> dict[str, Any]:
    """Return the schemas of value classes and of all that they are made of, by name."""
    schemas: dict[str, Any] = {}
    waiting = dict(roots)
    while waiting:
        name, shape = waiting.popitem()
        found: dict[str, type] = {}
        schemas[name] = _describe_class(shape, found)
        waiting |= {each: kind for each, kind in found.items() if each not in schemas}
    return dict(sorted(schemas.items()))


def _describe_class(shape: type, found: dict[str, type]) -> dict[str, Any]:
    hints, notes = get_type_hints(shape), _read_notes(shape)
    properties, required = {}, []
    for attribute in attrs.fields(shape):
        schema = describe_type(hints[attribute.name], found)
        if note := notes.get(attribute.name):
            schema = {**schema, "description": note}
        if attribute.default is attrs.NOTHING or not attribute.init:
            required.append(attribute.name)
        elif attribute.default is None or isinstance(attribute.default, str | int | float):
            schema = {**schema, "default": attribute.default}
        properties[attribute.name] = schema
    return {
        "type": "object",
        "description": " ".join((inspect.getdoc(shape) or "").split()),
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


@cache
def _read_notes(shape: type) -> dict[str, str]:
    """Return what the strings below the fields of a class say of them."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(shape))).body
    assert isinstance(definition, ast.ClassDef)
    notes, name = {}, ""
    for statement in definition.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)):
                continue
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                notes[name] = " ".join(text.split())
        name = ""
    return notes
