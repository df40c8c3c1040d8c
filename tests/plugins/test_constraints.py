"""What the platform's dialect has no word for: told in the description, held against the arguments here."""

import json
from datetime import date, datetime, time
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import jsonschema  # type: ignore[import-untyped]
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from convaid import Length, Pattern, Range, Tool, tool
from convaid.errors import StructureError, ToolDefinitionError
from convaid.structuring import structure

REST = Path(__file__).parents[2].parent / "shared" / "protocol" / "rest-openapi-subset.json"


class Level(IntEnum):
    LOW = 1
    HIGH = 3


class Factor(Enum):
    HALF = 0.5
    WHOLE = 1.0


class Speed(Enum):
    AUTO = "auto"
    TEN = 10


class Colour(Enum):
    RED = "red"


@frozen
class Lamp:
    """A lamp.

    Attributes:
        level: how bright
    """

    level: Annotated[int, Range(0, 100)]


class Place(TypedDict):
    room: Annotated[str, "which room", Length(1, 5)]
    floor: NotRequired[Annotated[int, Range(-1), "which floor"]]


def define(kind: Any, default: Any = ...) -> Tool:
    """A tool with one parameter, "it", of the given type."""

    def take(it):  # type: ignore[no-untyped-def]
        """Take it."""

    take.__annotations__ = {"it": kind}
    take.__defaults__ = () if default is ... else (default,)
    return tool(take)


def describe(kind: Any, default: Any = ...) -> tuple[Any, str]:
    """What the platform is told of the parameter: its type and its description."""
    node = define(kind, default).parameters["properties"]["it"]
    return node["type"], node.get("description", "")


KINDS: list[tuple[Any, Any, str, Any, Any, Any, str]] = [
    # type; JSON type; description; a value as it comes, and as the function gets it; a wrong value and what is said
    (Annotated[int, "x", Range(0, 100)], "integer", "x (0 to 100)", 5, 5, 101, "must be 0 to 100, got the number 101"),
    (Annotated[float, "x", Range(0)], "number", "x (0 or more)", 1, 1.0, -0.5, "must be 0 or more, got the number -0."),
    (Annotated[float, Range(most=1.5), "x"], "number", "x (1.5 or less)", 1.5, 1.5, 2, "must be 1.5 or less, got the"),
    (
        Annotated[date, "x", Range(date(2026, 1, 1))],
        "string",
        "x (a date such as 2026-11-22, 2026-01-01 or more)",
        "2026-05-05",
        date(2026, 5, 5),
        "2025-05-05",
        "must be 2026-01-01 or more, got the date 2025-05-05",
    ),
    (
        Annotated[str, "x", Pattern(r"[A-Z]{3}")],
        "string",
        "x (text that matches [A-Z]{3})",
        "ABC",
        "ABC",
        "ABCD",
        'must be text that matches [A-Z]{3}, got the text "ABCD"',
    ),
    (Annotated[str, "x", Length(1, 3)], "string", "x (of length 1 to 3)", "ab", "ab", "", "must be of length 1 to 3, "),
    (Annotated[list[int], "x", Length(most=2)], "array", "x (of length 2 or less)", [1], [1], [1, 2, 3], "got 3"),
    (Annotated[list[Annotated[int, Range(0)]], "x"], "array", "x", [0], [0], [-1], "it[0]: must be 0 or more"),
    (Annotated[Level, "x"], "integer", "x (one of 1: LOW, 3: HIGH)", 3, Level.HIGH, 2, "expected one of 1, 3, got the"),
    (Annotated[Factor, "x"], "number", "x (one of 0.5: HALF, 1.0: WHOLE)", 1, Factor.WHOLE, 2, "expected one of 0.5"),
    (Annotated[Literal[1, 2], "x"], "integer", "x (one of 1, 2)", 2, 2, "2", 'expected one of 1, 2, got the text "2"'),
    (Annotated[Literal["a", None], "x"], ["string", "null"], "x", None, None, "b", 'expected one of "a", null'),
    (Annotated[Speed, "x"], "string", 'x (one of "auto": AUTO, 10: TEN)', "10", Speed.TEN, "11", "expected one of "),
    (Annotated[Colour | None, "x"], ["string", "null"], "x", "red", Colour.RED, "blue", "expected one of"),
    (
        Annotated[int | float, "x"],
        "number",
        "x (a whole number; or a number)",
        5,
        5,
        "5",
        "expected a number, got the ",
    ),
    (
        Annotated[Annotated[int, Range(0, 9)] | Literal["auto"], "x"],
        "string",
        'x (a whole number, 0 to 9; or one of "auto")',
        "5",
        5,
        "10",
        "must be 0 to 9, got the number 10",
    ),
    (
        Annotated[int | bool, "x"],
        "string",
        "x (a whole number; or true or false)",
        "true",
        True,
        "2.5",
        'expected a whole number or true or false, got the text "2.5"',
    ),
    (
        Annotated[date | time, "x"],
        "string",
        'x (a date such as "2026-11-22"; or a time of day such as "18:30")',
        "18:30",
        time(18, 30),
        "soon",
        "expected a date such as",
    ),
    (
        Annotated[Annotated[int, Range(0)] | None, "x"],
        ["integer", "null"],
        "x (0 or more)",
        None,
        None,
        -1,
        "must be 0 ",
    ),
    (Annotated[int | None, "x", Range(0)], ["integer", "null"], "x (0 or more)", None, None, -1, "must be 0 or more"),
    (Lamp, "object", "", {"level": 5}, Lamp(5), {"level": 101}, "it.level: must be 0 to 100, got the number 101"),
    (Place, "object", "", {"room": "a", "floor": -1}, {"room": "a", "floor": -1}, {"room": ""}, "it.room: must be of"),
]


