"""The tools as they are offered to agents: whose each is, and what the operator lets it do (floor 5)."""

from __future__ import annotations

import logging
import math
from typing import Literal

import trio
from attrs import frozen

from convaid.config.policy import ToolPolicy, ToolsConfig
from convaid.plugins.loading import Plugin, Plugins
from convaid.plugins.tool import Tool

__all__ = ["Offer", "list_offered", "make_offer"]

PROCESSES = 16  # calls at once of a tool that runs in processes, if nobody says otherwise: each takes a whole Python


@frozen(eq=False)
class Offer:
    """A tool, and how it may run."""

    tool: Tool
    plugin: Plugin
    policy: ToolPolicy
    time_limit: float
    """Seconds that its code has, whatever the agent was told meanwhile."""
    places: trio.Semaphore
    """A run's place is given back when its code has really ended, be it long after the agent was told."""
    log: logging.Logger

    @property
    def runs(self) -> Literal["room", "thread", "process"]:
        """Where."""
        return self.policy.runs or self.tool.runs

    @property
    def result_size(self) -> int:
        """The most characters of a text for the agent."""
        assert self.policy.result_size is not None
        return self.policy.result_size

    @property
    def memory_limit(self) -> int | None:
        """Bytes of memory that a process has."""
        return None if self.policy.memory is None else self.policy.memory * 2**20

    @property
    def cpu_limit(self) -> float | None:
        """Seconds of processor time that a call has in a process."""
        return None if self.policy.cpu_seconds == math.inf else self.policy.cpu_seconds


def list_offered(plugins: Plugins, config: ToolsConfig) -> list[tuple[Tool, Plugin]]:
    """Every tool that agents can call: its plugin is ready, and the configuration has not disabled it."""
    return [
        (tool, plugin)
        for plugin in plugins.ready
        for tool in plugin.tools
        if config.find_policy(tool.name, plugin.name).enabled
    ]


def make_offer(tool: Tool, plugin: Plugin, config: ToolsConfig) -> Offer:
    """Return the offer of a tool under the configuration's policy."""
    policy = config.find_policy(tool.name, plugin.name)
    most = PROCESSES if (policy.runs or tool.runs) == "process" else config.parallel
    return Offer(
        tool=tool,
        plugin=plugin,
        policy=policy,
        time_limit=config.find_time_limit(tool.name, plugin.name, tool.time_limit),
        places=trio.Semaphore(policy.parallel or tool.parallel or most),
        log=logging.getLogger(f"convaid.plugin.{plugin.name}"),
    )
