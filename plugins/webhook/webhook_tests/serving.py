"""A real HTTP server on loopback, and calls of tools as an agent makes them: through the entry point and the room."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from typing import Any

import trio
from attrs import define, field, frozen

from convaid.calls import open_tool_calls
from convaid.config.policy import ToolsConfig
from convaid.events import ToolAnswer
from convaid.plugins import Plugins, load_plugins
from convaid.protocol.from_agent import ClientToolCall

__all__ = ["Request", "Server", "ask", "load_webhook", "read_request", "text", "write_answer"]

Behave = Callable[[trio.abc.Stream], Awaitable[None]]


@frozen
class Request:
    """What has arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: str


def write_answer(status: str = "200 OK", body: str = "", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", body]).encode()


@define
class Server:
    """Gives its answers one after the other, the last one for ever; or does what ``behave`` does instead."""

    port: int
    requests: list[Request] = field(factory=list)
    answers: list[bytes] = field(factory=lambda: [write_answer()])
    behave: Behave | None = None
    tls: ssl.SSLContext | None = None
    connections: int = 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        if self.tls is not None:
            stream = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
        try:
            if self.behave is not None:
                await self.behave(stream)
                return
            while (request := await read_request(stream)) is not None:
                self.requests.append(request)
                answer = self.answers[0]
                del self.answers[: len(self.answers) > 1]
                await stream.send_all(answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # whoever called has gone, or does not like our certificate


async def read_request(stream: trio.abc.Stream) -> Request | None:
    head = b""
    while b"\r\n\r\n" not in head:
        if not (part := await stream.receive_some()):
            return None
        head += part
    head, _, body = head.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += await stream.receive_some()
    method, target, _ = first.split()
    return Request(method, target, headers, body.decode())


def load_webhook(table: dict[str, Any]) -> Plugins:
    return load_plugins({"webhook": table}, entry_points=entry_points(group="convaid", name="webhook"))


async def ask(tool: dict[str, Any], allow_local: Any = True, **parameters: Any) -> ToolAnswer:
    """Call one tool, as an agent does."""
    plugins = load_webhook({"tools": {"go": {"description": "Go", **tool}}, "allow_local": allow_local})
    assert not plugins.problems
    with trio.fail_after(10):
        async with open_tool_calls(plugins, ToolsConfig()) as tool_calls:
            return await tool_calls.call(ClientToolCall("go", "call_1", parameters), "main", "conv_1")


def text(description: str = "a text", **more: Any) -> dict[str, Any]:
    """A parameter."""
    return {"type": "string", "description": description, **more}
