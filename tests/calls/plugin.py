"""Plugins made on the spot, for tests of the tool calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

import trio

from convaid import Tool, tool
from convaid.calls import ToolCalls
from convaid.events import ApprovalRequest, Event, ToolAnswer
from convaid.plugins import Plugin, Plugins
from convaid.plugins.hookspecs import Loop
from convaid.protocol.from_agent import ClientToolCall

WAIT_LIMIT = 10.0  # seconds for anything that a test waits for
TIME_LIMIT = 0.8  # seconds for a tool that is to begin and not to end: a busy machine stands still for half a second
Number = Annotated[int, "a number"]
Seconds = Annotated[float, "how long"]


@tool
def add(a: Number, b: Number = 1) -> int:
    """Add."""
    return a + b


@tool
async def add_async(a: Number, b: Number = 1) -> int:
    """Add."""
    await trio.lowlevel.checkpoint()
    return a + b


@tool
def block(seconds: Seconds) -> None:
    """Block."""
    time.sleep(seconds)


@tool
async def sleep(seconds: Seconds) -> None:
    """Sleep."""
    await trio.sleep(seconds)


def make_plugin(
    *tools: Tool,
    name: str = "tried",
    settings: Any = None,
    lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
    observe: Callable[[Event], Any] | None = None,
    approve: Callable[[ApprovalRequest], Any] | None = None,
    loop: Loop = "trio",
) -> Plugin:
    return Plugin(
        name=name,
        module=f"convaid_{name}",
        distribution=f"convaid-{name}",
        version="1.0",
        status="ready",
        tools=tools,
        settings=settings,
        lifespan=lifespan,
        observe=observe,
        approve=approve,
        loop=loop,
    )


def make_plugins(*tools: Tool) -> Plugins:
    return Plugins((make_plugin(*tools),))


async def ask(tool_calls: ToolCalls, tool_name: str, parameters: Any = None, call_id: str = "call_1") -> ToolAnswer:
    """Call a tool as an agent does; an answer that does not come fails the test."""
    with trio.fail_after(WAIT_LIMIT):
        return await tool_calls.call(ClientToolCall(tool_name, call_id, parameters), "main", "conv_1")
