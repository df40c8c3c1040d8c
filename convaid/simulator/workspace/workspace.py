"""The workspace: what the REST calls read and change, in memory or in a file."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from convaid.errors import ConfigurationError, Problem
from convaid.simulator.agent import Guesses
from convaid.simulator.answers import Answer, refuse
from convaid.simulator.scenario import Agent, Scenario
from convaid.simulator.tool_settings import ToolSettings, read_tool_settings
from convaid.simulator.workspace.agent_settings import describe_agent, read_agent
from convaid.simulator.workspace.importing import load_content
from convaid.simulator.workspace.storage import WorkspaceFile
from convaid.simulator.workspace.stored import Content, StoredAgent, StoredTool

__all__ = ["DEMO_AGENT", "Workspace", "make_id", "open_workspace"]

log = logging.getLogger(__name__)

DEMO_AGENT = "agent_demo"  # the id of a scenario's agent that answers to any

Edit = Callable[[Content], tuple[Content, Answer]]


class Workspace:
    """Tools and agents. Those of the scenarios are there from the start, and kept only once REST has changed them."""

    def __init__(
        self, simulated: Mapping[str, StoredAgent], file: WorkspaceFile | None = None, content: Content | None = None
    ) -> None:
        self.guesses = Guesses()
        """What is guessed of the platform's REST calls."""
        self._simulated = dict(simulated)
        self._file = file
        self._version = file and file.find_version()
        self._content = file.read() if file else content or Content()

    @property
    def tools(self) -> Mapping[str, StoredTool]:
        """The tools by id, in the order of their making, as of the last REST call or conversation."""
        return self._content.tools

    @property
    def agents(self) -> Mapping[str, StoredAgent]:
        """The agents by id, likewise."""
        return self._simulated | dict(self._content.agents)

    def find_agent(self, agent_id: str, simulated: Agent) -> Agent | None:
        """The agent of this id, ready to converse: as REST has made or changed it, else as the scenario has it.

        ``simulated`` is the agent of the scenario that is to be played; one without an id answers to any.
        """
        stored = self._content.agents.get(agent_id)
        if stored is None and (not simulated.id or (simulated.id == agent_id and agent_id in self._simulated)):
            return simulated
        stored = stored or self._simulated.get(agent_id)  # of another scenario
        return None if stored is None else read_agent(agent_id, stored.settings, simulated)

    def find_tools(self, agent_id: str) -> dict[str, ToolSettings]:
        """The client tools of the agent of this id, by name."""
        agent = self.agents.get(agent_id)
        tools = [self.tools[tool_id] for tool_id in agent.tool_ids if tool_id in self.tools] if agent else []
        return {
            tool.name: read_tool_settings(tool.config, tool.response_mocks)
            for tool in tools
            if tool.config["type"] == "client"
        }

    def list_attached(self, agent_id: str) -> list[Mapping[str, Any]] | None:
        """The configurations of an agent's tools, of every kind; None for an agent that is as a scenario has it."""
        agent = self._content.agents.get(agent_id)
        if agent is None:
            return None
        built_in = agent.settings["conversation_config"]["agent"]["prompt"].get("built_in_tools") or {}
        return [
            *(self.tools[tool_id].config for tool_id in sorted(agent.tool_ids) if tool_id in self.tools),
            *({"type": "system", "name": name} for name, settings in built_in.items() if settings),
        ]

    def refresh(self) -> None:
        """Take in what another process has changed. A file that cannot be read is logged; what was there stays."""
        if self._file is None or (version := self._file.find_version()) == self._version:
            return
        self._version = version
        try:
            self._content = self._file.read()
        except (ConfigurationError, OSError) as error:
            log.error("the simulator goes on with what it knows: %s", error)

    def change(self, edit: Edit) -> Answer:
        """Change the newest content, and keep the change. ``edit`` has no effects: nothing is kept if that fails."""
        if self._file is None:
            self._content, answer = edit(self._content)
            return answer
        try:
            with self._file.open_alone():
                before = self._file.read()
                after, answer = edit(before)
                if after != before:
                    self._file.write(after)
                self._version = self._file.find_version()
        except (ConfigurationError, OSError) as error:
            return refuse(500, "storage_failed", f"The simulator cannot keep this: {error}")
        self._content = after
        return answer

    def forget(self, agent_id: str) -> None:
        """Let an agent of a scenario's go; a new simulator has it again."""
        self._simulated.pop(agent_id, None)


def open_workspace(scenarios: Iterable[Scenario], file: Path | None = None, folder: Path | None = None) -> Workspace:
    """A workspace with the scenarios' agents, and what a file or a folder of the official command line has.

    Only a file keeps what changes. `ConfigurationError` where it is no workspace, the folder none, or cannot be read.
    """
    now = time.time()
    simulated: dict[str, StoredAgent] = {}
    for scenario in scenarios:
        agent_id = scenario.agent.id or DEMO_AGENT
        settings = describe_agent(scenario.agent, f"Agent of the scenario {scenario.name}")
        simulated.setdefault(agent_id, StoredAgent(agent_id, now, now, settings))
    if file is None:
        return Workspace(simulated, content=load_content(folder) if folder else None)
    if not file.parent.is_dir():
        raise ConfigurationError(str(file), [Problem("", "its folder does not exist; make it, or name another file")])
    try:
        return Workspace(simulated, WorkspaceFile(file.resolve()))
    except OSError as error:
        raise ConfigurationError(str(file), [Problem("", f"cannot be read: {error.strerror}")]) from None


def make_id(kind: str) -> str:
    """A new id, such as ``tool_…``."""
    return f"{kind}_{secrets.token_hex(14)}"
