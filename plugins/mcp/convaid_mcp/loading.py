"""Asking all servers what they have, before there is a conversation."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from outcome import Outcome, capture

from convaid_mcp.listings import ListedTool, keep_listing, read_listing

if TYPE_CHECKING:
    from convaid_mcp.settings import ServerSettings

__all__ = ["find_tools"]

log = logging.getLogger("convaid.plugin.mcp")

STOP_LIMIT = 3.0  # seconds for programs to be ended when we are interrupted
Answer = list[ListedTool] | str
"""What a server has, or why it does not say so."""


def find_tools(servers: Mapping[str, ServerSettings]) -> dict[str, dict[str, ListedTool]]:
    """Ask all servers at once, each within its ``start_limit``, and return what agents get of each, by its own names.

    One that does not answer keeps the tools that it had when it last did; the log says so. Blocks; may be called where
    an event loop runs, and where none does.
    """
    results: SimpleQueue[Outcome[dict[str, Answer]]] = SimpleQueue()
    stops: list[Callable[[], None]] = []
    threading.Thread(target=lambda: results.put(capture(_ask_all, servers, stops)), name="MCP", daemon=True).start()
    try:
        result = results.get()
    except KeyboardInterrupt:  # the programs have groups of their own, which Ctrl+C does not reach
        for stop in stops:
            stop()
        with suppress(Empty):
            results.get(timeout=STOP_LIMIT)
        raise
    answers = result.unwrap()
    return {name: _choose(name, server, _settle(name, server, answers[name])) for name, server in servers.items()}


def _ask_all(servers: Mapping[str, ServerSettings], stops: list[Callable[[], None]]) -> dict[str, Answer]:
    """``stops`` gets what ends the asking early, from another thread."""
    import trio

    from convaid_mcp.links import Unreachable, open_link

    answers: dict[str, Answer] = {}

    async def ask(name: str, server: ServerSettings) -> None:
        try:
            async with open_link(name, server) as (_, tools):
                answers[name] = tools
        except Unreachable as error:
            answers.setdefault(name, str(error))  # what has gone wrong after the answer is no matter

    async def ask_all() -> None:
        async with trio.open_nursery() as nursery:
            stops.append(partial(trio.lowlevel.current_trio_token().run_sync_soon, nursery.cancel_scope.cancel))
            for name, server in servers.items():
                nursery.start_soon(ask, name, server)

    trio.run(ask_all)
    return answers


def _settle(name: str, server: ServerSettings, answer: Answer) -> list[ListedTool]:
    """Return a server's tools: those that it has, or else those that it had."""
    if not isinstance(answer, str):
        keep_listing(name, server, answer)
        return answer
    if kept := read_listing(name, server):
        since = f"{kept.listed:%Y-%m-%d %H:%M} UTC"
        log.warning('the MCP server "%s" cannot be used: %s; its tools are those of %s', name, answer, since)
        return kept.tools
    log.warning('the MCP server "%s" cannot be used: %s; so far it has no tools', name, answer)
    return []


def _choose(name: str, server: ServerSettings, tools: list[ListedTool]) -> dict[str, ListedTool]:
    """Return the tools that the configuration lists."""
    for pattern in server.tools:
        if tools and not any(fnmatchcase(tool.name, pattern) for tool in tools):
            names = ", ".join(tool.name for tool in tools)
            log.warning('no tool of the MCP server "%s" is called "%s"; there are: %s', name, pattern, names)
    return {tool.name: tool for tool in tools if server.allows(tool.name)}
