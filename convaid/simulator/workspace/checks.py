"""Checks of JSON in the platform's words: each returns the value with its defaults filled in, and notes what is wrong.

The platform is a FastAPI service: its faults have a place (``loc``), a sentence (``msg``) and a ``type``, all at once.
Values are taken as they stand in the JSON; the platform may be laxer there (``"20"`` for 20).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from copy import deepcopy
from typing import Any, Literal

import orjson
from attrs import frozen

from convaid.protocol.bodies import is_deeper
from convaid.simulator.answers import Answer, Request

__all__ = [
    "DEEPEST",
    "Check",
    "Fault",
    "Faults",
    "Place",
    "allowed",
    "anything",
    "choice",
    "fields",
    "flag",
    "listing",
    "mapping",
    "nullable",
    "number",
    "optional",
    "read_body",
    "refine",
    "refuse_faults",
    "required",
    "text",
    "whole",
]

DEEPEST = 64  # levels of a body: no agent and no tool has as many, and what is stored must be read and written again

ABSENT = object()
Place = tuple[str | int, ...]


@frozen
class Fault:
    """One thing that is wrong with a request."""

    place: Place
    message: str
    type: str


Faults = list[Fault]
Check = Callable[[Any, Place, Faults], Any]


@frozen
class Field:
    """A field of a JSON object: its check, and what stands for it where it is left out."""

    check: Check
    is_required: bool
    default: Any = None


def required(check: Check) -> Field:
    return Field(check, True)


def optional(check: Check, default: Any = None) -> Field:
    return Field(check, False, default)


def allowed(check: Check) -> Field:
    """A field without a default: left out it stays left out."""
    return Field(check, False, ABSENT)


def anything(value: Any, place: Place, faults: Faults) -> Any:
    return value


def text(*, pattern: str | None = None, shortest: int = 0) -> Check:
    def check(value: Any, place: Place, faults: Faults) -> Any:
        if not isinstance(value, str):
            faults.append(Fault(place, "Input should be a valid string", "string_type"))
        elif len(value) < shortest:
            faults.append(Fault(place, f"String should have at least {shortest} character", "string_too_short"))
        elif pattern is not None and not re.fullmatch(pattern, value):
            faults.append(Fault(place, f"String should match pattern '^{pattern}$'", "string_pattern_mismatch"))
        return value

    return check


def flag(value: Any, place: Place, faults: Faults) -> Any:
    if not isinstance(value, bool):
        faults.append(Fault(place, "Input should be a valid boolean", "bool_type"))
    return value


def whole(least: int | None = None, most: int | None = None, *, beside: tuple[int, ...] = ()) -> Check:
    """A whole number from ``least`` to ``most``, or one of those ``beside``."""

    def check(value: Any, place: Place, faults: Faults) -> Any:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            faults.append(Fault(place, "Input should be a valid integer", "int_type"))
        elif value in beside:
            return value
        elif least is not None and value < least:
            faults.append(Fault(place, f"Input should be greater than or equal to {least}", "greater_than_equal"))
        elif most is not None and value > most:
            faults.append(Fault(place, f"Input should be less than or equal to {most}", "less_than_equal"))
        return value

    return check


def number(value: Any, place: Place, faults: Faults) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        faults.append(Fault(place, "Input should be a valid number", "float_type"))
    return value


def choice(*values: str) -> Check:
    *others, last = [f"'{value}'" for value in values]
    words = f"{', '.join(others)} or {last}" if others else last

    def check(value: Any, place: Place, faults: Faults) -> Any:
        if not isinstance(value, str) or value not in values:
            faults.append(Fault(place, f"Input should be {words}", "enum"))
        return value

    return check


def nullable(inner: Check) -> Check:
    def check(value: Any, place: Place, faults: Faults) -> Any:
        return None if value is None else inner(value, place, faults)

    return check


def listing(inner: Check) -> Check:
    def check(value: Any, place: Place, faults: Faults) -> Any:
        if not isinstance(value, list):
            faults.append(Fault(place, "Input should be a valid list", "list_type"))
            return value
        return [inner(item, (*place, number), faults) for number, item in enumerate(value)]

    return check


def mapping(inner: Check) -> Check:
    def check(value: Any, place: Place, faults: Faults) -> Any:
        if not isinstance(value, dict):
            faults.append(Fault(place, "Input should be a valid dictionary", "dict_type"))
            return value
        return {name: inner(item, (*place, name), faults) for name, item in value.items()}

    return check


def fields(
    known: dict[str, Field],
    *,
    others: Literal["drop", "keep", "forbid"] = "drop",
    ignored: Set[str] = frozenset(),
) -> Check:
    """A JSON object with these fields; what is ``ignored`` may be there, too. ``others``: what becomes of the rest."""

    def check(value: Any, place: Place, faults: Faults) -> Any:
        if not isinstance(value, dict):
            words = "Input should be a valid dictionary or object to extract fields from"
            faults.append(Fault(place, words, "model_attributes_type"))
            return value
        complete = {}
        for name, field in known.items():
            if name in value:
                complete[name] = field.check(value[name], (*place, name), faults)
            elif field.is_required:
                faults.append(Fault((*place, name), "Field required", "missing"))
            elif field.default is not ABSENT:
                complete[name] = deepcopy(field.default)
        strange = {name: inner for name, inner in value.items() if name not in known and name not in ignored}
        if others == "forbid":
            faults += [Fault((*place, name), "Extra inputs are not permitted", "extra_forbidden") for name in strange]
        return complete | strange if others == "keep" else complete

    return check


def refine(check: Check, further: Callable[[Any, Place, Faults], None]) -> Check:
    """A check that looks ``further`` at what nothing was wrong with so far."""

    def both(value: Any, place: Place, faults: Faults) -> Any:
        before = len(faults)
        complete = check(value, place, faults)
        if len(faults) == before:
            further(complete, place, faults)
        return complete

    return both


def refuse_faults(faults: Faults) -> Answer:
    """The 422 that tells them all."""
    return Answer(422, {"detail": [{"loc": each.place, "msg": each.message, "type": each.type} for each in faults]})


def read_body(request: Request, check: Check) -> Any | Answer:
    """The JSON of a request, checked; an `Answer` where it is refused."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if not request.body:
        return refuse_faults([Fault(("body",), "Field required", "missing")])
    faults: Faults = []
    if kind == "application/json" or kind.endswith("+json"):
        try:
            body = orjson.loads(request.body)
        except ValueError as error:
            return refuse_faults([Fault(("body", 0), f"JSON decode error: {error}", "json_invalid")])
        if is_deeper(body, DEEPEST):
            return refuse_faults([Fault(("body",), f"Nested deeper than {DEEPEST} levels", "value_error")])
    else:
        body = None  # as a FastAPI service has it: what does not say that it is JSON is not taken apart
    complete = check(body, ("body",), faults)
    return refuse_faults(faults) if faults else complete
