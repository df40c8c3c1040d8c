"""Tools that keep what others need: their loop, as those do that call a blocking library, or the processor."""

import time

from convaid import Tool, hookimpl, tool


@tool
async def block(seconds: float) -> str:
    """Block where waiting would have been polite.

    Args:
        seconds: How long.
    """
    time.sleep(seconds)  # noqa: ASYNC251  # that is the point
    return "ok"


@tool
def compute(seconds: float) -> str:
    """Keep a processor, and the interpreter's lock wherever it can.

    Args:
        seconds: How long.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))
    return "ok"


@hookimpl
def convaid_tools() -> list[Tool]:
    return [block, compute]
