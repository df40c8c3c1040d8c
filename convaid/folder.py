"""The folder of the official command line (`elevenlabs … pull` and `push`), read: what its indices name (floor 2).

As observed with its version 1.3.0: ``tools.json``, ``agents.json`` and ``tests.json`` list configuration files by path.
A tool's file is its bare ``tool_config``, an agent's and a test's are as the platform answers them. An entry without an
``id`` is created by the next push.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from convaid.errors import ConfigurationError, Problem
from convaid.files import is_tool_config, read_json_file

__all__ = ["AGENTS", "TESTS", "TOOLS", "list_entries", "read_index", "read_object", "read_tool", "require_index"]

TOOLS, AGENTS, TESTS = "tools.json", "agents.json", "tests.json"


def require_index(folder: Path, index: str) -> None:
    """Raise `ConfigurationError` where a folder has no such index."""
    if (folder / index).exists():
        return
    twin = folder.absolute().parent
    name = index.removesuffix(".json")
    hint = f"is it {twin}?" if (twin / index).exists() else f"`elevenlabs {name} pull --all` makes one"
    raise ConfigurationError(str(folder), [Problem("", f"has no {index}; {hint}")])


def read_index(folder: Path, index: str) -> dict[str, Any]:
    """Return what an index holds, checked; an empty one where there is none. Raises `ConfigurationError`."""
    name = index.removesuffix(".json")
    if not (folder / index).exists():
        return {name: []}
    content = read_object(folder / index)
    if not isinstance(content.get(name), list):
        raise ConfigurationError(str(folder / index), [Problem(name, "is not a list, as the official CLI writes it")])
    return content


def list_entries(folder: Path, index: str, content: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Path]]:
    """Yield the entries of an index, and the files that they name, which are in the folder."""
    name = index.removesuffix(".json")
    for number, entry in enumerate(content[name]):
        path = entry.get("config") if isinstance(entry, dict) else None
        if not isinstance(path, str) or "\0" in path or not _lies_in(folder, folder / path):
            message = "does not name a file of this folder as its config"
            raise ConfigurationError(str(folder / index), [Problem(f"{name}[{number}]", message)])
        yield entry, folder / path


def _lies_in(folder: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds. Raises `ConfigurationError`."""
    content = read_json_file(path)
    if not isinstance(content, dict):
        raise ConfigurationError(str(path), [Problem("", "is not a JSON object")])
    return content


def read_tool(path: Path) -> dict[str, Any]:
    """Return the tool's configuration that a file holds. Raises `ConfigurationError`."""
    config = read_object(path)
    if not is_tool_config(config):
        raise ConfigurationError(str(path), [Problem("", "is not a tool's configuration: it needs a name and a type")])
    return config
