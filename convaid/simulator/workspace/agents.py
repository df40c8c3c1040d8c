"""The REST calls of agents."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from convaid.simulator.answers import Answer, Request, Route, refuse
from convaid.simulator.workspace.agent_shapes import check_agent, merge
from convaid.simulator.workspace.checks import (
    Faults,
    allowed,
    anything,
    fields,
    listing,
    mapping,
    nullable,
    read_body,
    refuse_faults,
    required,
    text,
)
from convaid.simulator.workspace.paging import answer_page, read_flag
from convaid.simulator.workspace.stored import Content, StoredAgent
from convaid.simulator.workspace.tools import ACCESS, tool_not_found
from convaid.simulator.workspace.workspace import Workspace, make_id

__all__ = ["AgentRoutes", "agent_not_found"]

# Null stands for what is left out; what is in the tables is checked once they are merged.
CHANGE = {
    "name": allowed(nullable(text())),
    "tags": allowed(nullable(listing(text()))),
    "conversation_config": allowed(nullable(mapping(anything))),
    "platform_settings": allowed(nullable(mapping(anything))),
    "workflow": allowed(nullable(mapping(anything))),
}
check_change = fields(CHANGE)
check_creation = fields(CHANGE | {"conversation_config": required(mapping(anything))})


class AgentRoutes:
    """``/v1/convai/agents``."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @property
    def routes(self) -> Sequence[Route]:
        agents = "/v1/convai/agents"
        agent = f"{agents}/([^/]+)"
        return [
            Route("POST", f"{agents}/create", self.create_agent),
            Route("GET", agents, self.list_agents),
            Route("GET", agent, self.tell_agent),
            Route("PATCH", agent, self.update_agent),
            Route("DELETE", agent, self.delete_agent),
        ]

    def create_agent(self, request: Request) -> Answer:
        body = read_body(request, check_creation)
        if isinstance(body, Answer):
            return body
        now = time.time()
        events = {"conversation": {"client_events": self._workspace.guesses.new_agent_events}}
        new = StoredAgent(make_id("agent"), now, now, {"conversation_config": events})

        def edit(content: Content) -> tuple[Content, Answer]:
            agent = change_agent(new, body, content)
            if isinstance(agent, Answer):
                return content, agent
            return content.put(agent), Answer(200, {"agent_id": agent.id})

        return self._workspace.change(edit)

    def list_agents(self, request: Request) -> Answer:
        """A page of the agents, by ``search`` in their names, ``tags`` and ``archived``."""
        is_archived = read_flag(request, "archived")
        if isinstance(is_archived, Answer):
            return is_archived
        words = request.query.get("search", "").casefold()
        tags = {value for name, value in request.parameters if name == "tags"}
        agents = [
            agent
            for agent in self._workspace.agents.values()
            if words in agent.name.casefold()
            and (not tags or not tags.isdisjoint(agent.settings["tags"]))
            and agent.settings["platform_settings"]["archived"] == is_archived
        ]
        return answer_page(
            request,
            "agents",
            agents,
            summarize_agent,
            identify=lambda agent: agent.id,
            sort_keys={"created_at": lambda agent: agent.created_at, "name": lambda agent: agent.name},
        )

    def tell_agent(self, request: Request, agent_id: str) -> Answer:
        agent = self._workspace.agents.get(agent_id)
        return Answer(200, describe_agent_in_full(agent)) if agent else agent_not_found(agent_id)

    def update_agent(self, request: Request, agent_id: str) -> Answer:
        """Change an agent's settings: dictionaries field by field; lists, and the workflow, are replaced whole."""
        body = read_body(request, check_change)
        if isinstance(body, Answer):
            return body

        def edit(content: Content) -> tuple[Content, Answer]:
            agent = content.agents.get(agent_id) or self._workspace.agents.get(agent_id)
            if agent is None:
                return content, agent_not_found(agent_id)
            changed = change_agent(agent, body, content)
            if isinstance(changed, Answer):
                return content, changed
            if changed.settings == agent.settings:
                return content, Answer(200, describe_agent_in_full(agent))
            changed = evolve(changed, updated_at=time.time())
            return content.put(changed), Answer(200, describe_agent_in_full(changed))

        return self._workspace.change(edit)

    def delete_agent(self, request: Request, agent_id: str) -> Answer:
        if agent_id not in self._workspace.agents:
            return agent_not_found(agent_id)
        self._workspace.forget(agent_id)
        return self._workspace.change(lambda content: (content.drop(agent_id), Answer(200, {})))


def change_agent(agent: StoredAgent, change: Mapping[str, Any], content: Content) -> StoredAgent | Answer:
    """The agent with its settings changed, or why the platform would not take them."""
    change = {name: value for name, value in change.items() if value is not None}
    settings = merge(agent.settings, change)
    if "workflow" in change:
        settings["workflow"] = change["workflow"]
    faults: Faults = []
    settings = check_agent(settings, ("body",), faults)
    if faults:
        return refuse_faults(faults)
    changed = evolve(agent, settings=settings)
    prompt = settings["conversation_config"]["agent"]["prompt"]
    if prompt.get("tools"):
        # Both at once is known to be refused, with this code; since July 2025 tools in line alone are, too.
        words = "Tools in line (prompt.tools) are not taken; make tools, and name their ids in prompt.tool_ids alone."
        return refuse(400, "both_tools_and_tool_ids_provided", words)
    # That this is a 404 is a guess.
    unknown = sorted(changed.tool_ids - content.tools.keys())
    return tool_not_found(unknown[0]) if unknown else changed


def summarize_agent(agent: StoredAgent) -> dict[str, Any]:
    """An agent as it stands in a list."""
    return {
        "agent_id": agent.id,
        "name": agent.name,
        "voice_id": agent.settings["conversation_config"]["tts"]["voice_id"],
        "tags": agent.settings["tags"],
        "created_at_unix_secs": int(agent.created_at),
        "access_info": ACCESS,
        "last_call_time_unix_secs": None,
        "archived": agent.settings["platform_settings"]["archived"],
    }


def describe_agent_in_full(agent: StoredAgent) -> dict[str, Any]:
    """An agent as the platform answers it."""
    return {
        "agent_id": agent.id,
        **agent.settings,
        "metadata": {
            "created_at_unix_secs": int(agent.created_at),
            "updated_at_unix_secs": int(agent.updated_at),
        },
        "phone_numbers": [],
        "whatsapp_accounts": [],
        "access_info": ACCESS,
        "version_id": None,
        "branch_id": None,
        "main_branch_id": None,
        "procedures": {},
    }


def agent_not_found(agent_id: str) -> Answer:
    """A 404 in today's words."""
    return refuse(404, "agent_not_found", f"Agent with ID '{agent_id}' not found.")
