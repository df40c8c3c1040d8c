"""The tools of a storm: quick and slow, right and wrong, in every place but a process of their own."""

from __future__ import annotations

import time
from typing import Annotated

import trio

from convaid import ToolContext, ToolError, tool
from convaid.config import ToolPolicy, ToolsConfig
from convaid.plugins import Plugin, Plugins
from convaid.simulator.chaos import ChaosTool

__all__ = ["CHAOS_TOOLS", "CONFIG", "PLUGINS", "TOOL_LIMIT"]

TOOL_LIMIT = 0.5  # seconds

Number = Annotated[int, "a number"]


@tool
def add(a: Number, b: Number = 1) -> int:
    """Add two numbers."""
    return a + b


@tool
async def add_async(a: Number, b: Number = 1) -> int:
    """Add two numbers."""
    await trio.lowlevel.checkpoint()
    return a + b


@tool
def take_time(a: Number) -> str:
    """Block for a moment."""
    time.sleep(0.01 * (a % 10))
    return "done"


@tool
async def take_time_async(a: Number) -> str:
    """Wait for a moment."""
    await trio.sleep(0.02 * (a % 10))
    return "done"


@tool
def overrun() -> str:
    """Block for longer than it may."""
    time.sleep(TOOL_LIMIT * 1.5)
    return "too late"


@tool
async def overrun_async() -> str:
    """Wait for longer than it may."""
    await trio.sleep(TOOL_LIMIT * 3)
    return "too late"


@tool
async def put_off(context: ToolContext) -> str:
    """Answer at once, and go on for a while."""
    context.defer("I am looking.")
    await trio.sleep(0.1)
    return "found"


@tool
def refuse() -> str:
    """Fail, in words."""
    raise ToolError("No, not today.")


@tool
async def break_down() -> str:
    """Fail, with a fault."""
    raise ZeroDivisionError("a fault in the tool")


TOOLS = (add, add_async, take_time, take_time_async, overrun, overrun_async, put_off, refuse, break_down)
PLUGINS = Plugins((Plugin("stormy", "stormy", "stormy", "1", "ready", tools=TOOLS),))
CONFIG = ToolsConfig(
    time_limit=TOOL_LIMIT,
    named={
        "overrun_async": ToolPolicy(deliver_late=True, on_disconnect="keep"),
        "take_time_async": ToolPolicy(on_interrupt="cancel"),
    },
)
CHAOS_TOOLS = [ChaosTool(each.name, each.parameters or {}) for each in TOOLS]
