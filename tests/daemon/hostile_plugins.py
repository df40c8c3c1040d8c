"""Plugins that do their worst, for `test_hostile_tools`: each is an object of its own, as an entry point names it."""

import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from convaid import Tool, hookimpl, tool

HUGE = 100_000_000  # bytes
FOR_EVER = 1000.0  # seconds


def make_plugin(*tools: Tool, **hooks: Callable[..., Any]) -> SimpleNamespace:
    return SimpleNamespace(
        convaid_tools=hookimpl(lambda: list(tools)),
        **{f"convaid_{name}": hookimpl(hook) for name, hook in hooks.items()},
    )


@tool
def work() -> str:
    """Compute in pure Python for 2 s."""
    end = time.monotonic() + 2.0
    total = 0
    while time.monotonic() < end:
        total += sum(number * number for number in range(100))
    return str(total > 0)


@tool(time_limit=1)
async def block() -> str:
    """Block the loop for 10 s."""
    time.sleep(10.0)  # noqa: ASYNC251
    return "unblocked"


@tool
def linger() -> str:
    """Take a little while in a thread."""
    time.sleep(0.1)
    return "lingered"


@tool
def return_text() -> str:
    """Return 100 MB of text."""
    return "x" * HUGE


@tool
def return_words() -> str:
    """Return text that is not ASCII, 100 MB of it."""
    return "ö" * (HUGE // 2)


@tool
def return_list() -> list[str]:
    """Return a list that is 100 MB as JSON."""
    return ["nine char"] * (HUGE // 12)


@tool
def complain() -> str:
    """Fail with 100 MB of a reason."""
    raise ValueError("x" * HUGE)


@tool
def recurse() -> str:
    """Call itself, without an end."""
    return recurse.function()  # type: ignore[no-any-return]


@tool
def leave() -> str:
    """Leave the program, from a thread."""
    sys.exit("enough")


@tool
async def leave_async() -> str:
    """Leave the program, from a loop."""
    raise SystemExit(3)


@tool(runs="process")
def vanish() -> str:
    """End the process, at once."""
    os._exit(3)


@tool
async def greet() -> str:
    """Greet, from a plugin that is hostile otherwise."""
    return "hello"


@asynccontextmanager
async def linger_on() -> AsyncIterator[None]:
    try:
        yield
    finally:
        time.sleep(FOR_EVER)  # noqa: ASYNC251


def heckle(event: object) -> None:
    raise RuntimeError(f"boo {event}")


worker = make_plugin(work)
blocker = make_plugin(block)
crowd = make_plugin(linger)
glutton = make_plugin(return_text, return_words, return_list, complain)
fool = make_plugin(recurse, leave, leave_async)
bomb = make_plugin(vanish)
squatter = make_plugin(greet, lifespan=linger_on)
heckler = make_plugin(observe=heckle)
deaf = make_plugin(observe=lambda event: time.sleep(FOR_EVER))
