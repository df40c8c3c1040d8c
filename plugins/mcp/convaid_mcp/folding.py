"""Any JSON Schema, folded into the platform's small dialect, and the agent's arguments unfolded again (pure).

The dialect has literals, lists and objects, and nothing beside a type and a description. So constraints and defaults
become words of the description; references are put in where they stand; choices that are not texts become texts; and
what has no single type in the dialect (unions, objects with any keys, tuples) becomes a text that holds JSON. `Folded`
turns such values back. Whether they fit, the server judges, by its own schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
from attrs import define, evolve, field, frozen

from convaid import ToolError
from convaid.wording import shorten
from convaid_mcp.wording import describe_constraints, describe_kinds, describe_name

__all__ = ["Folded", "Unfoldable", "fold_parameters"]

Schema = Mapping[str, Any]
Above = tuple[str, ...]
"""The references that lead to where we are: one that comes again never ends."""

LITERALS = ("string", "integer", "number", "boolean")
TOLD = ("description", "title", "default", "examples")  # what is said of a value, and not asked of it
NAMED = ("properties", "patternProperties", "dependentSchemas", "dependencies")  # schemas by names of any kind
PARTS = (
    *("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains", "additionalProperties"),
    *("unevaluatedProperties", "propertyNames", "anyOf", "oneOf", "not", "if", "then", "else"),
)
"""Under which keys there are schemas, or lists of them."""
LONGEST_WHOLE = 500_000  # characters of all that its references stand for, each time: they can come to billions
LONGEST_SCHEMA = 100_000  # characters of one as JSON; no tool needs it, and what we do with a longer one takes long
SCHEMA_LENGTH = 2000  # characters of a schema that stands in a description: a model has to read it


class Unfoldable(Exception):
    """The parameters cannot be told to the platform; ``str()`` says why."""


@frozen
class Folded:
    """A node of the platform's dialect, and the way back."""

    node: dict[str, Any]
    restore: Callable[[Any], Any]
    """Turns a value that fits the node into one for the schema. Raises ToolError where text should be JSON."""
    stands_for_null: bool = False
    """Leaving the value out stands for null, because the dialect has no null for this node."""


def fold_parameters(schema: object) -> Folded:
    """Return the object node for a tool's parameters. Raises Unfoldable."""
    if (length := len(json.dumps(schema))) > LONGEST_SCHEMA:
        raise Unfoldable(f"its JSON Schema has {length} characters, more than {LONGEST_SCHEMA}")
    _check_schema(schema, schema)
    folding = _Folding(schema if isinstance(schema, Mapping) else {})
    root, above = folding.resolve(schema, "parameters", ())
    if root.get("type", "object") != "object":
        raise Unfoldable(f"it takes {json.dumps(root['type'])} for its parameters, and no object")
    if "properties" not in root and ("anyOf" in root or "oneOf" in root):
        raise Unfoldable("it takes one of several objects for its parameters")
    return folding.fold_object(root, "", above)


