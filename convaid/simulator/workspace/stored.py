"""What a workspace holds: values that are never changed in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import Factory, evolve, field, frozen

__all__ = ["Content", "StoredAgent", "StoredTool"]


@frozen
class StoredTool:
    """A tool; ``created_at`` is in seconds since 1970, ``config`` complete: defaults are filled in."""

    id: str
    created_at: float
    config: Mapping[str, Any] = field(repr=False)
    response_mocks: Sequence[Any] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        name: str = self.config["name"]
        return name


@frozen
class StoredAgent:
    """An agent; times are in seconds since 1970.

    ``settings``: ``name``, ``tags``, ``conversation_config``, ``platform_settings`` and ``workflow``, as `check_agent`
    completes them.
    """

    id: str
    created_at: float
    updated_at: float
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        name: str = self.settings["name"]
        return name

    @property
    def tool_ids(self) -> set[str]:
        """The tools that the agent can call, those of its workflow's nodes included."""
        nodes = self.settings["workflow"]["nodes"].values()
        return {
            *self.settings["conversation_config"]["agent"]["prompt"]["tool_ids"],
            *(tool_id for node in nodes for tool_id in node.get("additional_tool_ids", ())),
            *(tool["tool_id"] for node in nodes for tool in node.get("tools", ())),
        }


@frozen
class Content:
    """The tools, and the agents that were made or changed by REST, by id, in the order of their making."""

    tools: Mapping[str, StoredTool] = Factory(dict)
    agents: Mapping[str, StoredAgent] = Factory(dict)

    def put(self, item: StoredTool | StoredAgent) -> Content:
        """The same content with a tool or an agent, which takes the place of the one with its id."""
        if isinstance(item, StoredTool):
            return evolve(self, tools={**self.tools, item.id: item})
        return evolve(self, agents={**self.agents, item.id: item})

    def drop(self, item_id: str) -> Content:
        """The same content without a tool or an agent."""
        return Content(
            {key: tool for key, tool in self.tools.items() if key != item_id},
            {key: agent for key, agent in self.agents.items() if key != item_id},
        )
