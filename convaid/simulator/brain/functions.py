"""Tools as a language model is told of them: functions, in OpenAI's schema. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["END_CALL", "make_function"]

END_CALL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "end_call",
        "description": "Hang up. Say goodbye first, and call this only when the user is done or wants to end the call.",
        "parameters": {
            "type": "object",
            "properties": {"reason": {"type": "string", "description": "Why the conversation is over"}},
            "required": ["reason"],
        },
    },
}
"""The platform's system tool that ends a conversation."""

# Whoever has one of these is not the model's to fill in.
SOURCES = ("dynamic_variable", "is_system_provided", "is_omitted")


def make_function(config: Mapping[str, Any], fill_in: Callable[[str], str] = str) -> dict[str, Any]:
    """Return a client tool's configuration as a function; ``fill_in`` puts dynamic variables into texts.

    Parameters that the platform fills in are not in it.
    """
    parameters = config.get("parameters") or {"type": "object"}
    function = {
        "name": config["name"],
        "description": fill_in(config.get("description") or ""),
        "parameters": {"properties": {}, **_make_node(parameters, fill_in)},
    }
    return {"type": "function", "function": function}


def _make_node(node: Mapping[str, Any], fill_in: Callable[[str], str]) -> dict[str, Any]:
    made: dict[str, Any] = {"type": node.get("type", "object")}
    if description := node.get("description"):
        made["description"] = fill_in(description)
    if enum := node.get("enum"):
        made["enum"] = list(enum)
    if items := node.get("items"):
        made["items"] = _make_node(items, fill_in)
    if properties := node.get("properties"):
        left = {name: inner for name, inner in properties.items() if not is_filled_in(inner)}
        made["properties"] = {name: _make_node(inner, fill_in) for name, inner in left.items()}
        made["required"] = [name for name in node.get("required") or () if name in left]
    return made


def is_filled_in(node: Mapping[str, Any]) -> bool:
    """Whether the platform has the value of a parameter."""
    return any(node.get(source) for source in SOURCES) or node.get("constant_value") not in (None, "")