@pytest.mark.parametrize("row", KINDS, ids=lambda row: str(row[0]))
def test_what_the_dialect_cannot_hold_is_told_and_checked(row: tuple[Any, ...]) -> None:
    kind, json_type, description, value, argument, wrong, complaint = row
    assert describe(kind) == (json_type, description)
    arguments = define(kind).read_arguments({"it": value})
    assert arguments == {"it": argument}
    assert type(arguments["it"]) is type(argument)
    with pytest.raises(StructureError) as caught:
        define(kind).read_arguments({"it": wrong})
    assert complaint in str(caught.value)
    assert len(caught.value.problems) == 1


def test_all_of_it_is_valid_by_the_platforms_contract() -> None:
    if not REST.exists():
        pytest.skip(f"the platform's contract is not at {REST}")
    contract = json.loads(REST.read_text())
    node = {"$ref": "#/components/schemas/ObjectJsonSchemaProperty-Input", "components": contract["components"]}
    for kind, *_ in KINDS:
        jsonschema.Draft202012Validator(node).validate(define(kind).parameters)


def test_a_default_makes_optional_and_is_not_checked() -> None:
    optional = define(Annotated[int | None, "x", Range(0)], default=None)
    assert optional.parameters["required"] == []
    assert optional.parameters["properties"]["it"]["type"] == "integer"
    assert optional.read_arguments({}) == {}


@pytest.mark.parametrize("value", ["5", "x", "NaN", "1e999", "[1]", "{", "\ud800", "[" * 10_000, "", 5, None, [1], {}])
def test_text_is_read_as_json_for_a_union_only_where_a_member_fits(value: object) -> None:
    mixed = define(Annotated[int | Literal["auto"], "x"])
    if value in ("5", 5):
        assert mixed.read_arguments({"it": value}) == {"it": 5}
    else:
        with pytest.raises(StructureError, match=r"^it: expected a whole number or one of \"auto\", got "):
            mixed.read_arguments({"it": value})


def test_the_configuration_does_not_read_text() -> None:
    with pytest.raises(StructureError, match="got the text"):
        structure("5", int | Literal["auto"])


def test_settings_of_plugins_are_held_to_constraints_too() -> None:
    with pytest.raises(StructureError, match=r"^plugins\.lamps.level: must be 0 to 100, got the number 200"):
        structure({"level": 200}, Lamp, "plugins.lamps")


def test_a_pattern_that_takes_too_long_is_a_problem_of_the_value() -> None:
    endless = define(Annotated[str, "x", Pattern("(a|a)+")])
    endless.read_arguments({"it": "aaa"})
    with pytest.raises(StructureError, match=r"^it: cannot be checked: the pattern '\(a\|a\)\+' takes too long"):
        endless.read_arguments({"it": "a" * 60 + "!"})


def test_what_cannot_be_compared_is_a_problem_of_the_value() -> None:
    late = define(Annotated[datetime, "x", Range(datetime(2026, 1, 1))])  # that is the point
    with pytest.raises(StructureError, match="offset-naive"):
        late.read_arguments({"it": "2026-05-05T10:00:00Z"})


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (Annotated[str, "x", Range(0, 5)], "with Range(least=0, most=5): that is for int, float, date, time"),
        (Annotated[int, "x", Pattern("a")], "that is for str, not int"),
        (Annotated[Lamp, "x", Length(1)], "that is for str, list"),
        (Annotated[Literal[1, 2], "x", Range(0)], "not Literal[1, 2]"),
        (Annotated[int | Literal["auto"], "x", Range(0)], "that is for int, float"),
        (Annotated[int, "x", Range(0.5)], "with the bound 0.5, which is no int"),
        (Annotated[date, "x", Range(0)], "with the bound 0, which is no date"),
        (Annotated[int | str, "x"], "which all come as text because str is among them: write str alone, or name the"),
        (Annotated[Annotated[str, Length(2)] | bool, "x"], "which all come as text because str is among them"),
        (Annotated[int | list[int], "x"], "agents cannot be told of list[int] as one of them: give each a parameter"),
        (Lamp | Place, "agents cannot be told of Lamp as one of them"),
        (Annotated[Literal[b"a"], "x"], "of the type Literal[b'a']: use one of str, int"),
        (Annotated[None, "x"], "of the type NoneType: use one of str, int"),
        (Annotated[int, Range(0)], "without a description"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_remedy(kind: Any, complaint: str) -> None:
    with pytest.raises(ToolDefinitionError) as caught:
        define(kind)
    assert 'has the parameter "it"' in str(caught.value)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (Range, "bounds nothing"),
        (lambda: Range(5, 1), "Range(least=5, most=1) bounds nothing: give it the least and the greatest value, in"),
        (lambda: Range("a", 1), "bounds nothing"),
        (Length, "bounds nothing"),
        (lambda: Length(3, 2), "bounds nothing"),
        (lambda: Pattern("["), "[ is not a regular expression"),
    ],
)
def test_a_constraint_that_cannot_be_is_refused(make: Any, complaint: str) -> None:
    with pytest.raises(ToolDefinitionError) as caught:
        make()
    assert complaint in str(caught.value)


@given(st.integers() | st.floats(), st.integers(), st.integers())
def test_a_range_holds_what_is_in_it(value: float, one: int, other: int) -> None:
    bounds = Range(min(one, other), max(one, other))
    assert bounds.allows(value) == (bounds.least <= value <= bounds.most)
