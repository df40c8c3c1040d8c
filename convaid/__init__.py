"""convaid holds conversations with ElevenLabs agents and runs the client tools that they call.

What a plugin needs is here: `tool`, `declare_tool`, `hookimpl`, `Tool`, `ToolContext`, `ToolError`, for parameters
`Range`, `Length`, `Pattern`, for microphones and speakers `AudioDevice`. They are imported when they are first asked
for, so that ``import convaid`` costs nothing where they are not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convaid.constraints import Length, Pattern, Range
    from convaid.errors import ToolError
    from convaid.plugins.declared import declare_tool
    from convaid.plugins.devices import AudioDevice
    from convaid.plugins.hookspecs import hookimpl
    from convaid.plugins.tool import Tool, ToolContext, tool

__version__ = "0.1.0"

__all__ = [
    "AudioDevice",
    "Length",
    "Pattern",
    "Range",
    "Tool",
    "ToolContext",
    "ToolError",
    "declare_tool",
    "hookimpl",
    "tool",
]

_HOMES = {
    "AudioDevice": "convaid.plugins.devices",
    "Length": "convaid.constraints",
    "Pattern": "convaid.constraints",
    "Range": "convaid.constraints",
    "Tool": "convaid.plugins.tool",
    "ToolContext": "convaid.plugins.tool",
    "ToolError": "convaid.errors",
    "declare_tool": "convaid.plugins.declared",
    "hookimpl": "convaid.plugins.hookspecs",
    "tool": "convaid.plugins.tool",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
