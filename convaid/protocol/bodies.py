"""JSON that the other side has sent by HTTP, or that a file has of it."""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["DEEPEST", "is_deeper", "read_json"]

DEEPEST = 100  # levels: nothing that makes sense has as many, and Python's own recursion limit stays far away


def read_json(body: bytes) -> object:
    """The body as JSON, None where it is not, or is nested deeper than `DEEPEST` levels."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return None if is_deeper(value, DEEPEST) else value


def is_deeper(value: Any, levels: int) -> bool:
    """Has a JSON value more than so many levels? Not by recursion, as a peer decides how deep it is."""
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return bool(level)
