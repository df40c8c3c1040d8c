"""The connections to the servers while the daemon runs: opened again whenever they end, and used by tool calls."""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import mcp
import trio
from attrs import define, field
from mcp_types import CONNECTION_CLOSED
from pydantic import ValidationError

from convaid import ToolError
from convaid.backoff import Backoff
from convaid.protocol.endings import Retry
from convaid_mcp.links import Link, Unreachable, open_link
from convaid_mcp.listings import ListedTool, keep_listing
from convaid_mcp.results import read_result

if TYPE_CHECKING:
    from convaid_mcp.settings import ServerSettings

__all__ = ["Connection"]

log = logging.getLogger("convaid.plugin.mcp")

STABLE_AFTER = 30.0  # seconds: a connection that has lasted so long was a good one, the next is tried soon
LISTING_PAUSE = 0.2  # seconds from the news that the tools have changed until they are asked for
ANSWER_MARGIN = 0.5  # seconds before a call's deadline at which it is answered that there is no connection


@define(eq=False)
class Connection:
    """What there is of one server, while the daemon runs. `keep` is its task."""

    name: str
    server: ServerSettings
    offered: dict[str, ListedTool]
    """What agents know of it, by the server's own names."""
    _listed: frozenset[str] = field(factory=frozenset, init=False)
    """The names of all that it has now."""
    _link: Link | None = field(default=None, init=False)
    _linked: trio.Event = field(factory=trio.Event, init=False)
    _trouble: str = field(default="it has not answered yet", init=False)
    _is_troubled: bool = field(default=False, init=False)
    """The log has said that the server cannot be reached, and not yet that it can."""
    _reported: dict[str, ListedTool] = field(init=False)
    """What agents would get of it, as last compared with what they know."""
    _is_stopping: bool = field(default=False, init=False)
    _life: trio.CancelScope = field(factory=trio.CancelScope, init=False)

    @_reported.default
    def _expect_no_change(self) -> dict[str, ListedTool]:
        return self.offered

    async def keep(self) -> None:
        """Connect, and connect again whenever the connection ends, until `stop` is called."""
        backoff = Backoff(STABLE_AFTER)
        with self._life:
            while not self._is_stopping:
                begin = trio.current_time()
                try:
                    await self._hold()
                except Unreachable as error:
                    self._trouble = str(error)
                    level = logging.DEBUG if self._is_troubled else logging.WARNING
                    log.log(level, 'the MCP server "%s" cannot be used: %s; it is tried again', self.name, error)
                    self._is_troubled = True
                    await trio.sleep(backoff.find_delay(Retry.SOON, trio.current_time() - begin))

    def stop(self) -> None:
        """Have `keep` end: with a goodbye to the server, if it is connected."""
        self._is_stopping = True
        if self._link is not None:
            self._link.ended.set()
        else:
            self._life.cancel()

    async def call(self, tool_name: str, arguments: dict[str, Any], deadline: float) -> str:
        """Call a tool, once, and return what the agent gets. ``deadline`` is on the clock of ``time.monotonic()``.

        Without a connection it waits for one until shortly before the deadline. Raises ToolError.
        """
        link = await self._find_link(deadline)
        if tool_name not in self._listed:
            raise ToolError(
                f'The server "{self.name}" has no {tool_name} any more. Do not call it again in this conversation.'
            )
        try:
            result = await link.client.call_tool(tool_name, arguments)
        except mcp.MCPError as error:
            link.last_heard = -math.inf
            if error.code == CONNECTION_CLOSED:
                raise ToolError(
                    f'The connection to the server "{self.name}" was lost during the call ({error}). The tool may have '
                    "done part of its work: do not call it again at once."
                ) from None
            raise ToolError(f'The server "{self.name}" refuses the call: {error}') from None
        except (ValidationError, RuntimeError) as error:  # the latter: it asks, and asks again, instead of answering
            log.error('the MCP server "%s" answers what it should not: %s', self.name, error)
            raise ToolError(
                f'The tool has run, but what the server "{self.name}" answers cannot be read. Do not call it again for '
                "this: its work may have been done."
            ) from None
        link.last_heard = trio.current_time()
        return read_result(result)

    async def _find_link(self, deadline: float) -> Link:
        """Wait for a connection that works, until it is time to say that there is none."""
        with trio.move_on_after(max(0.0, deadline - ANSWER_MARGIN - time.monotonic())):
            while True:
                await self._linked.wait()
                if (link := self._link) is not None:  # it may just have been lost
                    if await link.look():
                        return link
                    self._forget(link)
        raise ToolError(
            f'The server "{self.name}" cannot be reached: {self._trouble}. Nothing was done. Try again in a minute.'
        )

    def _forget(self, link: Link) -> None:
        """Let calls wait for the next connection, from now on; where several find out, the first one's word counts."""
        if self._link is link:
            self._link, self._linked = None, trio.Event()

    async def _hold(self) -> None:
        """Have a connection for as long as it lasts. Raises Unreachable."""
        send, receive = trio.open_memory_channel[None](1)

        def note_change() -> None:
            with suppress(trio.WouldBlock):  # the list is going to be asked for anyway
                send.send_nowait(None)

        async with open_link(self.name, self.server, note_change) as (link, tools):
            self._take_listing(tools)
            if self._is_troubled:
                log.info('the MCP server "%s" can be used again', self.name)
            self._link, self._trouble, self._is_troubled = link, "it does not answer", False
            self._linked.set()
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(link.watch_listing, note_change)
                    nursery.start_soon(self._follow_changes, link, receive)
                    await link.ended.wait()
                    nursery.cancel_scope.cancel()
            finally:
                self._forget(link)  # before the program has been seen to its end, which takes a while
            if not self._is_stopping:
                raise Unreachable("the connection has ended")

    async def _follow_changes(self, link: Link, changes: trio.MemoryReceiveChannel[None]) -> None:
        async for _ in changes:
            await trio.sleep(LISTING_PAUSE)  # several may come at once, or without end
            try:
                self._take_listing(await link.list_tools())
            except mcp.MCPError as error:
                log.debug('the MCP server "%s" does not tell its new tools: %s', self.name, error)

    def _take_listing(self, tools: list[ListedTool]) -> None:
        """Note what the server has now; agents learn of it at the next start, which the log says."""
        keep_listing(self.name, self.server, tools)
        self._listed = frozenset(tool.name for tool in tools)
        current = {tool.name: tool for tool in tools if self.server.allows(tool.name)}
        if current == self._reported:
            return
        self._reported = current
        changes = {
            "new": [name for name in current if name not in self.offered],
            "gone": [name for name in self.offered if name not in current],
            "changed": [name for name in current if name in self.offered and current[name] != self.offered[name]],
        }
        words = "; ".join(f"{how}: {', '.join(names)}" for how, names in changes.items() if names)
        if words:
            log.warning(
                'the MCP server "%s" has other tools than agents know of (%s): restart convaid to offer what it has',
                self.name,
                words,
            )
