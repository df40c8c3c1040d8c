"""Who plays the agent of a scenario with a brain, and which tools it can call: those of the agent in the workspace."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from convaid.errors import ConfigurationError, Problem
from convaid.simulator.brain.actor import BrainActor
from convaid.simulator.brain.model import Model
from convaid.simulator.brain.settings import Brain
from convaid.simulator.conversation import Conversation
from convaid.simulator.scenario import Scenario
from convaid.simulator.speech import Speech
from convaid.simulator.tool_settings import ToolSettings, read_tool_settings
from convaid.simulator.workspace import Workspace
from convaid.simulator.workspace.tool_shapes import KINDS

__all__ = ["cast_brain", "check_brains", "find_settings", "list_callable"]

END_CALL = {"type": "system", "name": "end_call"}


def check_brains(scenarios: Iterable[Scenario]) -> None:
    """Raise `ConfigurationError` where a brain's key is not to be had."""
    for scenario in scenarios:
        if scenario.brain is not None:
            read_key(scenario.brain, scenario.name)


def read_key(brain: Brain, source: str) -> str:
    """Return the key of a brain's server; "" where it needs none. Raises `ConfigurationError`."""
    if not brain.api_key_env:
        return ""
    if key := os.environ.get(brain.api_key_env, "").strip():
        return key
    message = f"{brain.api_key_env} is not set in the environment; set it to the key, or remove api_key_env"
    raise ConfigurationError(source, [Problem("brain.api_key_env", message)])


def list_callable(workspace: Workspace, agent_id: str, own: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the configurations of the tools that an agent can call, by distinct names.

    One that REST or a folder has made or changed has those that are attached to it, and hangs up if it has the system
    tool for that. A scenario's own agent has all, ``own`` ones first, and hangs up.
    """
    attached = workspace.list_attached(agent_id)
    if attached is None:
        complete = [KINDS["client"](config, (), []) for config in own]
        attached = [*complete, *(tool.config for tool in workspace.tools.values()), END_CALL]
    named: dict[str, Mapping[str, Any]] = {}
    for config in attached:
        named.setdefault(config["name"], config)
    return list(named.values())


def find_settings(configs: Iterable[Mapping[str, Any]]) -> dict[str, ToolSettings]:
    """Return what calls of the client tools among these depend on, by name."""
    return {config["name"]: read_tool_settings(config, None) for config in configs if config["type"] == "client"}


def cast_brain(
    brain: Brain, conversation: Conversation, scenario: Scenario, speech: Speech, tools: Sequence[Mapping[str, Any]]
) -> BrainActor:
    """Let a model play the agent."""
    model = Model(brain, read_key(brain, scenario.name))
    return BrainActor(conversation, scenario.voice, speech, model, tools)
