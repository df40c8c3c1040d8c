"""All REST calls of a workspace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from convaid.simulator.answers import Route
from convaid.simulator.record import ConversationRecord
from convaid.simulator.workspace.account import ACCOUNT_ROUTES
from convaid.simulator.workspace.agents import AgentRoutes
from convaid.simulator.workspace.history import HistoryRoutes
from convaid.simulator.workspace.tools import ToolRoutes
from convaid.simulator.workspace.workspace import Workspace

__all__ = ["make_routes"]


def make_routes(workspace: Workspace, conversations: Iterable[ConversationRecord]) -> Sequence[Route]:
    """The routes; ``conversations`` is looked at again for each call."""
    return [
        *ToolRoutes(workspace).routes,
        *AgentRoutes(workspace).routes,
        *HistoryRoutes(workspace, conversations).routes,
        *ACCOUNT_ROUTES,
    ]
