"""structure: strict, all problems at once, each with its path and in words that people and language models can use."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict
from uuid import UUID

import attrs
import pytest
from attrs import field, frozen, validators
from cattrs import StructureHandlerNotFoundError
from hypothesis import given
from hypothesis import strategies as st

from convaid.errors import StructureError
from convaid.structuring import describe_value, join_path, nearest, structure


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Shade(StrEnum):
    DARK = "dark"


class Level(IntEnum):
    LOW = 1


@frozen
class Item:
    name: Annotated[str, "what it is called"]
    amount: int = 1


@frozen
class Order:
    items: list[Item]
    first: Item | None = None
    discount: float = field(default=1.0, validator=validators.gt(0))
    share: float = field(default=1.0, validator=validators.in_([1.0, 2.0]))
    tags: tuple[str, ...] = ()
    notes: dict[str, int] = field(factory=dict)


class Place(TypedDict):
    street: str
    number: NotRequired[int]


@frozen
class Range:
    low: int
    high: int = field()

    @high.validator
    def _check_high(self, attribute: "attrs.Attribute[int]", value: int) -> None:
        if value < self.low:
            raise ValueError("is below low")


@frozen
class Node:
    inner: "list[Node]" = field(factory=list)


def problems_of(value: object, shape: Any, path: str = "") -> list[str]:
    with pytest.raises(StructureError) as caught:
        structure(value, shape, path)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("value", "shape", "structured"),
    [
        ("", str, ""),
        (0, int, 0),
        (False, bool, False),
        (2, float, 2.0),
        (2.5, float, 2.5),
        (float("inf"), float, float("inf")),
        (None, None | int, None),
        (3, float | int, 3),
        ("a", int | str, "a"),
        ("red", Colour, Colour.RED),
        ("dark", Shade, Shade.DARK),
        (1, Level, Level.LOW),
        ("b", Literal["a", "b"], "b"),
        ([1, 2], list[int], [1, 2]),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([1, 1], frozenset[int], frozenset({1})),
        ([1], Sequence[int], [1]),
        ([1, "a"], list, [1, "a"]),
        ({"a": 1}, dict[str, int], {"a": 1}),
        ({"a": [None]}, dict, {"a": [None]}),
        ({"a": [None]}, Any, {"a": [None]}),
        ([1], object, [1]),
        ("2026-11-22", date, date(2026, 11, 22)),
        (date(2026, 11, 22), date, date(2026, 11, 22)),
        ("18:30", time, time(18, 30)),
        ("2026-11-22T18:30:00Z", datetime, datetime(2026, 11, 22, 18, 30, tzinfo=UTC)),
        ("12345678-1234-5678-1234-567812345678", UUID, UUID("12345678-1234-5678-1234-567812345678")),
        ("a/b", Path, Path("a/b")),
        ("12.50", Decimal, Decimal("12.50")),
        (5, Annotated[int, "a number"], 5),
        ({"street": "A", "number": 3}, Place, {"street": "A", "number": 3}),
        ({"inner": [{"inner": []}]}, Node, Node([Node()])),
        ({"items": [{"name": "a"}], "tags": ["x"]}, Order, Order([Item("a")], tags=("x",))),
        ({"low": 1, "high": 2}, Range, Range(1, 2)),
    ],
)
def test_accepts_and_keeps_types(value: object, shape: Any, structured: object) -> None:
    result = structure(value, shape)
    assert result == structured
    assert type(result) is type(structured)


@pytest.mark.parametrize(
    ("value", "shape", "problem"),
    [
        ("ten", int, 'expected a whole number, got the text "ten"'),
        (True, int, "expected a whole number, got true"),
        (2.0, int, "expected a whole number, got the number 2.0"),
        (True, float, "expected a number, got true"),
        ("1", float, 'expected a number, got the text "1"'),
        (1, bool, "expected true or false, got the number 1"),
        ("false", bool, 'expected true or false, got the text "false"'),
        (5, str, "expected text, got the number 5"),
        (None, str, "expected text, got nothing (null)"),
        ("abc", list[str], 'expected a list, got the text "abc"'),
        ({}, list[str], "expected a list, got a table (object)"),
        ([], dict[str, str], "expected a table (object), got a list"),
        ([], Item, "expected a table (object), got a list"),
        ([], Place, "expected a table (object), got a list"),
        (1.5, int | str | None, "expected a whole number or text or nothing (null), got the number 1.5"),
        ("rde", Colour, 'expected one of "red", "green", got the text "rde"; did you mean "red"?'),
        ("light", Shade, 'expected one of "dark", got the text "light"'),
        (True, Level, "expected one of 1, got true"),
        ([], Literal["a"], 'expected one of "a", got a list'),
        (True, Literal[1], "expected one of 1, got true"),
        ("2026-13-01", date, 'expected a date such as "2026-11-22", got the text "2026-13-01"'),
        (datetime(2026, 1, 1), date, 'expected a date such as "2026-11-22", got the datetime 2026-01-01 00:00:00'),
        ("x", Decimal, 'expected a decimal number as text, such as "12.50", got the text "x"'),
        ("y" * 90, int, f'expected a whole number, got the text "{"y" * 79}…"'),
        pytest.param(10**5000, float, "expected a number, got the number of thousands of digits", id="huge"),
    ],
)
def test_refuses_with_a_sentence(value: object, shape: Any, problem: str) -> None:
    assert problems_of(value, shape, "place") == [f"place: {problem}"]


def test_reports_every_problem_with_its_path() -> None:
    value = {
        "items": [{"name": "a"}, {"nam": "b"}, 7],
        "first": {"name": "x", "amount": "3"},
        "discount": 0,
        "share": 3.0,
        "notes": {"not bare": "1"},
        "tag": [],
    }
    assert problems_of(value, Order, "order") == [
        "order.items[1].name: is required and missing",
        'order.items[1].nam: is not known; did you mean "name"?',
        "order.items[2]: expected a table (object), got the number 7",
        'order.first.amount: expected a whole number, got the text "3"',
        "order.discount: 'discount' must be > 0: 0.0",
        "order.share: 'share' must be in [1.0, 2.0] (got 3.0)",
        'order.notes."not bare": expected a whole number, got the text "1"',
        'order.tag: is not known; did you mean "tags"?',
    ]


def test_paths_at_the_top_have_no_prefix() -> None:
    assert problems_of({"number": "1"}, Place) == [
        "street: is required and missing",
        'number: expected a whole number, got the text "1"',
    ]
    assert problems_of({"street": "A", "zip": 1}, Place) == ["zip: is not known; known here: street, number"]
    assert problems_of(1, str) == ["expected text, got the number 1"]


def test_a_check_that_compares_fields_is_a_problem_of_the_whole_table() -> None:
    assert problems_of({"low": 3, "high": 2}, Range, "range") == ["range: is below low"]


def test_deep_nesting_is_a_problem_and_no_crash() -> None:
    value: dict[str, Any] = {}
    for _ in range(5000):
        value = {"inner": [value]}
    (problem,) = problems_of(value, Node)
    assert problem.endswith("is nested too deeply")
    assert len(problem) < 150


@pytest.mark.parametrize("shape", [tuple[int, str], complex, list[complex]])
def test_a_shape_that_is_not_supported_is_a_bug(shape: Any) -> None:
    with pytest.raises((TypeError, StructureHandlerNotFoundError)):
        structure([1], shape)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values | st.fixed_dictionaries({"items": json_values, "first": json_values, "notes": json_values}))
def test_any_value_is_structured_or_refused(value: object) -> None:
    for shape in (Order, Place, list[Colour | int], dict[str, float | None], Node, Literal["a", "b"]):
        with suppress(StructureError):
            structure(value, shape)


@given(json_values)
def test_any_value_is_described_in_one_short_line(value: object) -> None:
    words = describe_value(value)
    assert "\n" not in words
    assert len(words) < 600  # 80 characters, each at most a \u escape


def test_nearest_ignores_case_and_gives_the_best_first() -> None:
    assert nearest("Get_Weather", ["set_weather", "get_weather", "notes"], most=2) == ["get_weather", "set_weather"]
    assert nearest("xyz", ["get_weather"]) == []


def test_paths_read_like_toml() -> None:
    assert join_path(join_path(join_path("", "items"), 2), "a b") == 'items[2]."a b"'