@define
class _Folding:
    root: Schema
    """What references are looked up in."""
    _lengths: dict[str, int] = field(factory=dict, init=False)
    """Of what each reference stands for, which has been seen to be a schema."""
    _whole: int = field(default=0, init=False)

    def resolve(self, schema: object, place: str, above: Above) -> tuple[dict[str, Any], Above]:
        """Return a schema with its references and its ``allOf`` put in."""
        if schema is True:
            return {}, above
        if not isinstance(schema, Mapping):
            raise Unfoldable(f'"{place}" may have no value at all' if schema is False else f'"{place}" has no schema')
        if strange := next((key for key in ("$dynamicRef", "$recursiveRef") if key in schema), None):
            raise Unfoldable(f'"{place}" is described by {strange}')
        resolved = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        if "$ref" in schema:
            reference = schema["$ref"]
            if reference in above:
                raise Unfoldable(f'"{place}" may contain itself ({reference})')
            target, above = self.resolve(self._look_up(reference, place), place, (*above, reference))
            resolved = _merge(resolved, target)
        for part in schema.get("allOf", ()):
            target, above = self.resolve(part, place, above)
            resolved = _merge(resolved, target)
        return resolved, above

    def _look_up(self, reference: object, place: str) -> object:
        target: Any = self.root
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise Unfoldable(f'"{place}" is described elsewhere ({reference})')
        for step in reference[1:].split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            try:
                target = target[int(key)] if isinstance(target, list) else target[key]
            except (KeyError, IndexError, TypeError, ValueError):
                raise Unfoldable(f'"{place}" is described by {reference}, which is not there') from None
        if reference not in self._lengths:
            _check_schema(target, self.root)
            self._lengths[reference] = len(json.dumps(target))
        self._whole += self._lengths[reference]
        if self._whole > LONGEST_WHOLE:
            raise Unfoldable("its parameters come to too much, with all references put in")
        return target

    def fold(self, schema: object, place: str, above: Above, name: str) -> Folded:
        """Return the node for one value. ``name`` is what it is called where nothing describes it."""
        resolved, above = self.resolve(schema, place, above)
        alternatives = list(self._find_alternatives(resolved, place, above))
        others = [each for each in alternatives if _find_kind(each[0]) != "null"]
        told = _pick_told(resolved)
        if len(others) == 1:
            told = _pick_told(others[0][0]) | told
        kinds = list(dict.fromkeys(_find_kind(each) for each, _ in others))
        if set(kinds) == {"integer", "number"}:
            kinds = ["number"]
        if others and all("enum" in each for each, _ in others):
            folded = _fold_choices([each for each, _ in others], told, name)
        elif len(kinds) == 1 and kinds[0] in LITERALS:
            notes = dict.fromkeys(describe_constraints(_drop_told(each)) for each, _ in others)
            folded = Folded({"type": kinds[0], "description": _describe(told, name, " or ".join(notes))}, _keep)
        elif kinds == ["array"] and len(others) == 1 and _has_like_items(others[0][0]):
            folded = self._fold_list(*others[0], told, place, name)
        elif kinds == ["object"] and len(others) == 1 and others[0][0].get("properties"):
            folded = self.fold_object(others[0][0], place, others[0][1])
            folded.node["description"] = _describe(told, name)
        else:
            inlined = self._inline(_drop_told(resolved), place, above)
            folded = _fold_to_text({_find_kind(each) for each, _ in others}, inlined, told, place, name)
        return _allow_null(folded) if len(others) < len(alternatives) else folded

    def fold_object(self, schema: Schema, place: str, above: Above) -> Folded:
        """Return the node of an object with named properties, as yet without a description."""
        required = schema.get("required", ())
        properties, restores, nulls = {}, {}, []
        for key, inner in schema.get("properties", {}).items():
            is_required = key in required
            if inner is False and not is_required:
                continue
            path = f"{place}.{key}" if place else key
            folded = self.fold(inner, path, above, describe_name(key))
            if is_required and folded.stands_for_null:
                nulls.append(key)
                folded.node["description"] += " (leave it out for null)"
            properties[key], restores[key] = folded.node, folded.restore

        def restore(values: dict[str, Any]) -> dict[str, Any]:
            return dict.fromkeys(nulls) | {key: restores[key](value) for key, value in values.items()}

        named = [key for key in properties if key in required and key not in nulls]
        return Folded({"type": "object", "properties": properties, "required": named}, restore)

    def _fold_list(self, schema: Schema, above: Above, told: Schema, place: str, name: str) -> Folded:
        items = self.fold(schema["items"], f"{place}[]", above, name)
        description = _describe(told, name, describe_constraints(_drop_told(schema)))
        node = {"type": "array", "description": description, "items": items.node}
        return Folded(node, lambda values: [items.restore(value) for value in values])

    def _find_alternatives(self, schema: dict[str, Any], place: str, above: Above) -> Iterator[tuple[Schema, Above]]:
        """Yield what a union consists of; a schema that is none is its only alternative.

        Beside named properties a union only says which of them go together: that is left to the server.
        """
        union = next((key for key in ("anyOf", "oneOf") if key in schema), None)
        if union is not None and "properties" not in schema:
            rest = {key: value for key, value in _drop_told(schema).items() if key != union}
            for member in schema[union]:
                resolved, inner = self.resolve(member, place, above)
                yield from self._find_alternatives(_merge(resolved, rest), place, inner)
        elif isinstance(schema.get("type"), list):
            for kind in schema["type"]:
                yield from self._find_alternatives({**schema, "type": kind}, place, above)
        elif "const" in schema or "enum" in schema:
            choices = [schema["const"]] if "const" in schema else schema["enum"]
            if None in choices and schema.get("type") in (None, "null"):
                yield {"type": "null"}, above
            if choices := [choice for choice in choices if choice is not None]:
                yield {**schema, "enum": choices}, above
        else:
            yield schema, above

    def _inline(self, schema: object, place: str, above: Above) -> Any:
        """Return a schema as it can be shown by itself: with all references put in."""
        if isinstance(schema, Mapping):
            resolved, above = self.resolve(schema, place, above)
            return {
                key: self._inline_part(key, value, place, above)
                for key, value in resolved.items()
                if key not in ("$defs", "definitions", "$schema")
            }
        if isinstance(schema, list):
            return [self._inline(each, place, above) for each in schema]
        return schema

    def _inline_part(self, key: str, value: Any, place: str, above: Above) -> Any:
        if key in NAMED and isinstance(value, Mapping):
            return {name: self._inline(each, place, above) for name, each in value.items()}
        return self._inline(value, place, above) if key in PARTS else value


