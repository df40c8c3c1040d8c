"""The plugin's table in the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from attrs import field, frozen

from convaid import Length, Range
from convaid.config.checks import is_loopback
from convaid.errors import Problem, StructureError
from convaid_mcp.listings import ListedTool
from convaid_mcp.references import REFERENCE

__all__ = ["McpSettings", "ServerSettings"]

SHORTEST_LIMIT = 0.1  # seconds: less is a slip of the pen


@frozen
class ServerSettings:
    """``[plugins.mcp.servers.NAME]``: one MCP server, a program or a URL, and which of its tools agents get."""

    tools: Annotated[tuple[str, ...], Length(1)]
    """Patterns of the server's own names: ``read_*``. Nothing is offered that none of them matches."""
    command: tuple[str, ...] = ()
    url: str = field(default="", repr=False)
    headers: dict[str, str] = field(factory=dict, repr=False)
    env: dict[str, str] = field(factory=dict, repr=False)
    """What the program's environment has beside the few variables that it gets anyway."""
    folder: Path | None = None
    prefix: str | None = None
    """What agents know the tools by: this and the server's own name. None stands for NAME and an underscore."""
    start_limit: Annotated[float, Range(SHORTEST_LIMIT)] = 15.0
    """Seconds to start or reach the server and to learn its tools."""
    call_limit: Annotated[float, Range(SHORTEST_LIMIT)] | None = None
    """Seconds for a call; None leaves it to ``[tools]``."""

    def allows(self, name: str) -> bool:
        """Whether agents get the tool that the server calls ``name``."""
        return any(fnmatchcase(name, pattern) for pattern in self.tools)

    def __attrs_post_init__(self) -> None:
        if problems := list(self._find_contradictions()):
            raise StructureError(problems)

    def _find_contradictions(self) -> Iterator[Problem]:
        if bool(self.command) == bool(self.url):
            yield Problem("command", "a server is either a program, by `command`, or an address, by `url`: give one")
        elif self.url:
            if fault := _find_fault(self.url, bool(self.headers or REFERENCE.search(self.url))):
                yield Problem("url", fault)
            for name in ("env", "folder"):
                if getattr(self, name):
                    yield Problem(name, "is for a server with `command`: remove it")
        elif self.headers:
            yield Problem("headers", "is for a server with `url`: remove it, or use env")


@frozen
class McpSettings:
    """``[plugins.mcp]``"""

    servers: dict[str, ServerSettings] = field(factory=dict)
    offered: dict[str, dict[str, ListedTool]] = field(factory=dict, init=False, repr=False)
    """Not a setting: what agents know of each server, by the server's own names, once the tools have been made."""


def _find_fault(url: str, has_secrets: bool) -> str:
    """Return what is wrong with the address, without repeating it: it may hold a secret."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        return f"is not a URL: {error}"
    if parts.scheme not in ("http", "https") or not host:
        return "is not an http:// or https:// URL"
    if parts.scheme == "http" and has_secrets and not is_loopback(host):
        return "is plain http:// to another machine, where everybody on the way could read its secrets: use https://"
    return ""
