"""`declare_tool`: what agents are told, which arguments get through, and which declarations are refused."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convaid import Tool, ToolContext, declare_tool
from convaid.calls import open_tool_calls
from convaid.config.policy import ToolsConfig
from convaid.errors import StructureError, ToolDefinitionError
from convaid.plugins import Plugin, Plugins
from convaid.protocol.from_agent import ClientToolCall

REST = Path(__file__).parents[2].parent / "shared" / "protocol" / "rest-openapi-subset.json"

BOOKING = {
    "type": "object",
    "properties": {
        "room": {"type": "string", "description": "which room", "enum": ["small", "large"]},
        "max-items": {"type": "integer", "description": "how many"},
        "price": {"type": "number", "description": "at most"},
        "note": {"type": ["string", "null"], "description": "for the staff"},
        "guests": {
            "type": "array",
            "description": "who comes",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "full name"},
                    "child": {"type": "boolean", "description": "under 12"},
                },
                "required": ["name"],
            },
        },
        "context": {"type": "string", "description": "why"},
        "arguments": {"type": "string", "dynamic_variable": "customer"},
        "self": {"type": "string", "constant_value": "x"},
    },
    "required": ["room", "note"],
}
FITS: dict[str, Any] = {
    "room": "small",
    "note": None,
    "max-items": 3,
    "price": 5,
    "guests": [{"name": "Ada"}, {"name": "Bo", "child": True}],
    "context": "work",
    "arguments": "C-7",
    "self": "x",
}


def echo(arguments: dict[str, Any], context: ToolContext) -> Any:
    return {"arguments": arguments, "call": context.tool_call_id}


async def echo_async(arguments: dict[str, Any], context: ToolContext) -> Any:
    return echo(arguments, context)


def declare(parameters: Any = None, **options: Any) -> Tool:
    return declare_tool(echo, **{"name": "book", "description": "Book a table", "parameters": parameters, **options})


async def call(tool: Tool, parameters: object) -> tuple[str, Any]:
    plugin = Plugin("p", "p", "p", "1", "ready", tools=(tool,))
    async with open_tool_calls(Plugins((plugin,)), ToolsConfig()) as tool_calls:
        answer = await tool_calls.call(ClientToolCall(tool.name, "call_7", parameters), "main", "conv_1")
        return answer.outcome, answer.result


@pytest.mark.parametrize("function", [echo, echo_async, partial(echo), partial(echo_async)])
async def test_the_function_gets_everything_that_fits(function: Any) -> None:
    tool = declare_tool(function, name="book", description="Book a table", parameters=BOOKING)
    outcome, result = await call(tool, FITS)
    assert outcome == "ok"
    assert json.loads(result) == {"arguments": FITS, "call": "call_7"}
    assert tool.runs == ("room" if tool.is_async else "thread")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"room": "big"}, 'room: expected one of "small", "large", got the text "big"'),
        ({"max-items": "3"}, 'max-items: expected a whole number, got the text "3"'),
        ({"max-items": None}, "max-items: expected a whole number, got nothing (null)"),
        ({"price": True}, "price: expected a number, got true"),
        ({"guests": {}}, "guests: expected a list"),
        ({"guests": [{"child": True}]}, "guests[0].name: is required and missing"),
        ({"guests": [{"name": "Ada", "age": 3}]}, "guests[0].age: is not known"),
        ({"rooom": "small"}, 'rooom: is not known; did you mean "room"?'),
        ({"": "small"}, '"": is not known'),
    ],
)
async def test_what_does_not_fit_is_told_with_its_place(change: dict[str, Any], complaint: str) -> None:
    outcome, result = await call(declare(BOOKING), {**FITS, **change})
    assert outcome == "invalid"
    assert complaint in result


async def test_without_parameters_there_is_nothing_to_give() -> None:
    assert declare().parameters == {"type": "object", "properties": {}, "required": []}
    assert (await call(declare(), None))[0] == "ok"
    assert (await call(declare(), {}))[0] == "ok"
    assert (await call(declare(), {"a": 1}))[0] == "invalid"


def test_what_is_omitted_need_not_come() -> None:
    tool = declare({"properties": {"a": {"type": "string", "is_omitted": True}}})
    assert tool.read_arguments({}) == {}


@given(st.text().filter(lambda name: name.isprintable() and name and not {*"\"'\\"} & {*name}))
def test_any_other_name_can_be_a_parameter(name: str) -> None:
    tool = declare({"properties": {name: {"type": "integer", "description": "a"}}, "required": [name]})
    assert tool.read_arguments({name: 3}) == {name: 3}
    with pytest.raises(StructureError):
        tool.read_arguments({name: "3"})


def test_options_are_those_of_a_typed_tool() -> None:
    told = declare(BOOKING, time_limit=30, pre_tool_speech="force").describe()
    assert (told["response_timeout_secs"], told["pre_tool_speech"], told["expects_response"]) == (35, "force", True)
    assert declare(runs="process").runs == "process"


def test_nested_objects_are_complete_for_whoever_reads_them() -> None:
    inner = {"type": "object", "properties": {"a": {"type": "object"}}}
    told = declare({"properties": {"list": {"type": "array", "items": inner}}}).parameters
    empty = {"type": "object", "properties": {}, "required": []}
    assert told["properties"]["list"]["items"] == {"type": "object", "properties": {"a": empty}, "required": []}


def test_the_platform_takes_it() -> None:
    if not REST.exists():
        pytest.skip("the platform's OpenAPI description is not here: it belongs at ../shared/protocol")
    schema = {"$ref": "#/components/schemas/ClientToolConfig-Input", **json.loads(REST.read_text())}
    jsonschema.validate(declare(BOOKING).describe(), schema)


A = {"type": "string", "description": "a"}


@pytest.mark.parametrize(
    ("parameters", "complaints"),
    [
        ({"type": "array"}, ['type: expected "object", got the text "array"']),
        ({"$schema": "x", "title": "y"}, ['"$schema": is not known; the platform knows type', "title: is not known"]),
        ({"properties": [A]}, ["properties: expected a table (object), got a list"]),
        ({"properties": {"a": "string"}}, ['properties.a: expected a table (object), got the text "string"']),
        ({"properties": {"": A}}, ["has the name ''"]),
        ({"properties": {"a'b": A}}, ['has the name "a\'b"']),
        ({"properties": {"a\nb": A}}, ["has the name 'a\\nb'"]),
        ({"properties": {"a": {**A, "minimum": 1}}}, ["properties.a.minimum: is not known; the platform knows type"]),
        ({"properties": {"a": {**A, "desciption": "b"}}}, ['did you mean "description"?']),
        ({"properties": {"a": {"type": "string"}}}, ["properties.a: has no description"]),
        ({"properties": {"a": {"type": "string", "description": " "}}}, ["properties.a: has no description"]),
        ({"properties": {"a": {"type": "string", "description": 1}}}, ["description: expected text, got the number 1"]),
        ({"properties": {"a": {**A, "constant_value": 0}}}, ["has description and constant_value"]),
        ({"properties": {"a": {**A, "dynamic_variable": "x"}}}, ["has description and dynamic_variable"]),
        ({"properties": {"a": {"type": "text", "description": "a"}}}, ["properties.a.type: is one of string"]),
        ({"properties": {"a": {"type": ["string", "integer"], "description": "a"}}}, ["a.type: is one of string"]),
        ({"properties": {"a": {"type": [["string"], "null"], "description": "a"}}}, ["a.type: is one of string"]),
        ({"properties": {"a": {"description": "a"}}}, ["properties.a.type: is one of string"]),
        ({"properties": {"a": {"type": "array", "description": "a"}}}, ["a.items: expected a table (object)"]),
        ({"properties": {"a": {"type": "array", "items": {"type": "string"}}}}, ["a.items: has no description"]),
        ({"properties": {"a": {**A, "enum": []}}}, ["a.enum: is a list of one text or more"]),
        ({"properties": {"a": {**A, "enum": [1]}}}, ["a.enum: is a list of one text or more"]),
        ({"properties": {"a": {"type": "integer", "description": "a", "enum": [1]}}}, ["a.enum: is for texts"]),
        ({"properties": {"room": A}, "required": ["roon"]}, ['the text "roon"', 'did you mean "room"?']),
        ({"properties": {"room": A}, "required": [["room"]]}, ["names a list"]),
        ({"properties": {"room": A}, "required": True}, ["required: expected a list, got true"]),
        ({"properties": {"a": {"type": "string", "is_omitted": True}}, "required": ["a"]}, ["is_omitted: it never"]),
        (
            {"properties": {"a": {"type": "string", "dynamic_variable": "x", "allowed_values": {}}}},
            ["a.allowed_values: is for values that the agent fills in"],
        ),
    ],
)
def test_what_the_platform_would_refuse_is_refused_with_its_place(parameters: Any, complaints: list[str]) -> None:
    with pytest.raises(ToolDefinitionError) as raised:
        declare(parameters)
    assert str(raised.value).startswith('the tool "book" has parameters that cannot be: ')
    for complaint in complaints:
        assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": "book a table"}, "has a name that the platform refuses"),
        ({"description": " "}, "has no description"),
        ({"time_limit": 0}, "has a time_limit of 0"),
        ({"runs": "room"}, 'runs="room"'),
        ({"time_limt": 5}, "has an option that cannot be"),
    ],
)
def test_what_else_cannot_be_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ToolDefinitionError, match=complaint):
        declare(**options)
