"""Folders of the official command line, as `elevenlabs … pull` and `push` of its version 1.3.0 leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TIME = {
    "type": "client",
    "name": "current_time",
    "description": "The time",
    "expects_response": True,
    "parameters": {"type": "object", "properties": {"zone": {"type": "string", "description": "Where"}}},
}
"""A client tool of the plugin clock's, as somebody has described it on the dashboard."""


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def write_folder(
    folder: Path,
    *,
    tools: dict[str, Any] | None = None,
    agents: dict[str, Any] | None = None,
    tests: dict[str, Any] | None = None,
) -> Path:
    """Write the files and the indices; each of the three is by id, an empty one for what was never pushed."""
    for kind, content in (("tool", tools), ("agent", agents), ("test", tests)):
        if content is not None:
            entries: list[dict[str, Any]] = []
            for number, (item_id, config) in enumerate(content.items()):
                path = f"{kind}_configs/{kind}-{number}.json"
                write_json(folder / path, config)
                entries.append({"config": path, "id": item_id} if item_id else {"config": path})
            write_json(folder / f"{kind}s.json", {f"{kind}s": entries})
    return folder


def make_agent(**agent: Any) -> dict[str, Any]:
    """An agent's file, as little as `elevenlabs agents add --template minimal` writes."""
    return {
        "name": "a minimal",
        "conversation_config": {"agent": agent, "conversation": {"text_only": True}},
        "platform_settings": {},
        "tags": [],
    }


def make_test(tool_id: str, *parameters: tuple[str, dict[str, Any]], **settings: Any) -> dict[str, Any]:
    """A tool's test, as `elevenlabs tests add --template tool` writes one."""
    expected = {
        "parameters": [{"path": path, "eval": rule} for path, rule in parameters],
        "referenced_tool": {"id": tool_id, "type": "client"},
        "verify_absence": False,
    }
    history = [{"role": "user", "message": "Please use the tool", "time_in_call_secs": 1}]
    return {"name": "a test", "type": "tool", "chat_history": history, "tool_call_parameters": expected} | settings