def _check_schema(schema: object, root: object) -> None:
    """Raise Unfoldable for what is no JSON Schema at all: then nothing can be relied upon in it.

    Patterns are not looked at: nothing here is matched against them.
    """
    from jsonschema import Draft202012Validator, SchemaError  # type: ignore[import-untyped]  # the SDK brings it
    from jsonschema.validators import Draft3Validator, validator_for  # type: ignore[import-untyped]

    dialect = root.get("$schema", "") if isinstance(root, Mapping) else ""
    try:
        validator = validator_for({"$schema": dialect}, default=Draft202012Validator)
    except (TypeError, ValueError, AttributeError):  # not even a text, or not a URL
        raise Unfoldable(f"its JSON Schema is of no known kind ({shorten(str(dialect))})") from None
    if validator is Draft3Validator:
        raise Unfoldable("its JSON Schema is of a kind that is too old (draft 3)")
    try:
        validator.check_schema(schema, format_checker=None)
    except SchemaError as error:
        raise Unfoldable(f"it has an invalid JSON Schema: {error.message}") from None


def _keep(value: Any) -> Any:
    return value


def _merge(first: dict[str, Any], second: Schema) -> dict[str, Any]:
    """Return what holds where both schemas hold; where they say different things of one key, the first has its way."""
    merged = {**second, **first}
    if "properties" in first and "properties" in second:
        merged["properties"] = {**second["properties"], **first["properties"]}
    if "required" in first and "required" in second:
        merged["required"] = [*first["required"], *second["required"]]
    return merged


def _find_kind(schema: Schema) -> str:
    """Return the JSON type that a schema asks for, or that its keys imply; "" for any."""
    kind = schema.get("type")
    if isinstance(kind, str):
        return kind
    for implied, keys in {
        "object": ("properties", "additionalProperties", "patternProperties", "required"),
        "array": ("items", "prefixItems", "minItems", "maxItems"),
        "string": ("pattern", "format", "minLength", "maxLength"),
        "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    }.items():
        if any(key in schema for key in keys):
            return implied
    return ""


def _has_like_items(schema: Schema) -> bool:
    """Whether a list is no tuple, and something is known of its items."""
    return "prefixItems" not in schema and isinstance(schema.get("items"), Mapping)


def _fold_choices(schemas: list[Schema], told: Schema, name: str) -> Folded:
    choices = [choice for each in schemas for choice in each["enum"]]
    texts = [choice if isinstance(choice, str) else json.dumps(choice) for choice in choices]
    if len(set(texts)) < len({json.dumps(choice) for choice in choices}):  # "1" and 1
        texts = [json.dumps(choice) for choice in choices]
    by_text = dict(zip(texts, choices, strict=True))
    words = [_describe(_pick_told(each), "") for each in schemas] if len(schemas) == len(texts) > 1 else []
    notes = "; ".join(f"{text}: {word}" for text, word in zip(texts, words, strict=False) if word)
    node = {"type": "string", "description": _describe(told, name, notes), "enum": list(by_text)}
    return Folded(node, by_text.__getitem__)


def _fold_to_text(kinds: set[str], schema: Schema, told: Schema, place: str, name: str) -> Folded:
    takes_any = not kinds or "" in kinds
    takes_text = takes_any or "string" in kinds
    words = "any value" if takes_any else describe_kinds(kinds - {"string"})
    form = f"{words}, as JSON text" + (", or plain text" if takes_text else "")
    if kinds & {"array", "object"}:
        shown = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
        form += f"; its JSON Schema: {shown if len(shown) <= SCHEMA_LENGTH else shown[:SCHEMA_LENGTH] + '…'}"

    def restore(text: str) -> Any:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            if takes_text:
                return text
            raise ToolError(f'"{place}" is to be {words}, as JSON text, and is not JSON: {error}') from None
        if takes_any or _fits(value, kinds):
            return value
        if takes_text:
            return text
        raise ToolError(f'"{place}" is to be {words}, as JSON text, not {shorten(text)}')

    return Folded({"type": "string", "description": _describe(told, name, form)}, restore)


def _fits(value: object, kinds: set[str]) -> bool:
    match value:
        case None:
            return "null" in kinds
        case bool():
            return "boolean" in kinds
        case str():
            return "string" in kinds
        case int():
            return not kinds.isdisjoint({"integer", "number"})
        case float():
            return "number" in kinds
        case list():
            return "array" in kinds
    return "object" in kinds


def _allow_null(folded: Folded) -> Folded:
    if folded.node["type"] not in LITERALS:
        return evolve(folded, stands_for_null=True)
    node = {**folded.node, "type": [folded.node["type"], "null"]}
    return Folded(node, lambda value: None if value is None else folded.restore(value))


def _pick_told(schema: Schema) -> dict[str, Any]:
    return {key: schema[key] for key in TOLD if key in schema}


def _drop_told(schema: Schema) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in TOLD}


def _describe(told: Schema, name: str, notes: str = "") -> str:
    own = [text for key in ("description", "title") if isinstance(text := told.get(key), str) and text.strip()]
    words = " ".join((own or [name])[0].split())
    notes = "; ".join(filter(None, (notes, describe_constraints(told))))
    return f"{words} ({notes})" if notes else words
