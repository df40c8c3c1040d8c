"""A folder that the official command line has written, as the simulator loads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from convaid.simulator import SimulatorSettings, open_simulator

from .test_workspace import API_KEY, SCENARIO, VOLUME, CommandLine, make_tool

TEMPLATES = ("default", "minimal", "voice-only", "text-only", "customer-service", "assistant")


@pytest.mark.usefixtures("command_line")
async def test_agents_and_tools_come_back_as_they_were_pulled(tmp_path: Path) -> None:
    async with open_simulator(SimulatorSettings([SCENARIO], API_KEY)) as simulator:
        shell = CommandLine(simulator, tmp_path)
        tool = await make_tool(simulator, VOLUME)
        await shell.run("agents", "pull", "--yes")
        await shell.run("tools", "pull", "--yes")
        (entry,) = shell.read("agents.json")["agents"]
        agent = shell.read(entry["config"])
        agent["conversation_config"]["agent"]["prompt"]["tool_ids"] = [tool["id"]]
        shell.write(entry["config"], agent)
        for template in TEMPLATES:
            await shell.run("agents", "add", template, "--template", template)
        await shell.run("agents", "push")
        pushed = simulator.workspace
    async with open_simulator(SimulatorSettings([SCENARIO], folder=tmp_path)) as simulator:
        loaded = simulator.workspace
        assert {key: each.config for key, each in loaded.tools.items()} == {tool["id"]: tool["tool_config"]}
        assert {key: each.settings for key, each in loaded.agents.items()} == {
            key: each.settings for key, each in pushed.agents.items()
        }
        assert len(loaded.agents) == 1 + len(TEMPLATES)
