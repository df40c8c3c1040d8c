"""A simulator, a configuration and tools that are matched against each other, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import attrs
import trio
from attrs import define, field

from convaid import Tool, tool
from convaid.config import Configuration, parse_configuration
from convaid.matching.findings import Finding
from convaid.matching.matching import find_findings
from convaid.matching.observing import fetch_view
from convaid.matching.plan import Plan, plan_push
from convaid.matching.push import push_plan
from convaid.matching.record import PushRecord
from convaid.matching.view import OfferedTool, PlatformView, list_tools
from convaid.plugins import Plugin, Plugins
from convaid.rest import PlatformTool, Workspace, open_workspace
from convaid.simulator import Simulator, open_simulator
from convaid.simulator.server import SimulatorSettings

LIMIT = 10.0  # seconds for everything that a test waits for
AGENT = "agent_demo"
MAIN = """
[conversations.main]
agent_id = "agent_demo"
"""


class Lamp(TypedDict):
    """A lamp.

    Attributes:
        name: which lamp
        level: how bright, in percent
    """

    name: str
    level: int


@tool
def set_lamps(
    lamps: Annotated[list[Lamp], "the lamps to set"],
    mood: Annotated[Literal["calm", "bright"], "the mood of the light"],
    fade: Annotated[float, "seconds to get there"] = 0.0,
) -> str:
    """Set lamps."""
    return "done"


@tool(time_limit=30, pre_tool_speech="force")
async def find_lamps(room: Annotated[str | None, "which room"]) -> list[str]:
    """Find lamps."""
    return []


@tool
def blink() -> None:
    """Blink once."""


TOOLS = (set_lamps, find_lamps, blink)


def make_plugins(*tools: Tool) -> Plugins:
    """One plugin that offers these tools."""
    return Plugins((Plugin("lamps", "lamps", "convaid-lamps", "1", "ready", tools=tools),))


@define
class Bench:
    """What a test needs to push, change and match."""

    workspace: Workspace
    record: PushRecord
    configuration: Configuration
    simulator: Simulator
    plugins: Plugins = field(factory=lambda: make_plugins(*TOOLS))

    @property
    def offered(self) -> dict[str, OfferedTool]:
        return list_tools(self.plugins, self.configuration.tools)

    async def look(self) -> PlatformView:
        return await fetch_view(self.workspace, self.configuration.conversations.values())

    async def plan(self, **options: Any) -> Plan:
        return plan_push(self.offered, self.configuration.conversations, await self.look(), self.record, **options)

    async def push(self, **options: Any) -> list[str]:
        """Push, and return what was told."""
        told: list[str] = []
        assert await push_plan(await self.plan(**options), self.workspace, self.record, told.append) == []
        return told

    async def match(self) -> list[Finding]:
        return find_findings(self.offered, self.configuration.conversations, await self.look(), self.record.ids)

    async def find_tool(self, name: str) -> PlatformTool:
        (found,) = [each for each in await self.workspace.list_tools() if each.name == name]
        return found

    async def edit_tool(self, of: str, /, **changes: Any) -> None:
        """Change a tool as somebody at the dashboard would."""
        found = await self.find_tool(of)
        await self.workspace.update_tool(attrs.evolve(found, config={**found.config, **changes}))

    async def edit_agent(self, **changes: Any) -> None:
        """Change the agent, likewise."""
        await self.workspace.update_agent(AGENT, changes)

    def configure(self, text: str) -> None:
        """Put another configuration in the place of the one that there is."""
        platform = self.configuration.platform
        self.configuration = attrs.evolve(parse_configuration(text, "test"), platform=platform)


def edit_parameter(parameters: Mapping[str, Any], name: str, /, **changes: Any) -> dict[str, Any]:
    """Return an object node with one of its parameters changed."""
    node = {**parameters["properties"].get(name, {}), **changes}
    return {**parameters, "properties": {**parameters["properties"], name: node}}


@asynccontextmanager
async def open_bench(path: Path, configuration: str = MAIN, *, is_pushed: bool = True) -> AsyncIterator[Bench]:
    """Open all of it; ``is_pushed``: the platform is up to date."""
    with trio.fail_after(LIMIT):
        async with (
            open_simulator(SimulatorSettings()) as simulator,
            open_workspace(simulator.base_url, None) as workspace,
        ):
            text = f'{configuration}\n[platform]\nbase_url = "{simulator.base_url}"\n'
            record = PushRecord(path / "config.tools.json", workspace=simulator.base_url)
            bench = Bench(workspace, record, parse_configuration(text, "test"), simulator)
            if is_pushed:
                await bench.push()
            yield bench
