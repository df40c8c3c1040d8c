"""Any JSON Schema in the platform's dialect, and the agent's arguments on their way back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from convaid_mcp.folding import NAMED, PARTS, Unfoldable, fold_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

from convaid import ToolError, declare_tool
from convaid.errors import ToolDefinitionError

KEYS = st.sampled_from(
    [
        *(*NAMED, *PARTS, "$ref", "allOf", "$defs", "type", "enum", "const", "required", "title", "description"),
        *("default", "examples", "format", "pattern", "minimum", "exclusiveMinimum", "maxLength", "uniqueItems"),
    ]
)


async def nothing(arguments: dict[str, Any], context: Any) -> None: ...


def fold_one(schema: Any, *, is_required: bool = True, **root: Any) -> tuple[dict[str, Any], Any]:
    """Fold a schema as that of the parameter ``it``, hold the result against the platform's dialect, and return the
    node and what turns a value back."""
    required = ["it"] if is_required else []
    folded = fold_parameters({"type": "object", "properties": {"it": schema}, "required": required, **root})
    tool = declare_tool(nothing, name="tool", description="A tool.", parameters=folded.node)
    assert tool.parameters == folded.node

    def restore(value: Any) -> Any:
        return folded.restore(tool.read_arguments({"it": value}))["it"]

    return folded.node["properties"]["it"], restore


@pytest.mark.parametrize(
    ("schema", "node"),
    [
        ({"type": "string", "description": "A city."}, {"type": "string", "description": "A city."}),
        ({"type": "boolean", "title": "Is open"}, {"type": "boolean", "description": "Is open"}),
        ({"type": "number"}, {"type": "number", "description": "it"}),
        ({"type": "string", "format": "date"}, {"type": "string", "description": "it (a date such as 2026-11-22)"}),
        ({"type": "string", "format": "hostname"}, {"type": "string", "description": "it (format: hostname)"}),
        ({"format": "uuid"}, {"type": "string", "description": "it (a UUID)"}),
        (
            {"type": "string", "minLength": 1, "maxLength": 80, "pattern": "^[A-Z]"},
            {"type": "string", "description": "it (1 to 80 characters; text that matches ^[A-Z])"},
        ),
        (
            {"type": "string", "minLength": 0, "maxLength": 8},
            {"type": "string", "description": "it (at most 8 characters)"},
        ),
        (
            {"type": "integer", "minimum": 0, "exclusiveMaximum": 10, "multipleOf": 2, "default": 4},
            {"type": "integer", "description": "it (0 or more; less than 10; a multiple of 2; default 4)"},
        ),
        (
            {"type": "string", "examples": ["a", "b", "c", "d"], "deprecated": True, "x-other": 1},
            {"type": "string", "description": 'it (such as "a", "b", "c")'},
        ),
        ({"enum": ["a", "b"]}, {"type": "string", "description": "it", "enum": ["a", "b"]}),
        ({"const": "a"}, {"type": "string", "description": "it", "enum": ["a"]}),
        (
            {"oneOf": [{"const": "a", "title": "first"}, {"const": "b", "description": "second"}]},
            {"type": "string", "description": "it (a: first; b: second)", "enum": ["a", "b"]},
        ),
        ({"type": ["integer", "null"]}, {"type": ["integer", "null"], "description": "it"}),
        (
            {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": 5},
            {"type": ["integer", "null"], "description": "it (1 or more; default 5)"},
        ),
        ({"enum": ["a", None]}, {"type": ["string", "null"], "description": "it", "enum": ["a"]}),
        ({"type": ["integer", "number"]}, {"type": "number", "description": "it"}),
        (
            {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "maxLength": 5}]},
            {"type": "string", "description": "it (a date such as 2026-11-22 or at most 5 characters)"},
        ),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
            {
                "type": "array",
                "description": "it (1 or more items; no item twice)",
                "items": {"type": "string", "description": "it"},
            },
        ),
        (
            {
                "type": "object",
                "description": "A place.",
                "properties": {"postCode": {"type": "string"}, "never": False},
                "additionalProperties": False,
                "required": ["postCode"],
            },
            {
                "type": "object",
                "description": "A place.",
                "properties": {"postCode": {"type": "string", "description": "post code"}},
                "required": ["postCode"],
            },
        ),
    ],
)
def test_folds(schema: Any, node: dict[str, Any]) -> None:
    assert fold_one(schema)[0] == node


def test_folds_an_old_draft() -> None:
    schema = {"type": "integer", "minimum": 1, "exclusiveMinimum": True, "maximum": 5, "exclusiveMaximum": False}
    node, _ = fold_one(schema, **{"$schema": "http://json-schema.org/draft-04/schema#"})
    assert node == {"type": "integer", "description": "it (5 or less; more than 1)"}


DEFS = {
    "color": {"type": "string", "enum": ["red"], "description": "A colour."},
    "a/b": {"$ref": "#/$defs/color"},
    "tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}}},
}


def test_puts_references_in() -> None:
    node, _ = fold_one({"$ref": "#/$defs/a~1b"}, **{"$defs": DEFS})
    assert node == {"type": "string", "description": "A colour.", "enum": ["red"]}
    node, _ = fold_one(
        {"allOf": [{"$ref": "#/$defs/color"}], "description": "Paint.", "default": "red"}, **{"$defs": DEFS}
    )
    assert node == {"type": "string", "description": 'Paint. (default "red")', "enum": ["red"]}


def test_joins_what_all_of_asks_for() -> None:
    parts = [
        {"properties": {"a": {"type": "string"}}, "required": ["a"]},
        {"properties": {"b": {"type": "integer"}}, "required": ["b"]},
    ]
    node, _ = fold_one({"type": "object", "allOf": parts})
    assert set(node["properties"]) == set(node["required"]) == {"a", "b"}


@pytest.mark.parametrize(
    ("schema", "told", "given", "meant"),
    [
        ({"enum": [1, 2.5, True, "x"]}, "it", ["1", "2.5", "true", "x"], [1, 2.5, True, "x"]),
        ({"enum": [1, "1"]}, "it", ["1", '"1"'], [1, "1"]),
        ({"type": "string"}, "it", ["5"], ["5"]),
        ({"type": ["string", "null"]}, "it", [None, "null"], [None, "null"]),
        ({"enum": [1, None]}, "it", [None, "1"], [None, 1]),
        ({}, "it (any value, as JSON text, or plain text)", ["5", "[1]", "five", '"5"'], [5, [1], "five", "5"]),
        (True, "it (any value, as JSON text, or plain text)", ["null"], [None]),
        (
            {"type": ["string", "integer"]},
            "it (a whole number, as JSON text, or plain text)",
            ["5", "true", "five", '"5"', "5.5"],
            [5, "true", "five", "5", "5.5"],
        ),
        (
            {"type": ["boolean", "number"]},
            "it (true or false or a number, as JSON text)",
            ["5", "true", "0.5"],
            [5, True, 0.5],
        ),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}},
            "it (an object, as JSON text; its JSON Schema: "
            '{"type":"object","additionalProperties":{"type":"integer"}})',
            ['{"a": 1}'],
            [{"a": 1}],
        ),
        (
            {"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}]},
            "it (a list, as JSON text; its JSON Schema: "
            '{"type":"array","prefixItems":[{"type":"number"},{"type":"number"}]})',
            ["[1, 2]"],
            [[1, 2]],
        ),
        (
            {"type": "array", "items": {"enum": [1, 2]}},
            "it",
            [["1", "2"], []],
            [[1, 2], []],
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], "description": "Paths."},
            "Paths. (a list, as JSON text, or plain text; its JSON Schema: "
            '{"anyOf":[{"type":"string"},{"type":"array","items":{"type":"string"}}]})',
            ["a", '["a", "b"]'],
            ["a", ["a", "b"]],
        ),
    ],
)
def test_turns_values_back(schema: Any, told: str, given: list[Any], meant: list[Any]) -> None:
    node, restore = fold_one(schema)
    assert node["description"] == told
    restored = [restore(value) for value in given]
    assert restored == meant
    assert [type(value) for value in restored] == [type(value) for value in meant]


@pytest.mark.parametrize(
    ("schema", "given", "complaint"),
    [
        ({"type": "object"}, "{oops}", '"it" is to be an object, as JSON text, and is not JSON'),
        ({"type": "object"}, "[1]", '"it" is to be an object, as JSON text, not \\[1\\]'),
        (
            {"type": ["integer", "boolean"]},
            "1.5",
            '"it" is to be true or false or a whole number, as JSON text, not 1.5',
        ),
        ({"type": ["integer", "boolean"]}, "NaN", "is not JSON"),
        ({"type": "array"}, "[" * 100_000, "is not JSON"),
    ],
)
def test_says_what_text_is_to_be(schema: Any, given: str, complaint: str) -> None:
    _, restore = fold_one(schema)
    with pytest.raises(ToolError, match=complaint):
        restore(given)


def test_what_has_no_null_is_left_out_instead() -> None:
    schema = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]}
    folded = fold_parameters({"properties": {"it": schema}, "required": ["it"]})
    assert folded.node["required"] == []
    assert folded.node["properties"]["it"]["description"] == "it (leave it out for null)"
    assert folded.restore({}) == {"it": None}
    assert folded.restore({"it": ["a"]}) == {"it": ["a"]}
    assert fold_parameters({"properties": {"it": schema}}).restore({}) == {}


def test_a_union_beside_properties_is_left_to_the_server() -> None:
    properties = {"a": {"type": "string"}, "b": {"type": "string"}}
    folded = fold_parameters(
        {"type": "object", "properties": properties, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    )
    assert folded.node["required"] == []
    assert set(folded.node["properties"]) == {"a", "b"}


@pytest.mark.parametrize("root", [{}, {"type": "object"}, {"type": "object", "additionalProperties": True}])
def test_no_parameters(root: dict[str, Any]) -> None:
    folded = fold_parameters(root)
    assert folded.node == {"type": "object", "properties": {}, "required": []}
    assert folded.restore({}) == {}


def test_references_cannot_come_to_billions() -> None:
    defs = {f"d{n}": make_twins(f"#/$defs/d{n + 1}") for n in range(30)} | {"d30": {"type": "string"}}
    with pytest.raises(Unfoldable, match="come to too much"):
        fold_parameters({"properties": {"it": {"$ref": "#/$defs/d0"}}, "$defs": defs})


def test_references_cannot_come_to_long_texts_many_times() -> None:
    defs = {"long": {"type": "string", "description": "x" * 50_000}}
    many = {f"p{number}": {"$ref": "#/$defs/long"} for number in range(100)}
    with pytest.raises(Unfoldable, match="come to too much"):
        fold_parameters({"properties": many, "$defs": defs})


@pytest.mark.parametrize(
    "odd",
    [
        *({"enum": 7}, {"type": {}}, {"properties": 3}, {"required": 3, "properties": {"b": {}}}, {"anyOf": 5}),
        *({"allOf": True}, {"format": []}, {"examples": {}}, {"minimum": "x"}, [], 5, None),
    ],
)
def test_what_is_no_schema_is_seen_wherever_a_reference_leads(odd: Any) -> None:
    with pytest.raises(Unfoldable, match=r"invalid JSON Schema|has no schema"):
        fold_parameters({"properties": {"it": {"$ref": "#/x-notes"}}, "x-notes": odd})


@pytest.mark.parametrize("kind", [{}, ["x"], 5, "http://[::1", "http://json-schema.org/draft-03/schema#"])
def test_a_schema_of_a_kind_that_is_not_known(kind: Any) -> None:
    with pytest.raises(Unfoldable, match=r"of no known kind|too old"):
        fold_parameters({"$schema": kind, "properties": {"it": {"required": True}}})


def test_a_schema_that_is_longer_than_any_is_not_even_looked_at() -> None:
    with pytest.raises(Unfoldable, match="has 10000057 characters, more than 100000"):
        fold_parameters({"properties": {"it": {"type": "string", "pattern": "x" * 10_000_000}}})


def test_patterns_are_told_and_not_compiled() -> None:
    node, _ = fold_one({"type": "string", "pattern": "a{99999999999999999999}"})
    assert node["description"] == "it (text that matches a{99999999999999999999})"


def test_keys_may_be_named_as_those_of_schemas() -> None:
    schema = {"type": "object", "properties": {"allOf": True, "$ref": {"type": "string"}, "enum": {}}}
    node, _ = fold_one({"anyOf": [schema, {"type": "string"}], "x-allOf": {"allOf": 5, "$ref": 6}})
    assert '"properties":{"allOf":true,"$ref":{"type":"string"},"enum":{}}' in node["description"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["", "a", "string", "object", "null", "#", "#/x", "#/y"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=15,
)


@settings(max_examples=150, deadline=None)
@given(schema=st.dictionaries(KEYS | st.sampled_from(["x", "y"]), JSON, max_size=5), it=JSON)
def test_whatever_a_server_says_is_folded_or_refused(schema: dict[str, Any], it: Any) -> None:
    with suppress(Unfoldable, ToolDefinitionError):
        folded = fold_parameters({**schema, "properties": {"it": it}})
        declare_tool(nothing, name="tool", description="A tool.", parameters=folded.node)


def make_twins(reference: str) -> dict[str, Any]:
    return {"properties": {"a": {"$ref": reference}, "b": {"$ref": reference}}}


def test_a_long_schema_is_cut() -> None:
    properties = {f"property_{number}": {"type": "string"} for number in range(200)}
    node, _ = fold_one({"type": "array", "prefixItems": [{"type": "object", "properties": properties}]})
    assert len(node["description"]) < 2100
    assert node["description"].endswith("…)")


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"properties": {"it": {"$ref": "#/$defs/tree"}}, "$defs": DEFS}, '"it.left" may contain itself'),
        ({"properties": {"it": {"items": {"$ref": "#"}}}}, '"it\\[\\].it\\[\\]" may contain itself'),
        ({"properties": {"it": {"$ref": "#/$defs/none"}}}, '"it" is described by #/\\$defs/none, which is not there'),
        ({"properties": {"it": {"$ref": "https://example.org/it"}}}, '"it" is described elsewhere'),
        ({"properties": {"it": {"$dynamicRef": "#it"}}}, '"it" is described by \\$dynamicRef'),
        ({"properties": {"it": False}, "required": ["it"]}, '"it" may have no value'),
        ({"type": "array"}, 'it takes "array" for its parameters'),
        ({"oneOf": [{"type": "object"}, {"type": "object"}]}, "it takes one of several objects"),
    ],
)
def test_refuses_what_cannot_be_folded(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unfoldable, match=reason):
        fold_parameters(schema)
