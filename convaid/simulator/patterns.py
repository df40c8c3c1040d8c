"""Partial matching of JSON values: what a tool is called with, what it answers. Pure.

What is expected stands beside what has come: a value fits itself, a table fits one that has all of its keys, whatever
else is there, and a list fits one of as many items, each of which fits. Three tables are more than values:
``{pattern = "\\d+"}`` fits text in which it is found, whatever the case (of what is not text, its JSON);
``{any = true}`` fits whatever is there; ``{exact = …}`` fits nothing but its value, which may be such a table itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from convaid.patterns import find_pattern_problem, search_text
from convaid.wording import join_path, shorten

__all__ = ["Mismatch", "check_expected_result", "check_expected_table", "find_mismatch", "match_result"]

MISSING = object()


@frozen
class Mismatch:
    """What does not fit: where, and in words what was expected and what has come."""

    path: str
    expected: str
    got: str

    def __str__(self) -> str:
        place = f"{self.path}: " if self.path else ""
        return f"{place}expected {self.expected}, got {self.got}"


def match_result(expected: Any, result: str) -> Mismatch | None:
    """Hold a tool's result against what is expected: text is a pattern; for anything else it must be JSON.

    ``{exact = "…"}`` takes the text as it is, or as JSON. Raises PatternTimeout.
    """
    match expected:
        case str():
            return find_mismatch({"pattern": expected}, result)
        case {"exact": str(text)} if text == result and len(expected) == 1:
            return None
        case {"pattern": str()} | {"any": True} if len(expected) == 1:
            return find_mismatch(expected, result)
    try:
        value = json.loads(result)
    except (ValueError, RecursionError):
        return Mismatch("", describe_expected(expected), _write(result))
    return find_mismatch(expected, value)


def find_mismatch(expected: Any, value: Any, path: str = "") -> Mismatch | None:
    """Return the first thing that does not fit; None if all does. Raises PatternTimeout."""
    if value is MISSING:
        return Mismatch(path, describe_expected(expected), "nothing: it is not there")
    match expected:
        case {"any": True} if len(expected) == 1:
            return None
        case {"pattern": str(pattern)} if len(expected) == 1:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            fits = search_text(pattern, text) is not None
        case {"exact": exact} if len(expected) == 1:
            fits = _is_same(exact, value)
        case Mapping() if isinstance(value, Mapping):
            mismatches = (
                find_mismatch(inner, value.get(name, MISSING), join_path(path, name))
                for name, inner in expected.items()
            )
            return next(filter(None, mismatches), None)
        case list() if isinstance(value, list) and len(value) == len(expected):
            pairs = enumerate(zip(expected, value, strict=True))
            mismatches = (find_mismatch(inner, item, join_path(path, number)) for number, (inner, item) in pairs)
            return next(filter(None, mismatches), None)
        case _:
            fits = _is_same(expected, value)
    return None if fits else Mismatch(path, describe_expected(expected), _write(value))


def describe_expected(expected: Any) -> str:
    """Return what is expected, in words."""
    match expected:
        case {"any": True} if len(expected) == 1:
            return "anything"
        case {"pattern": str(pattern)} if len(expected) == 1:
            return f"what matches {pattern!r}"
        case {"exact": exact} if len(expected) == 1:
            return f"exactly {_write(exact)}"
        case list():
            return f"a list of {len(expected)}: {_write(expected)}"
    return _write(expected)


def check_expected_result(_: object, __: object, expected: Any) -> None:
    """An attrs validator: the patterns in it are patterns. A text that stands alone is one, too."""
    _check({"pattern": expected} if isinstance(expected, str) else expected, "")


def check_expected_table(_: object, __: object, expected: Any) -> None:
    """The same for a table of values."""
    _check(expected, "")


def _check(expected: Any, path: str) -> None:
    match expected:
        case {"pattern": str(pattern)} if len(expected) == 1:
            if problem := find_pattern_problem(pattern):
                raise ValueError(f"{path}: {problem}" if path else problem)
        case {"exact": _} if len(expected) == 1:
            pass
        case Mapping():
            for name, inner in expected.items():
                _check(inner, join_path(path, name))
        case list():
            for number, inner in enumerate(expected):
                _check(inner, join_path(path, number))


def _is_same(expected: Any, value: Any) -> bool:
    """Whether two JSON values are the same: true is not 1, but 1.0 is."""
    if isinstance(expected, bool) or isinstance(value, bool):
        return expected is value
    if isinstance(expected, Mapping) and isinstance(value, Mapping):
        return expected.keys() == value.keys() and all(_is_same(expected[name], value[name]) for name in expected)
    if isinstance(expected, list) and isinstance(value, list):
        return len(expected) == len(value) and all(map(_is_same, expected, value))
    return bool(expected == value)


def _write(value: Any) -> str:
    if isinstance(value, str):
        return repr(shorten(value))
    return shorten(json.dumps(value, ensure_ascii=False, default=str))
