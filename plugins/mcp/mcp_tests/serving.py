"""The servers of these tests, each a process of its own, and ways to talk to them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any

import trio
from attrs import define, field
from convaid_mcp.connections import Connection
from convaid_mcp.listings import ListedTool
from convaid_mcp.settings import ServerSettings

from convaid.calls import ToolCalls
from convaid.events import ToolAnswer
from convaid.protocol.from_agent import ClientToolCall

HERE = Path(__file__).parent
WAIT_LIMIT = 30.0  # seconds for anything that a test waits for
STEP = 0.02  # seconds between two looks at what has no event


@define
class PlainServer:
    """A program without the SDK; see plain_server.py. Its files stand beside the one with its tools."""

    path: Path
    names: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.list("echo", "die", "wait", "environment", "where", "change", "refuse", "show", "fail", "babble", "flood")

    def list(self, *names: str, **schemas: Any) -> None:
        """Have the server list these tools from now on: by their names, or with a schema."""
        tools = [{"name": name, "description": f"To {name}.", "inputSchema": {"type": "object"}} for name in names]
        tools += [{"name": name, "description": f"To {name}.", "inputSchema": schemas[name]} for name in schemas]
        self.write(tools)

    def write(self, tools: list[dict[str, Any]]) -> None:
        aside = self.path.with_suffix(".new")
        aside.write_text(json.dumps(tools))
        aside.replace(self.path)

    def make_table(self, *habits: str, **settings: Any) -> dict[str, Any]:
        """Return the server's table in the configuration."""
        command = [sys.executable, str(HERE / "plain_server.py"), str(self.path), *habits]
        return {"command": command, "tools": ["*"], "start_limit": WAIT_LIMIT, **settings}

    def make_settings(self, *habits: str, **settings: Any) -> ServerSettings:
        return ServerSettings(**{**self.make_table(*habits, **settings), "tools": ("*",)})

    @property
    def pids(self) -> list[int]:
        return [int(line) for line in self._read(".pids")]

    @property
    def calls(self) -> list[Any]:
        return [json.loads(line) for line in self._read(".calls")]

    @property
    def cancelled(self) -> list[str]:
        return self._read(".cancelled")

    @property
    def listings(self) -> int:
        return len(self._read(".listings"))

    def _read(self, suffix: str) -> list[str]:
        path = self.path.with_suffix(suffix)
        return path.read_text().splitlines() if path.exists() else []


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked after does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def wait_until(is_so: Callable[[], object]) -> None:
    """Wait for what has no event, within the limit."""
    with trio.fail_after(WAIT_LIMIT):
        while not is_so():  # noqa: ASYNC110
            await trio.sleep(STEP)


@asynccontextmanager
async def open_connection(
    server: ServerSettings, offered: Mapping[str, ListedTool] | None = None
) -> AsyncIterator[Connection]:
    """Keep a connection as the plugin's lifespan does; at the end it has a limited time to end."""
    connection = Connection("tried", server, dict(offered or {}))
    with trio.fail_after(4 * WAIT_LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.keep)
            yield connection
            connection.stop()
            nursery.cancel_scope.deadline = trio.current_time() + 1.0


async def call(connection: Connection, tool: str, within: float = WAIT_LIMIT, **arguments: Any) -> str:
    """Call a tool of the server's; ``within`` seconds."""
    with trio.fail_after(WAIT_LIMIT):
        return await connection.call(tool, arguments, time.monotonic() + within)


async def ask(tool_calls: ToolCalls, tool: str, **parameters: Any) -> ToolAnswer:
    """Call a tool as an agent does."""
    with trio.fail_after(WAIT_LIMIT):
        return await tool_calls.call(ClientToolCall(tool, "call_1", parameters), "main", "conv_1")


@define
class SdkServer:
    """The SDK's server over HTTP, in a process that has begun; it takes a second until it can listen."""

    process: trio.Process

    async def listen(self, port: int = 0) -> int:
        """Have it listen, and return the port."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with trio.fail_after(WAIT_LIMIT):
            await self.process.stdin.send_all(f"{port}\n".encode())
            return int(await self.process.stdout.receive_some())

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def start_sdk_server() -> AsyncIterator[SdkServer]:
    """Start the server; at the end it is killed."""
    command = [sys.executable, str(HERE / "sdk_server.py"), "http"]
    process = await trio.lowlevel.open_process(command, stdin=PIPE, stdout=PIPE, env={"PATH": os.environ["PATH"]})
    server = SdkServer(process)
    try:
        yield server
    finally:
        with trio.CancelScope(shield=True):
            await server.kill()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                await stream.aclose()
