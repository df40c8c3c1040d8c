"""One connection to an MCP server, from its beginning to its end. Whoever opens it, opens the next."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import mcp
import trio
from attrs import define, field
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import SubscriptionLost
from mcp_types import METHOD_NOT_FOUND, Implementation, ToolListChangedNotification
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

import convaid
from convaid_mcp.listings import ListedTool
from convaid_mcp.programs import LONGEST_MESSAGE, Program
from convaid_mcp.references import resolve_references

if TYPE_CHECKING:
    from convaid_mcp.settings import ServerSettings

__all__ = ["Link", "Unreachable", "open_link"]

log = logging.getLogger("convaid.plugin.mcp")

for noisy in ("httpx2", "httpcore2", "mcp"):  # each request at the level of information, with addresses and session ids
    logging.getLogger(noisy).setLevel(logging.WARNING)

HTTP_LIMIT = 30.0  # seconds to connect and to send; an answer may take as long as the call
PAGE_LIMIT = 100  # of a listing: more is a server that goes round in circles
TOOL_LIMIT = 2000  # of one server: to look at each takes a millisecond
HINTS = {401: ": look at its headers", 403: ": look at its headers", 404: ": look at its url"}
LISTEN_PAUSE = 1.0  # seconds before a server is asked again to tell of changes
TRUSTED_FOR = 10.0  # seconds after a sign of life that a call goes to an HTTP server without another look


class Unreachable(Exception):
    """There is no connection, or none any more; ``str()`` says why, for a person."""


@define(eq=False)
class Link:
    """An open connection."""

    client: mcp.Client
    ended: trio.Event
    """It is of no use any more. Whoever finds that out sets it."""
    is_remote: bool
    last_heard: float = field(factory=trio.current_time)
    """When the server has shown that it knows us, on trio's clock."""

    async def list_tools(self) -> list[ListedTool]:
        """Ask for all tools. Raises MCPError, and Unreachable where there is no end of them."""
        listed: list[ListedTool] = []
        cursor = None
        for _ in range(PAGE_LIMIT):
            page = await self.client.list_tools(cursor=cursor)
            listed += [
                ListedTool(tool.name, tool.description or tool.title or "", tool.input_schema) for tool in page.tools
            ]
            if len(listed) > TOOL_LIMIT:
                raise Unreachable(f"it lists more than {TOOL_LIMIT} tools")
            if not (cursor := page.next_cursor):
                break
        return listed

    async def look(self) -> bool:
        """Return whether the server still knows us.

        A program that ends is noticed at once. An HTTP server that has been started again is not, and it has forgotten
        its sessions: a call would fail that could have been made. So it is asked first where it has been silent.
        """
        if not self.is_remote or trio.current_time() - self.last_heard < TRUSTED_FOR:
            return not self.ended.is_set()
        session = self.client.session
        version = self.client.protocol_version
        try:
            await (session.send_discover(version) if version in MODERN_PROTOCOL_VERSIONS else session.send_ping())
        except mcp.MCPError as error:
            if error.code != METHOD_NOT_FOUND:
                self.ended.set()
                return False
        self.last_heard = trio.current_time()
        return True

    async def watch_listing(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called when the server says that its tools have changed. Servers of 2026 on want to be asked
        for that."""
        tools = self.client.server_capabilities.tools
        while tools is not None and tools.list_changed and self.client.protocol_version in MODERN_PROTOCOL_VERSIONS:
            try:
                async with self.client.listen(tools_list_changed=True) as events:
                    async for _ in events:
                        changed()
            except SubscriptionLost:
                log.debug("a server has stopped to tell of changes")
            except mcp.MCPError as error:
                log.debug("a server does not tell of changes: %s", error)
                return
            self.last_heard = -math.inf
            if not await self.look():
                return
            await trio.sleep(LISTEN_PAUSE)


@asynccontextmanager
async def open_link(
    name: str, server: ServerSettings, changed: Callable[[], None] = lambda: None
) -> AsyncIterator[tuple[Link, list[ListedTool]]]:
    """Connect to a server, and yield the connection with the server's tools; at the end the program has ended.

    ``changed`` is called when the server says that its tools have changed. Raises Unreachable, in place of whatever the
    connection fails with, when it is opened, while it is open, and when it is closed.
    """
    program = Program(f'the MCP server "{name}"', server) if server.command else None
    statuses: deque[int] = deque(maxlen=1)
    with trio.CancelScope(deadline=trio.current_time() + server.start_limit) as limit:
        try:
            async with AsyncExitStack() as stack:
                transport = (
                    program.open_transport()
                    if program
                    else await stack.enter_async_context(_open_http(server, statuses))
                )
                client = await stack.enter_async_context(_make_client(transport, changed))
                # By the SDK results are held against the tool's own schema. A server's pattern can take for ever there,
                # and keeps the interpreter's lock from everybody; and agents make do with what it says.
                client.session.validate_tool_result = _take_any_result  # type: ignore[method-assign]
                link = Link(client, program.ended if program else trio.Event(), is_remote=program is None)
                tools = await link.list_tools()
                limit.deadline = math.inf
                yield link, tools
        except Exception as error:  # whatever a server and the SDK make of each other
            log.debug('the MCP server "%s" is lost', name, exc_info=error)
            raise Unreachable((program.describe_end() if program else "") or _describe(error, statuses)) from error
    if limit.cancelled_caught:
        raise Unreachable(f"it did not answer within {server.start_limit:g} s")


async def _take_any_result(name: str, result: object) -> None:
    return


def _make_client(transport: Any, changed: Callable[[], None]) -> mcp.Client:
    async def take(message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            changed()

    info = Implementation(name="convaid", version=convaid.__version__)
    # No cache: what we ask, we ask because we want to know.
    return mcp.Client(transport, cache=None, client_info=info, message_handler=take)


@asynccontextmanager
async def _open_http(server: ServerSettings, statuses: deque[int]) -> AsyncIterator[AbstractAsyncContextManager[Any]]:
    """Yield the transport for a URL. ``statuses`` gets the last answer's status: the SDK's errors do not tell it."""

    async def look_at(response: httpx2.Response) -> None:
        statuses.append(response.status_code)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx2.DecodingError("it answers in a compressed form, for which it was not asked")
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            response.stream = Bounded(response.stream)

    # A small answer in a compressed form could be a large one.
    headers = {"Accept-Encoding": "identity"}
    headers |= {name: resolve_references(value) for name, value in server.headers.items()}
    timeout = httpx2.Timeout(HTTP_LIMIT, read=None)
    hooks = {"response": [look_at]}
    # What may be secret on its way to this machine must not take the way of a proxy.
    is_plain = server.url.startswith("http:")
    async with httpx2.AsyncClient(headers=headers, timeout=timeout, event_hooks=hooks, trust_env=not is_plain) as http:
        url = resolve_references(server.url)
        yield streamable_http_client(url, http_client=http, max_sse_event_size=LONGEST_MESSAGE)


class Bounded(httpx2.AsyncByteStream):
    """A body that is one message, and ends with an error where it is too long for one. The SDK reads it whole."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.left = LONGEST_MESSAGE

    def __aiter__(self) -> AsyncIterator[bytes]:
        self.parts = aiter(self.stream)
        return self

    async def __anext__(self) -> bytes:
        part: bytes = await anext(self.parts)
        self.left -= len(part)
        if self.left < 0:
            raise httpx2.ReadError(f"it sent a message of more than {LONGEST_MESSAGE} bytes")
        return part

    async def aclose(self) -> None:
        await self.stream.aclose()


def _describe(error: BaseException, statuses: deque[int]) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    status = statuses[-1] if statuses else 0
    match error:
        case Unreachable():
            return str(error)
        case _ if status >= 400:
            return f"it answers with HTTP status {status}{HINTS.get(status, '')}"
        case ValidationError():
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            return f"what it says is not the Model Context Protocol ({place}: {fault['msg']})"
        case OSError() if error.strerror:
            return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        case mcp.MCPError() | httpx2.HTTPError() | ValueError() if str(error):
            return str(error).partition("\n")[0]
    return f"{type(error).__name__}: {error}".partition("\n")[0]
