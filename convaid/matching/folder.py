"""The folder of the official command line: read to be held against the tools, and brought up to date with them.

A tool's file is found by the name inside, never by its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convaid.errors import ConfigurationError, Problem
from convaid.files import write_file
from convaid.folder import AGENTS, TOOLS, list_entries, read_index, read_object, read_tool, require_index
from convaid.matching.merging import merge_config, tidy_config
from convaid.matching.view import OfferedTool, PlatformAgent, PlatformView
from convaid.rest import PlatformTool

__all__ = ["export_tools", "load_folder"]

CONFIGS = "tool_configs"


def load_folder(folder: Path) -> PlatformView:
    """Read the folder. Raises `ConfigurationError`."""
    require_index(folder, TOOLS)
    tools = [
        PlatformTool(str(entry.get("id") or ""), read_tool(path))
        for entry, path in list_entries(folder, TOOLS, read_index(folder, TOOLS))
    ]
    agents = [
        PlatformAgent(str(entry.get("id") or ""), "", read_object(path))
        for entry, path in list_entries(folder, AGENTS, read_index(folder, AGENTS))
    ]
    return PlatformView("folder", tuple(tools), tuple(agents))


def export_tools(folder: Path, offered: Mapping[str, OfferedTool], ids: Mapping[str, str]) -> list[str]:
    """Write every tool into the folder, made if need be, and return what was done, a line for each tool.

    A tool that the folder has, by its name, keeps its file, its id, and what is set there alone; everything else in the
    folder stays as it is. ``ids`` are the platform's of tools that are known there, by name: without one, the next
    `elevenlabs tools push` would create the tool again. Raises `ConfigurationError` and OSError.
    """
    index = read_index(folder, TOOLS)
    entries = list(list_entries(folder, TOOLS, index))
    known: dict[str, tuple[dict[str, Any], Path, dict[str, Any]]] = {}
    for entry, path in entries:
        config = read_tool(path)
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


def _find_free_path(folder: Path, name: str) -> Path:
    path, number = folder / f"{name}.json", 0
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}.json"
    return path


def _write_json(path: Path, content: object, *, sorts: bool = False) -> None:
    write_file(path, json.dumps(content, indent=4, sort_keys=sorts, ensure_ascii=False) + "\n")
