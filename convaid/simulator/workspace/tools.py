"""The REST calls of tools."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from attrs import evolve

from convaid.simulator.answers import Answer, Request, Route, refuse
from convaid.simulator.workspace.checks import read_body
from convaid.simulator.workspace.paging import answer_page, read_choices, read_flag
from convaid.simulator.workspace.stored import Content, StoredAgent, StoredTool
from convaid.simulator.workspace.tool_shapes import check_tool_request
from convaid.simulator.workspace.workspace import Workspace, make_id

__all__ = ["ACCESS", "ToolRoutes", "tool_not_found"]

ACCESS = {"is_creator": True, "creator_name": "Simulator", "creator_email": "simulator@localhost", "role": "admin"}
TYPES = ("webhook", "client", "api_integration_webhook")


class ToolRoutes:
    """``/v1/convai/tools``."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @property
    def routes(self) -> Sequence[Route]:
        tools = "/v1/convai/tools"
        tool = f"{tools}/([^/]+)"
        return [
            Route("POST", tools, self.create_tool),
            Route("GET", tools, self.list_tools),
            Route("GET", tool, self.tell_tool),
            Route("PATCH", tool, self.update_tool),
            Route("DELETE", tool, self.delete_tool),
            Route("GET", f"{tool}/dependent-agents", self.list_dependents),
        ]

    def create_tool(self, request: Request) -> Answer:
        """Make a tool. A name may be given twice: nothing says that the platform refuses that."""
        body = read_body(request, check_tool_request)
        if isinstance(body, Answer):
            return body
        tool = StoredTool(make_id("tool"), time.time(), body["tool_config"], body["response_mocks"])
        return self._workspace.change(lambda content: (content.put(tool), Answer(200, describe_tool(tool))))

    def list_tools(self, request: Request) -> Answer:
        """A page of the tools whose names begin with ``search``, of the ``types`` that are asked for."""
        types = read_choices(request, "types", TYPES)
        if isinstance(types, Answer):
            return types
        beginning = request.query.get("search", "")
        tools = [
            tool
            for tool in self._workspace.tools.values()
            if tool.name.startswith(beginning) and (not types or tool.config["type"] in types)
        ]
        return answer_page(
            request,
            "tools",
            tools,
            describe_tool,
            identify=lambda tool: tool.id,
            sort_keys={"created_at": lambda tool: tool.created_at, "name": lambda tool: tool.name},
        )

    def tell_tool(self, request: Request, tool_id: str) -> Answer:
        tool = self._workspace.tools.get(tool_id)
        return Answer(200, describe_tool(tool)) if tool else tool_not_found(tool_id)

    def update_tool(self, request: Request, tool_id: str) -> Answer:
        """Replace a tool's whole configuration: what is left out falls back to its default. Mocks left out stay."""
        body = read_body(request, check_tool_request)
        if isinstance(body, Answer):
            return body

        def edit(content: Content) -> tuple[Content, Answer]:
            tool = content.tools.get(tool_id)
            if tool is None:
                return content, tool_not_found(tool_id)
            mocks = tool.response_mocks if body["response_mocks"] is None else body["response_mocks"]
            tool = evolve(tool, config=body["tool_config"], response_mocks=mocks)
            return content.put(tool), Answer(200, describe_tool(tool))

        return self._workspace.change(edit)

    def delete_tool(self, request: Request, tool_id: str) -> Answer:
        """Delete a tool; with ``force`` from the agents that use it, too. Without, they forbid it.

        With which status is a guess: the platform's is not documented.
        """
        is_forced = read_flag(request, "force")
        if isinstance(is_forced, Answer):
            return is_forced

        def edit(content: Content) -> tuple[Content, Answer]:
            if tool_id not in content.tools:
                return content, tool_not_found(tool_id)
            dependents = [agent for agent in content.agents.values() if tool_id in agent.tool_ids]
            if dependents and not is_forced:
                names = ", ".join(agent.id for agent in dependents)
                words = f"The tool is used by agents: {names}. Detach it from them, or delete it with force=true."
                return content, refuse(self._workspace.guesses.in_use_status, "tool_in_use", words)
            for agent in dependents:
                content = content.put(detach_tool(agent, tool_id))
            return content.drop(tool_id), Answer(200, {})

        return self._workspace.change(edit)

    def list_dependents(self, request: Request, tool_id: str) -> Answer:
        """A page of the agents that can call a tool."""
        if tool_id not in self._workspace.tools:
            return tool_not_found(tool_id)
        return answer_page(
            request,
            "agents",
            [agent for agent in self._workspace.agents.values() if tool_id in agent.tool_ids],
            lambda agent: {
                "type": "available",
                "id": agent.id,
                "name": agent.name,
                "created_at_unix_secs": int(agent.created_at),
                "access_level": ACCESS["role"],
                "referenced_resource_ids": [],
            },
            identify=lambda agent: agent.id,
            sort_keys={"created_at": lambda agent: agent.created_at},
        )


def describe_tool(tool: StoredTool) -> dict[str, Any]:
    """A tool as the platform answers it. The simulated agents' calls are not counted: a scenario knows no tool ids."""
    return {
        "id": tool.id,
        "tool_config": tool.config,
        "access_info": ACCESS,
        "usage_stats": {"total_calls": 0, "avg_latency_secs": 0.0},
        "response_mocks": tool.response_mocks,
    }


def tool_not_found(tool_id: str) -> Answer:
    """A 404 in words that have been seen; that they are these for tools is likely."""
    return refuse(404, "document_not_found", f"Document with id {tool_id} not found.")


def detach_tool(agent: StoredAgent, tool_id: str) -> StoredAgent:
    """The same agent without a tool, also in its workflow's nodes."""
    settings: Any = deepcopy(agent.settings)
    prompt = settings["conversation_config"]["agent"]["prompt"]
    prompt["tool_ids"] = [each for each in prompt["tool_ids"] if each != tool_id]
    for node in settings["workflow"]["nodes"].values():
        if "additional_tool_ids" in node:
            node["additional_tool_ids"] = [each for each in node["additional_tool_ids"] if each != tool_id]
        if "tools" in node:
            node["tools"] = [each for each in node["tools"] if each["tool_id"] != tool_id]
    return evolve(agent, settings=settings, updated_at=time.time())
