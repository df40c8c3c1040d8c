"""`@tool`: what agents are told of a function, which arguments it gets, and which definitions are refused."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import date, datetime, time
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict
from uuid import UUID

import jsonschema  # type: ignore[import-untyped]
import pytest
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from convaid import ToolContext, tool
from convaid.errors import StructureError, ToolDefinitionError
from convaid.plugins.schema import read_docstring

REST = Path(__file__).parents[2].parent / "shared" / "protocol" / "rest-openapi-subset.json"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


@frozen
class Lamp:
    """A lamp.

    Attributes:
        name: what the user calls it
        level: how bright, 0 to 100
    """

    name: str
    level: int = field(default=100)

    @level.validator
    def _check_level(self, field: object, value: int) -> None:
        if not 0 <= value <= 100:
            raise ValueError("must be between 0 and 100")


class PlaceBase(TypedDict):
    room: Annotated[str, "which room"]


class Place(PlaceBase, total=False):
    """A place.

    Attributes:
        floor: which floor
    """

    floor: int


class Unmarked(TypedDict):
    floor: NotRequired[int]


# A class would have postponed annotations in this module.
Marked = TypedDict("Marked", {"room": Annotated[str, "which"], "floor": NotRequired[Annotated[int, "which"]]})  # noqa: UP013


@frozen
class Node:
    children: list[Node]


@tool
def light_up(  # noqa: PLR0917  # one of each kind
    lamps: Annotated[list[Lamp], "the lamps"],
    place: Place,
    colours: list[Colour],
    mode: Literal["slow", "fast"],
    until: time | None,
    context: ToolContext,
    since: datetime | None = None,
    day: date = date(2026, 11, 22),
    number: UUID | None = None,
    factor: float = 1.0,
    is_loud: bool = False,
) -> str:
    """Light up lamps.

    Use it when it is dark,
    or when asked to.

    Args:
        colours: one for each lamp,
            in their order
        mode (str): how
        until: when to stop
        since: when it began
        day: of the week
        number: the order's
        factor: by which
        is_loud: whether to
            say it

    Returns:
        Something.
    """
    return "lit"


def test_schema_is_what_the_platform_takes() -> None:
    assert light_up.description == "Light up lamps. Use it when it is dark, or when asked to."
    assert light_up.parameters == {
        "type": "object",
        "properties": {
            "lamps": {
                "type": "array",
                "description": "the lamps",
                "items": {
                    "type": "object",
                    "description": "the lamps",
                    "properties": {
                        "name": {"type": "string", "description": "what the user calls it"},
                        "level": {"type": "integer", "description": "how bright, 0 to 100"},
                    },
                    "required": ["name"],
                },
            },
            "place": {
                "type": "object",
                "properties": {
                    "room": {"type": "string", "description": "which room"},
                    "floor": {"type": "integer", "description": "which floor"},
                },
                "required": ["room"],
            },
            "colours": {
                "type": "array",
                "description": "one for each lamp, in their order",
                "items": {
                    "type": "string",
                    "enum": ["red", "blue"],
                    "description": "one for each lamp, in their order",
                },
            },
            "mode": {"type": "string", "enum": ["slow", "fast"], "description": "how"},
            "until": {"type": ["string", "null"], "description": "when to stop (a time of day such as 18:30)"},
            "since": {
                "type": "string",
                "description": "when it began (a date and time such as 2026-11-22T18:30:00+01:00)",
            },
            "day": {"type": "string", "description": "of the week (a date such as 2026-11-22)"},
            "number": {"type": "string", "description": "the order's (a UUID)"},
            "factor": {"type": "number", "description": "by which"},
            "is_loud": {"type": "boolean", "description": "whether to say it"},
        },
        "required": ["lamps", "place", "colours", "mode", "until"],
    }


def test_schema_is_valid_by_the_platforms_contract() -> None:
    if not REST.exists():
        pytest.skip(f"the platform's contract is not at {REST}")
    contract = json.loads(REST.read_text())
    node = {"$ref": "#/components/schemas/ObjectJsonSchemaProperty-Input", "components": contract["components"]}
    jsonschema.Draft202012Validator(node).validate(light_up.parameters)


def test_arguments_are_structured() -> None:
    arguments = light_up.read_arguments(
        {
            "lamps": [{"name": "desk", "level": 5}, {"name": "door"}],
            "place": {"room": "hall"},
            "colours": ["blue"],
            "mode": "fast",
            "until": "18:30",
            "day": "2026-11-23",
            "number": "12345678-1234-5678-1234-567812345678",
            "factor": 2,
        }
    )
    assert arguments == {
        "lamps": [Lamp("desk", 5), Lamp("door", 100)],
        "place": {"room": "hall"},
        "colours": [Colour.BLUE],
        "mode": "fast",
        "until": time(18, 30),
        "day": date(2026, 11, 23),
        "number": UUID("12345678-1234-5678-1234-567812345678"),
        "factor": 2.0,
    }


def test_every_wrong_argument_is_told_at_once_with_its_path() -> None:
    with pytest.raises(StructureError) as caught:
        light_up.read_arguments(
            {
                "lamps": [{"name": 5, "level": 101}],
                "place": {"room": "hall", "flor": 2},
                "colours": ["blu"],
                "mode": "fast",
                "until": None,
                "is_loud": "false",
                "context": {},
            }
        )
    assert sorted(str(problem) for problem in caught.value.problems) == [
        'colours[0]: expected one of "red", "blue", got the text "blu"; did you mean "blue"?',
        "context: is not known; known here: lamps, place, colours, mode, until, since, day, number, factor, is_loud",
        'is_loud: expected true or false, got the text "false"',
        "lamps[0].level: must be between 0 and 100",
        "lamps[0].name: expected text, got the number 5",
        'place.flor: is not known; did you mean "floor"?',
    ]


@tool
def nothing() -> None:
    """Do nothing."""


@pytest.mark.parametrize("parameters", [None, {}])
def test_no_parameters_are_needed_where_there_are_none(parameters: object) -> None:
    assert nothing.read_arguments(parameters) == {}
    assert nothing.parameters == {"type": "object", "properties": {}, "required": []}


@settings(deadline=None)  # the first use of a shape makes its code
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_anything_for_parameters_is_arguments_or_a_structure_error(parameters: object) -> None:
    for each in (light_up, nothing):
        try:
            arguments = each.read_arguments(parameters)
        except StructureError as error:
            assert error.problems  # noqa: PT017  # either is right
        else:
            assert arguments == {}


def test_marked_keys_of_a_typed_dict_are_optional() -> None:
    @tool
    def go(place: Marked) -> None:
        """Go there."""

    assert go.parameters["properties"]["place"]["required"] == ["room"]
    assert go.read_arguments({"place": {"room": "hall"}}) == {"place": {"room": "hall"}}


def test_names_limits_and_kinds() -> None:
    @tool(name="wait-for-it", description="Wait.", time_limit=60, parallel=2)
    async def wait() -> None:
        """Not this."""

    assert (wait.name, wait.description, wait.time_limit, wait.parallel, wait.is_async) == (
        "wait-for-it",
        "Wait.",
        60,
        2,
        True,
    )
    assert (nothing.name, nothing.time_limit, nothing.parallel, nothing.is_async) == ("nothing", None, None, False)


def test_a_tool_can_be_called_as_the_function_it_was() -> None:
    @tool
    def double(number: Annotated[int, "any"]) -> int:
        """Double it."""
        return 2 * number

    assert double(4) == double(number=4) == 8


def refuse(function: Callable[..., Any], **options: Any) -> str:
    with pytest.raises(ToolDefinitionError) as caught:
        tool(**options)(function)
    return str(caught.value)


def test_what_cannot_be_offered_is_refused_with_the_remedy() -> None:
    def no_docstring() -> None: ...

    def no_description(level: int) -> None:
        """Set it."""

    def no_item_description(place: list[list[int]]) -> None:
        """Set it."""

    def no_type(level) -> None:  # type: ignore[no-untyped-def]
        """Set it."""

    def star(*levels: Annotated[int, "x"]) -> None:
        """Set it."""

    def double_star(**levels: Annotated[int, "x"]) -> None:
        """Set it."""

    def positional(level: Annotated[int, "x"], /) -> None:
        """Set it."""

    def table(levels: Annotated[dict[str, int], "x"]) -> None:
        """Set it."""

    def two_types(level: Annotated[int | str, "x"]) -> None:
        """Set it."""

    def bare_list(levels: Annotated[list, "x"]) -> None:  # type: ignore[type-arg]
        """Set it."""

    def recursive(node: Node) -> None:
        """Set it."""

    def unmarked(place: Unmarked) -> None:
        """Set it."""

    def nullable_list(levels: Annotated[list[int] | None, "x"]) -> None:
        """Set it."""

    def stranger(level: int) -> None:
        """Set it.

        Args:
            levle: how loud
        """

    def unresolved(level: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Set it."""

    def generator() -> Iterator[int]:
        """Set it."""
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        """Set it."""
        yield 1

    def fine() -> None:
        """Set it."""

    refusals: dict[Callable[..., Any], str] = {
        no_docstring: "has no description: say in its docstring",
        no_description: 'has the parameter "level" without a description: write Annotated[int, "what the agent',
        no_item_description: 'has the parameter "place[][]" without a description',
        no_type: 'has the parameter "level" without a type: write level: str, say',
        star: "agents pass arguments by name",
        double_star: "agents pass arguments by name",
        positional: "agents pass arguments by name",
        table: 'has the parameter "levels" of the type dict[str, int]: use one of str, int',
        two_types: 'has the parameter "level" of several types',
        bare_list: "a list of what? Write list[str], say",
        recursive: 'has the parameter "node.children[]", which contains itself',
        unmarked: 'whose "floor" is marked where Python does not see it: remove "from __future__',
        nullable_list: 'has the parameter "levels" that may be None: give it the default None',
        stranger: 'describes the parameter "levle", which it does not have; did you mean "level"?',
        unresolved: 'is annotated with "Nowhere", which its module does not know: import or define',
        generator: "yields: a tool has one answer",
        async_generator: "yields: a tool has one answer",
    }
    function: Callable[..., Any]
    for function, refusal in refusals.items():
        message = refuse(function)
        assert refusal in message
        assert message.startswith(f"{__file__}:")
        assert f'the tool "{function.__name__}" ' in message
    assert "has a name that the platform refuses" in refuse(fine, name="set level")
    assert "has a name that the platform refuses" in refuse(fine, name="x" * 65)
    assert "must be more than 0 s" in refuse(fine, time_limit=0)
    assert "must be more than 0 s" in refuse(fine, time_limit=math.nan)
    assert "at least one call" in refuse(fine, parallel=0)
    with pytest.raises(ToolDefinitionError, match="is not a function"):
        tool(Lamp)


def test_docstrings_are_read_in_parts() -> None:
    text = """Do it.

More.

Args:
    a: one: two
    b (int, optional): three
        four

Even more.

Raises:
    c: never"""
    assert read_docstring(text) == ("Do it. More. Even more.", {"a": "one: two", "b": "three four"})
    assert read_docstring("") == ("", {})


@given(st.text())
def test_no_docstring_is_too_odd(text: str) -> None:
    summary, descriptions = read_docstring(text)
    assert isinstance(summary, str)
    assert isinstance(descriptions, dict)
