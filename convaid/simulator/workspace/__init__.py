"""What the platform keeps for an account: tools, agents and the history of conversations, behind its REST calls.

Bodies are held against the shapes of the platform's OpenAPI document (as the official CLI 1.3.0 carries it) and refused
in the words that the platform is known to use. Where it is not known what the platform does, the code says so.
"""

from __future__ import annotations

from convaid.simulator.workspace.routes import make_routes
from convaid.simulator.workspace.workspace import DEMO_AGENT, Workspace, open_workspace

__all__ = ["DEMO_AGENT", "Workspace", "make_routes", "open_workspace"]
