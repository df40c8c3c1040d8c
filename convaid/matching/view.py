"""The two sides that are held against each other: the tools offered here, and the platform as it was seen (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from attrs import frozen

from convaid.calls import list_offered
from convaid.config import ToolsConfig
from convaid.plugins import Plugins
from convaid.rest import PlatformTool

__all__ = ["OfferedTool", "PlatformAgent", "PlatformView", "Source", "find_response_timeouts", "list_tools", "look_up"]

Source: TypeAlias = Literal["platform", "folder", "snapshot"]

DEFAULT_RESPONSE_TIMEOUT = 20  # seconds, the platform's
FOR_EVER = -1  # response_timeout_secs of a tool that the platform waits for without end


@frozen
class OfferedTool:
    """A tool that agents can call here, and what the platform is to be told of it."""

    plugin: str
    time_limit: float
    """Seconds that a call has, by policy."""
    config: Mapping[str, Any]
    """Its ``tool_config``, complete."""

    @property
    def name(self) -> str:
        return str(self.config["name"])


def list_tools(plugins: Plugins, config: ToolsConfig) -> dict[str, OfferedTool]:
    """Return every tool that agents can call, by its name."""
    offered = {}
    for tool, plugin in list_offered(plugins, config):
        time_limit = config.find_time_limit(tool.name, plugin.name, tool.time_limit)
        offered[tool.name] = OfferedTool(plugin.name, time_limit, tool.describe(time_limit))
    return offered


@frozen
class PlatformAgent:
    """An agent as the platform has it."""

    id: str
    branch_id: str
    """"" is its main branch."""
    body: Mapping[str, Any]
    """What ``GET /v1/convai/agents/{id}`` answers, or the part of it that matters here."""

    @property
    def tool_ids(self) -> list[str]:
        """The tools that are attached to the agent itself, of every type."""
        return list_texts(look_up(self.body, "conversation_config", "agent", "prompt", "tool_ids"))

    @property
    def all_tool_ids(self) -> set[str]:
        """The tools that the agent can call, those of its workflow's nodes included."""
        return {*self.tool_ids, *_find_tool_ids(self.body.get("workflow"))}

    @property
    def client_events(self) -> list[str]:
        """The events that it sends."""
        return list_texts(look_up(self.body, "conversation_config", "conversation", "client_events"))


@frozen
class PlatformView:
    """Tools and agents of a workspace, as they were seen."""

    source: Source
    tools: tuple[PlatformTool, ...]
    agents: tuple[PlatformAgent, ...]

    def find_agent(self, agent_id: str, branch_id: str = "") -> PlatformAgent | None:
        """Return an agent as it is on a branch; None if it was not seen, or has no id."""
        if not agent_id:
            return None
        return next((agent for agent in self.agents if (agent.id, agent.branch_id) == (agent_id, branch_id)), None)

    def list_attached(self, agent: PlatformAgent) -> list[PlatformTool]:
        """Return the tools that an agent can call, as far as they were seen."""
        tool_ids = agent.all_tool_ids
        return [tool for tool in self.tools if tool.id in tool_ids]


def find_response_timeouts(view: PlatformView, agent_id: str, branch_id: str = "") -> dict[str, float | None]:
    """Return how long the platform waits for the answer of each client tool of an agent, in seconds.

    None: it does not wait at all, or it waits for ever. An agent that was not seen has no tools.
    """
    agent = view.find_agent(agent_id, branch_id)
    timeouts: dict[str, float | None] = {}
    for tool in view.list_attached(agent) if agent else []:
        if tool.is_client_tool:
            seconds = find_response_timeout(tool.config)
            twin = timeouts.get(tool.name)
            timeouts[tool.name] = seconds if twin is None else min(twin, seconds or twin)
    return timeouts


def find_response_timeout(config: Mapping[str, Any]) -> float | None:
    """Return the seconds that the platform waits for the answer of one tool; None as in `find_response_timeouts`."""
    seconds: Any = config.get("response_timeout_secs")
    if not config.get("expects_response") or config.get("execution_mode") == "async" or seconds == FOR_EVER:
        return None
    if type(seconds) not in (int, float) or not seconds > 0:
        seconds = DEFAULT_RESPONSE_TIMEOUT
    return float(seconds)


def look_up(value: object, *keys: str) -> Any:
    """Return what stands deep in JSON objects, or None."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def list_texts(value: object) -> list[str]:
    """Return the texts of a list; of anything else none."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _find_tool_ids(workflow: object) -> Iterator[str]:
    """Yield the ids of the tools that nodes of a workflow name, wherever they do."""
    waiting = [workflow]
    while waiting:  # not by recursion: the platform decides how deep it is
        value = waiting.pop()
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if key in ("tool_ids", "additional_tool_ids"):
                    yield from list_texts(inner)
                elif key == "tool_id" and isinstance(inner, str):
                    yield inner
                else:
                    waiting.append(inner)
        elif isinstance(value, list):
            waiting.extend(value)
