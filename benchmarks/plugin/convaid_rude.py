"""A plugin that blocks its own loop, as plugins do that call a blocking library in an async tool."""

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


@hookimpl
def convaid_tools() -> list[Tool]:
    return [block]
