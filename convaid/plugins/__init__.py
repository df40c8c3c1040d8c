"""Plugins: what they may offer (`hookspecs`), how functions become tools (`tool`), how they are found (`loading`).

Floor 4. Nothing here runs a plugin's tools or keeps its lifespan; that is `convaid.calls`.
"""

from convaid.plugins.loading import Plugin, Plugins, load_plugins
from convaid.plugins.tool import Tool, ToolContext

__all__ = ["Plugin", "Plugins", "Tool", "ToolContext", "load_plugins"]
