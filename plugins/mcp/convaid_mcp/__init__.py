"""The tools of MCP servers as client tools. The README explains the settings.

Nothing of the SDK is imported where no server is configured: it takes a second.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from convaid import Tool, hookimpl
from convaid_mcp.settings import McpSettings

if TYPE_CHECKING:
    from convaid_mcp.connections import Connection

__all__ = ["convaid_lifespan", "convaid_settings", "convaid_tools"]

STOP_GRACE = 1.0  # seconds for servers to be said goodbye to; ending their programs may take as long again


@hookimpl
def convaid_settings() -> type:
    return McpSettings


@hookimpl
def convaid_tools(settings: McpSettings) -> list[Tool]:
    if not settings.servers:
        return []
    from convaid_mcp.declaring import declare_tools
    from convaid_mcp.loading import find_tools

    settings.offered.update(find_tools(settings.servers))
    return declare_tools(settings.servers, settings.offered)


@hookimpl
@asynccontextmanager
async def convaid_lifespan(settings: McpSettings) -> AsyncIterator[dict[str, Connection]]:
    """Keep a connection to each server; yields at once, and calls wait for theirs."""
    if not settings.servers:
        yield {}
        return
    import trio

    from convaid_mcp.connections import Connection

    connections = {name: Connection(name, server, settings.offered[name]) for name, server in settings.servers.items()}
    async with trio.open_nursery() as nursery:
        for connection in connections.values():
            nursery.start_soon(connection.keep, name=f"MCP server {connection.name}")
        yield connections
        for connection in connections.values():
            connection.stop()
        nursery.cancel_scope.deadline = trio.current_time() + STOP_GRACE
