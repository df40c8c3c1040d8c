"""Plugins that do their worst, for `test_hostile_tools`: each is an object here, as an entry point names it."""

import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from convaid import Tool, hookimpl, tool

HUGE = 100_000_000  # bytes
CROWD = 500
FOR_EVER = 1000.0  # seconds

# Made before anybody talks: to make them is a single operation that keeps the interpreter's lock, and the plugin's own.
TEXT = "x" * HUGE
WORDS = "ö" * (HUGE // 2)
LIST = ["nine char"] * (HUGE // 12)
gate = threading.Barrier(CROWD)


@tool
def work() -> str:
    """Compute in pure Python for 2 s."""
    end = time.monotonic() + 2.0
    total = 0
    while time.monotonic() < end:
        total += sum(number * number for number in range(100))
    return "worked"


@tool(time_limit=1)
async def block() -> str:
    """Block the loop for 10 s."""
    time.sleep(10.0)  # noqa: ASYNC251
    return "unblocked"


@tool
def gather() -> str:
    """Wait until 500 calls are here at once."""
    gate.wait(20.0)
    return "gathered"


@tool
def return_text() -> str:
    """Return 100 MB of text."""
    return TEXT


@tool
def return_words() -> str:
    """Return 100 MB of text that is not ASCII."""
    return WORDS


@tool
def return_list() -> list[str]:
    """Return a list that is 100 MB as JSON."""
    return LIST


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


@asynccontextmanager
async def stay() -> AsyncIterator[None]:
    try:
        yield
    finally:
        time.sleep(FOR_EVER)  # noqa: ASYNC251


def heckle(event: object) -> None:
    raise RuntimeError(f"boo: {event}")


def make_plugin(*tools: Tool, **hooks: Callable[..., Any]) -> SimpleNamespace:
    return SimpleNamespace(
        convaid_tools=hookimpl(lambda: list(tools)),
        **{f"convaid_{name}": hookimpl(hook) for name, hook in hooks.items()},
    )


worker = make_plugin(work)
blocker = make_plugin(block)
crowd = make_plugin(gather)
glutton = make_plugin(return_text, return_words, return_list)
fool = make_plugin(recurse, leave, leave_async)
bomb = make_plugin(vanish)
squatter = make_plugin(lifespan=stay)
heckler = make_plugin(observe=heckle)
deaf = make_plugin(observe=lambda event: time.sleep(FOR_EVER))
