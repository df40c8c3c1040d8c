"""What servers say that they have, and a copy of it on disk for the day when one does not answer."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import field, frozen

from convaid.errors import StructureError
from convaid.structuring import structure

if TYPE_CHECKING:
    from convaid_mcp.settings import ServerSettings

__all__ = ["KeptListing", "ListedTool", "keep_listing", "read_listing"]

log = logging.getLogger("convaid.plugin.mcp")


@frozen
class ListedTool:
    """A tool as its server describes it."""

    name: str
    description: str
    """"" if the server gives none."""
    schema: dict[str, Any] = field(repr=False)
    """The JSON Schema of its arguments."""


@frozen
class KeptListing:
    """The file's content."""

    of: str
    """Tells the server that was asked from another one that has its name now."""
    listed: datetime
    tools: list[ListedTool] = field(repr=False)


def find_folder() -> Path:
    """Return where a service's state belongs: the folder that systemd gives it, or the user's."""
    folder = os.environ.get("STATE_DIRECTORY") or os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(folder.partition(":")[0], "convaid-mcp").expanduser()


def keep_listing(name: str, server: ServerSettings, tools: list[ListedTool]) -> None:
    """Write down what a server has just said. Where nothing can be written, the log says so, and that is all."""
    kept = KeptListing(_identify(server), datetime.now(UTC).replace(microsecond=0), tools)
    text = json.dumps(attrs.asdict(kept), default=datetime.isoformat, ensure_ascii=False)
    path = _find_path(name)
    aside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)  # in one step: another convaid may be reading it
    except OSError as error:
        log.warning('the tools of the MCP server "%s" cannot be written to %s: %s', name, path, error.strerror)


def read_listing(name: str, server: ServerSettings) -> KeptListing | None:
    """Return what `keep_listing` has written down of this server; None if there is nothing of use."""
    try:
        kept = structure(json.loads(_find_path(name).read_text(encoding="utf-8")), KeptListing)
    except (OSError, ValueError, StructureError):
        return None
    return kept if kept.of == _identify(server) else None


def _find_path(name: str) -> Path:
    return find_folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


def _identify(server: ServerSettings) -> str:
    """A digest, because an address may hold a secret."""
    return hashlib.sha256(json.dumps([*server.command, str(server.folder or ""), server.url]).encode()).hexdigest()
