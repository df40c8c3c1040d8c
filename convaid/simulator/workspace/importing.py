"""The agents and tools of a folder of the official command line, as a workspace has them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from convaid.errors import ConfigurationError, Problem
from convaid.folder import AGENTS, TOOLS, list_entries, read_index, read_object, read_tool, require_index
from convaid.simulator.workspace.agent_shapes import check_agent
from convaid.simulator.workspace.checks import Faults
from convaid.simulator.workspace.stored import Content, StoredAgent, StoredTool
from convaid.simulator.workspace.tool_shapes import KINDS

__all__ = ["load_content"]


def load_content(folder: Path) -> Content:
    """Read a folder. Ids stay; what was never pushed has its file's name for one. Raises `ConfigurationError`.

    Tools of kinds that the simulator does not know are kept as they are: it would not run them anyway.
    """
    if not (folder / TOOLS).exists():
        require_index(folder, AGENTS)
    now = time.time()
    content = Content()
    for tool_id, path in _list_files(folder, TOOLS):
        config, faults = read_tool(path), Faults()
        if check := KINDS.get(config["type"]):
            config = check(config, (), faults)
        _complain(path, faults)
        content = content.put(StoredTool(tool_id, now, config))
    for agent_id, path in _list_files(folder, AGENTS):
        faults = Faults()
        settings = check_agent(read_object(path), (), faults)
        _complain(path, faults)
        agent = StoredAgent(agent_id, now, now, settings)
        if unknown := sorted(agent.tool_ids - content.tools.keys()):
            message = f"{TOOLS} has no tool with the id {unknown[0]}; `elevenlabs tools pull --all` brings it"
            raise ConfigurationError(str(path), [Problem("conversation_config.agent.prompt.tool_ids", message)])
        content = content.put(agent)
    return content


def _list_files(folder: Path, index: str) -> Iterator[tuple[str, Path]]:
    """Yield each file that an index names, with the id of what is in it."""
    content = read_index(folder, index)
    seen: set[str] = set()
    for entry, path in list_entries(folder, index, content):
        item_id = _find_id(entry, path)
        if item_id in seen:
            raise ConfigurationError(str(folder / index), [Problem("", f"has {item_id} twice; remove one of the two")])
        seen.add(item_id)
        yield item_id, path


def _find_id(entry: Mapping[str, Any], path: Path) -> str:
    item_id = entry.get("id")
    return item_id if isinstance(item_id, str) and item_id else path.stem


def _complain(path: Path, faults: Faults) -> None:
    if faults:
        raise ConfigurationError(
            str(path), [Problem(".".join(map(str, fault.place)), fault.message) for fault in faults]
        )
