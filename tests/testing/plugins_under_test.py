"""A plugin for tests of the test kit: its tools take their time in every way there is."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import trio
from attrs import define, frozen

from convaid import Tool, ToolContext, ToolError, hookimpl, tool
from convaid.events import Event

Seconds = Annotated[float, "how long"]


@frozen
class Settings:
    greeting: str = "Hello"


@define
class State:
    """What the lifespan yields."""

    calls: int = 0
    was_cancelled: bool = False


@tool
def greet(name: Annotated[str, "whom"], context: ToolContext) -> str:
    """Greet."""
    if not name:
        raise ToolError("Whom?")
    return f"{context.settings.greeting}, {name}!"


@tool
async def count_calls(context: ToolContext) -> int:
    """Count."""
    context.state.calls += 1
    return int(context.state.calls)


@tool(time_limit=60)
async def sleep(seconds: Seconds, context: ToolContext) -> str:
    """Sleep."""
    try:
        await trio.sleep(seconds)
    except trio.Cancelled:
        context.state.was_cancelled = True
        raise
    return "slept"


@tool(time_limit=60)
async def give_up(seconds: Seconds) -> str:
    """Wait for what does not come."""
    with trio.move_on_after(seconds):
        await trio.sleep_forever()
    await trio.to_thread.run_sync(time.sleep, 0.001)  # real work, after which the tool goes on
    raise ToolError("It does not come.")


@tool(time_limit=60)
def block() -> None:
    """Block a thread."""
    threading.Event().wait(30)


room_may_go_on = threading.Event()


@tool(time_limit=60)
async def block_room() -> None:
    """Block, although async."""
    room_may_go_on.wait(30)  # that is what it is for


@tool(time_limit=60)
async def defer(seconds: Seconds, context: ToolContext) -> str:
    """Answer, and go on."""
    context.defer("Soon.")
    await trio.sleep(seconds)
    return "found"


@tool
async def was_cancelled(context: ToolContext) -> bool:
    """Tell."""
    return bool(context.state.was_cancelled)


@define(eq=False)
class TimePlugin:
    """The plugin. What it has observed is in ``events``."""

    events: list[Event]

    @hookimpl
    def convaid_settings(self) -> type:
        return Settings

    @hookimpl
    @asynccontextmanager
    async def convaid_lifespan(self) -> AsyncIterator[State]:
        yield State()

    @hookimpl
    def convaid_observe(self, event: Event) -> None:
        self.events.append(event)

    @hookimpl
    def convaid_tools(self) -> list[Tool]:
        return [greet, count_calls, sleep, give_up, block, block_room, defer, was_cancelled]


@tool(time_limit=60)
async def sleep_in_asyncio(seconds: Seconds) -> str:
    """Sleep."""
    await asyncio.sleep(seconds)
    return "slept"


@tool(time_limit=60)
async def give_up_in_asyncio(seconds: Seconds) -> str:
    """Wait for what does not come."""
    try:
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
    except TimeoutError:
        raise ToolError("It does not come.") from None
    return ""


class AsyncioPlugin:
    @hookimpl
    def convaid_loop(self) -> str:
        return "asyncio"

    @hookimpl
    def convaid_tools(self) -> list[Tool]:
        return [sleep_in_asyncio, give_up_in_asyncio]


def make_plugins() -> dict[str, Any]:
    return {"time": TimePlugin([]), "loop": AsyncioPlugin()}
