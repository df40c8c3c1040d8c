"""The folder of the official command line (`elevenlabs tools pull` and `push`): read, and brought up to date.

As observed with its version 1.3.0: ``tools.json`` and ``agents.json`` list configuration files by path; a tool's file
is its bare ``tool_config``, and an entry without an ``id`` is created by the next push. A tool's file is found by the
name inside, never by its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from convaid.errors import ConfigurationError, Problem
from convaid.matching.files import is_tool_config, read_json_file, write_file
from convaid.matching.merging import merge_config, tidy_config
from convaid.matching.view import OfferedTool, PlatformAgent, PlatformView
from convaid.rest import PlatformTool

__all__ = ["export_tools", "load_folder"]

TOOLS, AGENTS = "tools.json", "agents.json"
CONFIGS = "tool_configs"


def load_folder(folder: Path) -> PlatformView:
    """Read the folder. Raises `ConfigurationError`."""
    if not (folder / TOOLS).exists():
        twin = folder.absolute().parent
        hint = f"is it {twin}?" if (twin / TOOLS).exists() else "`elevenlabs tools pull --all` makes one"
        raise ConfigurationError(str(folder), [Problem("", f"has no {TOOLS}; {hint}")])
    tools = [
        PlatformTool(str(entry.get("id") or ""), _read_tool(path))
        for entry, path in _list_entries(folder, TOOLS, _read_index(folder, TOOLS))
    ]
    agents = [
        PlatformAgent(str(entry.get("id") or ""), "", _read_object(path))
        for entry, path in _list_entries(folder, AGENTS, _read_index(folder, AGENTS))
    ]
    return PlatformView("folder", tuple(tools), tuple(agents))


def export_tools(folder: Path, offered: Mapping[str, OfferedTool], ids: Mapping[str, str]) -> list[str]:
    """Write every tool into the folder, made if need be, and return what was done, a line for each tool.

    A tool that the folder has, by its name, keeps its file, its id, and what is set there alone; everything else in the
    folder stays as it is. ``ids`` are the platform's of tools that are known there, by name: without one, the next
    `elevenlabs tools push` would create the tool again. Raises `ConfigurationError` and OSError.
    """
    index = _read_index(folder, TOOLS)
    entries = list(_list_entries(folder, TOOLS, index))
    known: dict[str, tuple[dict[str, Any], Path, dict[str, Any]]] = {}
    for entry, path in entries:
        config = _read_tool(path)
        if config["type"] == "client" and known.setdefault(config["name"], (entry, path, config))[1] != path:
            message = f'has the tool "{config["name"]}" twice; remove one from {TOOLS}'
            raise ConfigurationError(str(folder), [Problem("", message)])
    (folder / CONFIGS).mkdir(parents=True, exist_ok=True)
    done = []
    for name, tool in offered.items():
        if name in known:
            entry, path, config = known[name]
            merged = merge_config(tool.config, config)
            word = "is up to date" if tidy_config(merged) == tidy_config(config) else "updated"
        else:
            path, merged, word = _find_free_path(folder / CONFIGS, name), dict(tool.config), "added"
            entry = {"type": "client", "config": f"{CONFIGS}/{path.name}"}
            index["tools"].append(entry)
        if name in ids and not entry.get("id"):
            entry["id"] = ids[name]
        if word != "is up to date":
            _write_json(path, merged, sorts=True)
        done.append(f"{name}: {word} ({path.relative_to(folder)})")
    _write_json(folder / TOOLS, index)
    return done


def _read_index(folder: Path, index: str) -> dict[str, Any]:
    """Return what ``tools.json`` or ``agents.json`` holds, checked; an empty one where there is none."""
    name = index.removesuffix(".json")
    if not (folder / index).exists():
        return {name: []}
    content = _read_object(folder / index)
    if not isinstance(content.get(name), list):
        raise ConfigurationError(str(folder / index), [Problem(name, "is not a list, as the official CLI writes it")])
    return content


def _list_entries(folder: Path, index: str, content: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Path]]:
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


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json_file(path)
    if not isinstance(content, dict):
        raise ConfigurationError(str(path), [Problem("", "is not a JSON object")])
    return content


def _read_tool(path: Path) -> dict[str, Any]:
    config = _read_object(path)
    if not is_tool_config(config):
        raise ConfigurationError(str(path), [Problem("", "is not a tool's configuration: it needs a name and a type")])
    return config


def _find_free_path(folder: Path, name: str) -> Path:
    path, number = folder / f"{name}.json", 0
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}.json"
    return path


def _write_json(path: Path, content: object, *, sorts: bool = False) -> None:
    write_file(path, json.dumps(content, indent=4, sort_keys=sorts, ensure_ascii=False) + "\n")
