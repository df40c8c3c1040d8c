"""What the platform's dialect has no keys for, in words (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["describe_constraints", "describe_kinds", "describe_name"]

FORMATS = {
    "date": "a date such as 2026-11-22",
    "time": "a time of day such as 18:30:00",
    "date-time": "a date and time such as 2026-11-22T18:30:00+01:00",
    "duration": "a duration such as PT1H30M",
    "email": "an e-mail address",
    "uri": "a URL",
    "uuid": "a UUID",
}
KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
SHOWN_EXAMPLES = 3
LONGEST_VALUE = 200  # characters of a default or an example


def describe_kinds(kinds: Iterable[str]) -> str:
    """Return JSON types in words: ``a whole number or a list``."""
    return " or ".join(KINDS.get(kind, kind) for kind in sorted(kinds))


def describe_name(key: str) -> str:
    """Return a key in words, for a value that nothing describes: ``page_size`` and ``pageSize`` are ``page size``."""
    return (
        " ".join(re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", key).replace("_", " ").replace("-", " ").lower().split()) or key
    )


def describe_constraints(schema: Mapping[str, Any]) -> str:
    """Return what a schema asks for beyond a type: ``1 to 100; default 10``; "" if nothing."""
    return "; ".join(_find_constraints(schema))


def _find_constraints(schema: Mapping[str, Any]) -> Iterator[str]:
    if form := schema.get("format"):
        yield FORMATS.get(form, f"format: {form}")
    yield from _describe_range(schema)
    if step := schema.get("multipleOf"):
        yield f"a multiple of {step}"
    yield from _describe_bounds(schema.get("minLength"), schema.get("maxLength"), "characters")
    if pattern := schema.get("pattern"):
        yield f"text that matches {pattern}"
    if encoding := schema.get("contentEncoding"):
        yield f"encoded as {encoding}"
    yield from _describe_bounds(schema.get("minItems"), schema.get("maxItems"), "items")
    if schema.get("uniqueItems") is True:
        yield "no item twice"
    if schema.get("default") is not None:
        yield f"default {_write(schema['default'])}"
    if isinstance(examples := schema.get("examples"), list) and examples:
        yield "such as " + ", ".join(map(_write, examples[:SHOWN_EXAMPLES]))


def _describe_range(schema: Mapping[str, Any]) -> Iterator[str]:
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if above is True:  # an old draft's way to say that the bound itself is none of it
        least, above = None, least
    if below is True:
        most, below = None, most
    yield from _describe_bounds(least, most)
    if _is_number(above):
        yield f"more than {above}"
    if _is_number(below):
        yield f"less than {below}"


def _describe_bounds(least: Any, most: Any, what: str = "") -> Iterator[str]:
    has_least, has_most = _is_number(least) and bool(least or not what), _is_number(most)
    if has_least and has_most:
        words = f"{least} to {most}"
    elif has_least:
        words = f"{least} or more"
    elif has_most:
        words = f"{most} or less" if not what else f"at most {most}"
    else:
        return
    yield f"{words} {what}".strip()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _write(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
