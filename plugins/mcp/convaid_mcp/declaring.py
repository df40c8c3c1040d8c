"""From what servers list to tools that agents can call: which of them, by what names, with what parameters."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from convaid import Tool, ToolContext, declare_tool
from convaid.errors import ToolDefinitionError
from convaid_mcp.folding import Folded, Unfoldable, fold_parameters
from convaid_mcp.listings import ListedTool

if TYPE_CHECKING:
    from convaid_mcp.connections import Connection
    from convaid_mcp.settings import ServerSettings

__all__ = ["declare_tools"]

log = logging.getLogger("convaid.plugin.mcp")

NAME_LENGTH = 64  # characters, the most that the platform takes
LONGEST_DESCRIPTION = 20_000  # characters: a model reads it at each turn
LONGEST_REASON = 500  # characters: schemas and names of others can stand in it


def declare_tools(servers: Mapping[str, ServerSettings], offered: Mapping[str, Mapping[str, ListedTool]]) -> list[Tool]:
    """Return a tool for each that servers list, in order. One that cannot be is left out, and the log says why."""
    listed = [(server, tool) for server, tools in offered.items() for tool in tools.values()]
    names = [_make_name(servers[server], server, tool.name) for server, tool in listed]
    counts = Counter(names)
    tools = []
    for name, (server, tool) in zip(names, listed, strict=True):
        reason = ""
        if counts[name] > 1:
            twins = [
                f"{tool.name} of {server}" for each, (server, tool) in zip(names, listed, strict=True) if each == name
            ]
            reason = f'the name "{name}" would be that of {" and ".join(twins)}: set `prefix`, or narrow `tools`'
        else:
            try:
                tools.append(_declare(name, server, servers[server], tool))
            except (Unfoldable, ToolDefinitionError) as error:
                reason = str(error)
            except RecursionError:
                reason = "its parameters are nested too deeply"
        if reason:
            log.warning(
                'the tool "%s" of the MCP server "%s" is left out: %s', tool.name, server, reason[:LONGEST_REASON]
            )
    return tools


def _make_name(settings: ServerSettings, server: str, tool: str) -> str:
    prefix = f"{server}_" if settings.prefix is None else settings.prefix
    return re.sub(r"[^a-zA-Z0-9_-]", "_", prefix + tool)[:NAME_LENGTH]


def _declare(name: str, server: str, settings: ServerSettings, tool: ListedTool) -> Tool:
    if len(tool.description) > LONGEST_DESCRIPTION:
        raise Unfoldable(f"its description has {len(tool.description)} characters, more than {LONGEST_DESCRIPTION}")
    folded = fold_parameters(tool.schema)
    return declare_tool(
        _make_function(server, tool.name, folded),
        name=name,
        description=tool.description.strip() or f"{tool.name}, of the server {server}.",
        parameters=folded.node,
        time_limit=settings.call_limit,
    )


def _make_function(server: str, tool: str, folded: Folded) -> Callable[[dict[str, Any], ToolContext], Awaitable[str]]:
    async def call(arguments: dict[str, Any], context: ToolContext) -> str:
        connection: Connection = context.state[server]
        return await connection.call(tool, folded.restore(arguments), context.deadline)

    return call
