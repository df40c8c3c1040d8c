"""Whatever a tool may return, as text; and what cannot be text, with where and why."""

from __future__ import annotations

import json
import math
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from time import process_time
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from convaid.calls.results import NOTHING, UnsendableResult, cut_text, write_result

SIZE = 100_000  # characters: more than anything here that is not to be cut


class Colour(Enum):
    RED = "red"
    PAIR = (1, 2)


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Text(str):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


@define
class Lamp:
    name: str
    _level: int


@dataclass
class Room:
    lamps: list[Lamp]


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ("", ""),
        (Text("text"), "text"),
        (None, NOTHING),
        (0, "0"),
        (-1, "-1"),
        (0.0, "0.0"),
        (2.5, "2.5"),
        (True, "true"),
        (False, "false"),
        ([], "[]"),
        ({}, "{}"),
        ((), "[]"),
        (set(), "[]"),
        ([None], "[null]"),
        ({"a": [1, (2.5, None)], "ä": "ö"}, '{"a":[1,[2.5,null]],"ä":"ö"}'),
        ({1}, "[1]"),
        (frozenset("a"), '["a"]'),
        (
            {1: 2, None: 3, False: 4, (5, 6): 7, Word.YES: 8, date(2026, 1, 2): 9},
            '{"1":2,"null":3,"false":4,"[5,6]":7,"yes":8,"2026-01-02":9}',
        ),
        (MappingProxyType({"a": 1}), '{"a":1}'),
        (OrderedDict(a=1), '{"a":1}'),
        (Point(1, 2), "[1,2]"),
        (Lamp("desk", 3), '{"name":"desk","_level":3}'),
        (Room([Lamp("desk", 3)]), '{"lamps":[{"name":"desk","_level":3}]}'),
        (Colour.RED, "red"),
        ([Colour.RED, Colour.PAIR, Level.LOW, Word.YES], '["red",[1,2],1,"yes"]'),
        (Level.LOW, "1"),
        (Word.YES, "yes"),
        (date(2026, 11, 22), "2026-11-22"),
        (time(18, 30), "18:30:00"),
        (datetime(2026, 11, 22, 18, 30, tzinfo=UTC), "2026-11-22T18:30:00+00:00"),
        ([UUID(int=1)], '["00000000-0000-0000-0000-000000000001"]'),
        (Path("/tmp/x"), "/tmp/x"),
        ({"price": Decimal("12.50")}, '{"price":"12.50"}'),
        ([math.nan, math.inf, -math.inf], "[null,null,null]"),
        (math.nan, "null"),
        (2**64, str(2**64)),
        (-(10**300), str(-(10**300))),
        ("\ud800", "?"),
    ],
)
def test_values_become_text(value: object, text: str) -> None:
    assert write_result(value, SIZE) == text


def make_circle() -> list[Any]:
    circle: list[Any] = []
    circle.append({"again": circle})
    return circle


def make_tower() -> list[Any]:
    tower: list[Any] = []
    for _ in range(100_000):
        tower = [tower]
    return tower


async def coroutine() -> None: ...


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: b"bytes", "the result is of the type bytes, which has no JSON form"),
        (lambda: {"a": [1, bytearray()]}, "the result.a[1] is of the type bytearray, which has no JSON form"),
        (object, "the result is of the type object, which has no JSON form"),
        (lambda: (n for n in [1]), "the result is of the type generator, which has no JSON form"),
        (lambda: print, "the result is of the type builtin_function_or_method, which has no JSON form"),
        (coroutine, "the result is of the type coroutine, which has no JSON form"),
        (lambda: Lamp, "the result is the class Lamp"),
        (lambda: [Room], "the result[0] is the class Room"),
        (lambda: 1 + 2j, "the result is of the type complex, which has no JSON form"),
        (make_circle, "the result[0].again contains itself"),
        (make_tower, f"the result{'[0]' * 100} is nested more than 100 levels deep"),
        (lambda: 10**5000, "the result is a whole number of thousands of digits"),
        (lambda: {b"key": 1}, "a key of the result is of the type bytes, which has no JSON form"),
    ],
)
def test_what_has_no_text_is_said(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(UnsendableResult) as caught:
        write_result(make(), SIZE)
    assert str(caught.value) == complaint


def test_the_same_value_twice_is_no_circle() -> None:
    part = [1]
    assert write_result([part, part, {"a": part}], SIZE) == '[[1],[1],{"a":[1]}]'


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).filter(lambda value: value is not None and not isinstance(value, str))
)
def test_what_json_has_comes_back(value: object) -> None:
    assert json.loads(write_result(value, SIZE)) == value


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())), st.integers(1, 100))
def test_a_text_is_cut_to_its_size_and_can_be_sent(text: str, size: int) -> None:
    cut = cut_text(text, size)
    assert len(cut) <= size
    cut.encode()
    if len(text) <= size:
        assert cut == text.encode("utf-8", "replace").decode()


def test_a_cut_is_marked() -> None:
    cut = cut_text("x" * 1000, 100)
    assert len(cut) == 100
    assert cut.endswith("xxx… [cut here; 1000 characters in all]")
    assert cut_text("x" * 100, 100) == "x" * 100


@pytest.mark.parametrize(
    "make",
    [
        lambda: "x" * 10**8,
        lambda: ["x" * 10**8],
        lambda: {"ä" * 10**8: 1},
        lambda: [0] * 10**7,
        lambda: [[[1] * 100] * 1000] * 1000,
        lambda: dict.fromkeys(range(10**6), 1),
        lambda: [Lamp("desk", 3)] * 10**7,
        lambda: [Level.LOW] * 10**7,
        lambda: [10**3000] * 10**6,
        lambda: Path("x" * 10**7),
    ],
)
def test_what_is_far_too_long_is_cut_without_being_looked_at(make: Callable[[], object]) -> None:
    value = make()
    begin = process_time()
    text = write_result(value, 1000)
    assert process_time() - begin < 0.2  # seconds; to write it all would take longer
    assert len(text) == 1000
    assert "[cut here; " in text


@given(
    st.lists(st.integers(0, 9) | st.text(max_size=3) | st.lists(st.none() | st.sampled_from(Level))),
    st.integers(60, 80),
)
def test_a_structure_is_cut_as_its_text_would_be(value: list[object], size: int) -> None:
    whole, cut = write_result(value, SIZE), write_result(value, size)
    if len(whole) <= size:
        assert cut == whole
    else:
        assert len(cut) == size
        kept, _, mark = cut.partition("… [cut here; ")
        assert whole.startswith(kept)
        assert mark
