"""Plugins made on the spot, for tests of the tool calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from convaid import Tool
from convaid.calls import ToolCalls
from convaid.events import Event, ToolAnswer
from convaid.plugins import Plugin, Plugins
from convaid.protocol.from_agent import ClientToolCall

WAIT_LIMIT = 10.0  # seconds for anything that a test waits for


def make_plugin(
    *tools: Tool,
    name: str = "tried",
    settings: Any = None,
    lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
    observe: Callable[[Event], Any] | None = None,
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
    )


def make_plugins(*tools: Tool) -> Plugins:
    return Plugins((make_plugin(*tools),))


async def ask(tool_calls: ToolCalls, tool_name: str, parameters: Any = None, call_id: str = "call_1") -> ToolAnswer:
    """Call a tool as an agent does; an answer that does not come fails the test."""
    with trio.fail_after(WAIT_LIMIT):
        return await tool_calls.call(ClientToolCall(tool_name, call_id, parameters), "main", "conv_1")
