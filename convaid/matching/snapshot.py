"""A snapshot: what `check` needs to know of a workspace, in a file that can be kept in version control."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convaid.errors import ConfigurationError, Problem
from convaid.files import is_tool_config, read_json_file, write_file
from convaid.matching.agents import find_variables
from convaid.matching.view import PlatformAgent, PlatformView, look_up
from convaid.rest import PlatformTool

__all__ = ["load_snapshot", "write_snapshot"]

VERSION = 1
HIDDEN = "hidden"  # stands for a constant
KEPT = (
    ("conversation_config", "agent", "first_message"),
    ("conversation_config", "agent", "prompt", "prompt"),
    ("conversation_config", "agent", "prompt", "tool_ids"),
    ("conversation_config", "agent", "dynamic_variables"),
    ("conversation_config", "conversation", "client_events"),
    ("conversation_config", "conversation", "text_only"),
    ("platform_settings", "overrides"),
    ("platform_settings", "auth", "enable_auth"),
)
"""What of an agent is kept; headers, tokens and addresses that an agent may hold are not."""


def write_snapshot(path: Path, view: PlatformView) -> None:
    """Write a snapshot. Texts, constants, values of variables and what belongs to tools of other types stay out.

    Raises OSError.
    """
    tools = sorted(view.tools, key=lambda tool: (tool.name, tool.id))
    content = {
        "convaid_snapshot": VERSION,
        "tools": [{"id": tool.id, "tool_config": _cut_tool(tool)} for tool in tools],
        "agents": [
            {"agent_id": agent.id, "branch_id": agent.branch_id, "agent": _cut_agent(agent)} for agent in view.agents
        ],
    }
    write_file(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def load_snapshot(path: Path) -> PlatformView:
    """Read a snapshot. Raises `ConfigurationError`."""
    content = read_json_file(path)
    if not isinstance(content, dict) or content.get("convaid_snapshot") != VERSION:
        message = "is not a snapshot that this convaid can read; take a new one: `convaid tools snapshot`"
        raise ConfigurationError(str(path), [Problem("", message)])
    try:
        tools = [(entry["id"], entry["tool_config"]) for entry in content["tools"]]
        agents = [(entry["agent_id"], entry["branch_id"], entry["agent"]) for entry in content["agents"]]
    except (KeyError, TypeError):
        tools, agents = [(None, None)], []
    are_tools = all(isinstance(tool_id, str) and is_tool_config(config) for tool_id, config in tools)
    if not are_tools or not all(isinstance(body, dict) for _, _, body in agents):
        message = "is damaged: not every tool or agent in it is one; take a new one: `convaid tools snapshot`"
        raise ConfigurationError(str(path), [Problem("", message)])
    return PlatformView(
        "snapshot",
        tuple(PlatformTool(tool_id, config) for tool_id, config in tools),
        tuple(PlatformAgent(*agent) for agent in agents),
    )


def _cut_tool(tool: PlatformTool) -> Mapping[str, Any]:
    if not tool.is_client_tool:
        return {"type": tool.config.get("type", ""), "name": tool.name}
    return {**_hide_values(tool.config), "parameters": _hide_constants(tool.config.get("parameters"))}


def _cut_agent(agent: PlatformAgent) -> Mapping[str, Any]:
    kept: dict[str, Any] = {}
    for *tables, name in KEPT:
        value = look_up(agent.body, *tables, name)
        if isinstance(value, str):  # of the prompt and the first message, no more than their variables
            value = " ".join(f"{{{{{variable}}}}}" for variable in find_variables(value))
        if value is not None:
            table = kept
            for step in tables:
                table = table.setdefault(step, {})
            table[name] = value
    kept["workflow"] = {"tool_ids": sorted(agent.all_tool_ids - set(agent.tool_ids))}
    own = look_up(kept, "conversation_config", "agent")
    if isinstance(own, dict):
        kept["conversation_config"]["agent"] = _hide_values(own)
    return kept


def _hide_constants(node: Any) -> Any:
    """Return a parameter, and those in it, without the constants that the platform fills in: that it does is enough."""
    if not isinstance(node, Mapping):
        return node
    hidden = dict(node)
    if hidden.get("constant_value") not in ("", None):
        hidden["constant_value"] = HIDDEN
    if isinstance(properties := node.get("properties"), Mapping):
        hidden["properties"] = {name: _hide_constants(inner) for name, inner in properties.items()}
    if "items" in node:
        hidden["items"] = _hide_constants(node["items"])
    return hidden


def _hide_values(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a configuration without the defaults of its dynamic variables: that there is one is all that counts."""
    placeholders = look_up(config, "dynamic_variables", "dynamic_variable_placeholders")
    if not isinstance(placeholders, Mapping):
        return config
    return {**config, "dynamic_variables": {"dynamic_variable_placeholders": dict.fromkeys(placeholders, "")}}
