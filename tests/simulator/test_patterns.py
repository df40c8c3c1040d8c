"""Partial matching: what fits what, where it does not, and in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convaid.simulator.patterns import Mismatch, check_expected_result, find_mismatch, match_result

WEATHER = {"city": "Rome", "high": "31", "days": [{"rain": False, "mm": 0}, {"rain": True, "mm": 2.5}], "note": None}


@pytest.mark.parametrize(
    "expected",
    [
        {},
        {"city": "Rome"},
        {"city": {"pattern": "^ro"}, "high": {"pattern": r"^\d+$"}},
        {"note": {"any": True}},
        {"note": {"exact": None}},
        {"days": {"any": True}},
        {"days": [{"rain": False}, {"mm": 2.5}]},
        {"days": [{"mm": 0.0}, {"any": True}]},
        {"days": {"pattern": '"rain": true'}},
        {"days": [{}, {"exact": {"rain": True, "mm": 2.5}}]},
        {"exact": WEATHER},
        {"any": True},
        {"pattern": "rome"},
    ],
    ids=json.dumps,
)
def test_what_fits(expected: Any) -> None:
    assert find_mismatch(expected, WEATHER) is None
    assert match_result(expected, json.dumps(WEATHER)) is None


@pytest.mark.parametrize(
    ("expected", "mismatch"),
    [
        ({"city": "rome"}, Mismatch("city", "'rome'", "'Rome'")),
        ({"town": {"any": True}}, Mismatch("town", "anything", "nothing: it is not there")),
        ({"high": {"pattern": "^a"}}, Mismatch("high", "what matches '^a'", "'31'")),
        ({"high": 31}, Mismatch("high", "31", "'31'")),
        ({"days": [{}]}, Mismatch("days", "a list of 1: [{}]", json.dumps(WEATHER["days"]))),
        ({"days": [{"rain": 0}, {}]}, Mismatch("days[0].rain", "0", "false")),
        ({"days": [{}, {"mm": True}]}, Mismatch("days[1].mm", "true", "2.5")),
        (
            {"days": [{}, {"exact": {"mm": 2.5}}]},
            Mismatch("days[1]", 'exactly {"mm": 2.5}', '{"rain": true, "mm": 2.5}'),
        ),
        ({"city": {"name": "Rome"}}, Mismatch("city", '{"name": "Rome"}', "'Rome'")),
    ],
)
def test_what_does_not(expected: Any, mismatch: Mismatch) -> None:
    assert find_mismatch(expected, WEATHER) == mismatch


@pytest.mark.parametrize(
    ("expected", "result", "fits"),
    [
        ("^5$", "5", True),
        ("rome", "It is hot in ROME.", True),
        ("paris", "It is hot in Rome.", False),
        ({"exact": "5"}, "5", True),
        ({"exact": "5"}, "55", False),
        ({"exact": 5}, "5", True),
        ({"exact": "Rome"}, '"Rome"', True),
        (5, "5", True),
        (True, "1", False),
        ([1, {"any": True}], "[1, 2]", True),
        ({"pattern": r"^\["}, "[1, 2]", True),
        ({"any": True}, "", True),
        ({"city": "Rome"}, "It is hot in Rome.", False),
        ({"city": "Rome"}, "[" * 100_000, False),
    ],
)
def test_a_result_is_text_or_json(expected: Any, result: str, fits: bool) -> None:
    assert (match_result(expected, result) is None) is fits


def test_a_mismatch_is_a_sentence() -> None:
    assert str(match_result({"high": 30}, '{"high": 31}')) == "high: expected 30, got 31"
    assert str(match_result({"high": 30}, "hot")) == """expected {"high": 30}, got 'hot'"""


@pytest.mark.parametrize("expected", ["(", {"a": [{"pattern": "("}]}])
def test_a_pattern_is_a_regular_expression(expected: Any) -> None:
    with pytest.raises(ValueError, match="is not a regular expression"):
        check_expected_result(None, None, expected)


def test_what_is_exact_is_no_pattern() -> None:
    check_expected_result(None, None, {"exact": {"pattern": "("}})
    assert find_mismatch({"exact": {"pattern": "("}}, {"pattern": "("}) is None
