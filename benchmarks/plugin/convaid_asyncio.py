"""A plugin whose async tools need asyncio."""

from convaid import Tool, hookimpl, tool


@tool
async def do_nothing_asyncio() -> str:
    """Do nothing, in the plugin's room."""
    return "ok"


@hookimpl
def convaid_loop() -> str:
    return "asyncio"


@hookimpl
def convaid_tools() -> list[Tool]:
    return [do_nothing_asyncio]
