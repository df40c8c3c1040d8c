"""Query parameters, and lists in pages with a cursor from one to the next."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from convaid.simulator.answers import Answer, Request
from convaid.simulator.workspace.checks import Fault, Faults, choice, refuse_faults, whole

__all__ = ["answer_page", "read_choices", "read_flag", "read_whole"]

T = TypeVar("T")

PAGE_SIZE = 30
LARGEST_PAGE = 100
FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
NO_CURSOR = Fault(("query", "cursor"), "Value error, this is no cursor of such a page", "value_error")


def answer_page(
    request: Request,
    name: str,
    items: Iterable[T],
    describe: Callable[[T], Any],
    *,
    identify: Callable[[T], str],
    sort_keys: Mapping[str, Callable[[T], Any]],
) -> Answer:
    """Answer one page of a list under ``name``, as ``page_size``, ``sort_by``, ``sort_direction`` and ``cursor`` ask.

    The first of the ``sort_keys`` counts where ``sort_by`` is left out; falling is the platform's default. The cursor
    tells the last item of a page, so that what is made or deleted in between moves nothing.
    """
    faults: Faults = []
    size = read_whole(request, "page_size", faults, PAGE_SIZE, least=1, most=LARGEST_PAGE)
    sort_key = sort_keys.get(read_choice(request, "sort_by", list(sort_keys), faults))
    is_falling = read_choice(request, "sort_direction", ["desc", "asc"], faults) == "desc"
    after = read_cursor(request, faults)
    if faults or sort_key is None:
        return refuse_faults(faults)
    rows = sorted(([sort_key(item), identify(item)], item) for item in items)  # ids differ: items are never compared
    if is_falling:
        rows.reverse()
    if after is not None and rows:
        if isinstance(after[0], str) != isinstance(rows[0][0][0], str):
            return refuse_faults([NO_CURSOR])  # of a list in another order
        rows = [row for row in rows if (row[0] < after if is_falling else row[0] > after)]
    has_more = len(rows) > size
    rows = rows[:size]
    cursor = urlsafe_b64encode(orjson.dumps(rows[-1][0])).decode() if has_more else None
    return Answer(200, {name: [describe(item) for _, item in rows], "next_cursor": cursor, "has_more": has_more})


def read_whole(
    request: Request, name: str, faults: Faults, default: T, *, least: int | None = None, most: int | None = None
) -> int | T:
    """A query parameter that is a whole number; ``default`` where it is left out."""
    given = request.query.get(name)
    if given is None:
        return default
    if not given.strip().removeprefix("-").isdecimal() or len(given) > 20:
        words = "Input should be a valid integer, unable to parse string as an integer"
        faults.append(Fault(("query", name), words, "int_parsing"))
        return default
    number: int = whole(least, most)(int(given), ("query", name), faults)
    return number


def read_choice(request: Request, name: str, values: Sequence[str], faults: Faults) -> str:
    """A query parameter with one of these values; the first where it is left out."""
    chosen: str = choice(*values)(request.query.get(name, values[0]), ("query", name), faults)
    return chosen


def read_cursor(request: Request, faults: Faults) -> list[Any] | None:
    given = request.query.get("cursor")
    if not given:
        return None
    try:
        match orjson.loads(urlsafe_b64decode(given)):
            case [str() | int() | float() as key, str(identity)]:
                return [key, identity]
    except ValueError:
        pass
    faults.append(NO_CURSOR)
    return None


def read_choices(request: Request, name: str, values: Sequence[str]) -> list[str] | Answer:
    """The values of a query parameter that may be repeated."""
    faults: Faults = []
    given = [value for key, value in request.parameters if key == name]
    for number, value in enumerate(given):
        choice(*values)(value, ("query", name, number), faults)
    return refuse_faults(faults) if faults else given


def read_flag(request: Request, name: str) -> bool | Answer:
    """A query parameter that is true or false; left out it is false."""
    flag = FLAGS.get(request.query.get(name, "false").lower())
    if flag is None:
        words = "Input should be a valid boolean, unable to interpret input"
        return refuse_faults([Fault(("query", name), words, "bool_parsing")])
    return flag
