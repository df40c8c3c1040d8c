"""The benchmark's tools, offered as any plugin offers its own."""

import time

import trio

from convaid import Tool, hookimpl, tool


@tool
def do_nothing() -> str:
    """Do nothing, in a worker thread."""
    return "ok"


@tool
async def do_nothing_async() -> str:
    """Do nothing, in the plugin's room."""
    return "ok"


@tool
def wait(seconds: float) -> str:
    """Take a while, in a worker thread.

    Args:
        seconds: How long.
    """
    time.sleep(seconds)
    return "ok"


@tool
async def wait_async(seconds: float) -> str:
    """Take a while, in the plugin's room.

    Args:
        seconds: How long.
    """
    await trio.sleep(seconds)
    return "ok"


@hookimpl
def convaid_tools() -> list[Tool]:
    return [do_nothing, do_nothing_async, wait, wait_async]
