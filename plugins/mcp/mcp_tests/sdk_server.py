"""A tiny MCP server by the official SDK: over stdin and stdout, or, with the argument "http", over HTTP on loopback.

Then it waits for a port on stdin, or 0, and prints the port that it listens at.
"""

from __future__ import annotations

import socket
import sys
from typing import Annotated, Literal

import anyio
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel, Field

server = MCPServer("tiny")


class Lamp(BaseModel):
    """A lamp."""

    name: str
    level: Annotated[int, Field(ge=0, le=10)] = 5


@server.tool()
def light(lamps: list[Lamp], mood: Literal["day", "night"] | None = None) -> str:
    """Light lamps."""
    return " ".join([*(f"{lamp.name}={lamp.level}" for lamp in lamps), str(mood)])


@server.tool()
def measure(room: str | None) -> dict[str, float]:
    """Measure."""
    return {"temperature": 21.5 if room else 0.0}


@server.tool()
async def wait() -> str:
    """Wait for ever."""
    await anyio.sleep_forever()
    return ""


@server.tool()
def sing() -> str:
    """Sing."""
    return "la"


@server.tool()
async def change(context: Context) -> str:
    """Take away a tool and bring another."""
    server.remove_tool("sing")
    server.add_tool(sing, name="hum")
    await context.notify_tools_changed()
    return "changed"


def serve_http() -> None:
    import uvicorn

    config = uvicorn.Config(server.streamable_http_app(), log_level="error")
    listening = socket.create_server(("127.0.0.1", int(sys.stdin.readline())))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(config).run([listening])


if "http" in sys.argv:
    serve_http()
else:
    server.run("stdio")
