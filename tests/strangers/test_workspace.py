"""The proof of the simulator's REST: the official command line and Python SDK, unmodified, provision it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from convaid.simulator import Agent, Scenario, Simulator, SimulatorSettings, open_simulator
from convaid.simulator.scenario import End

from ..simulator.peers import open_peer
from .behaviours import YES
from .page import Table, settle
from .programs import find_cli, run_stranger

API_KEY = "sk_test_of_strangers"
SCENARIO = Scenario(agent=Agent(first_message="Hello.", text_only=True), steps=[End()])
VOLUME = {
    "type": "client",
    "name": "set_volume",
    "description": "Set the volume",
    "expects_response": True,
    "response_timeout_secs": 7,
    "parameters": {
        "type": "object",
        "required": ["level"],
        "properties": {
            "level": {"type": "integer", "description": "0 to 100"},
            "room": {"type": "string", "dynamic_variable": "room"},
            "speakers": {"type": "array", "description": "Which", "items": {"type": "string", "description": "A name"}},
        },
    },
}
MAKES_TOOLS = "makes, reads, changes and deletes tools"
SENDS_BACK = "sends a tool back as it came"
PAGES = "lists tools page by page"
TELLS_INVALID = "tells what is wrong with a tool"
TELLS_IN_USE = "tells that a tool is in use"
MAKES_AGENTS = "makes, reads and changes agents"
READS_HISTORY = "reads what was said, and how it ended"
REST = Table(
    "rest",
    [MAKES_TOOLS, SENDS_BACK, PAGES, TELLS_INVALID, TELLS_IN_USE, MAKES_AGENTS, READS_HISTORY],
    ["Python SDK", "command line"],
)


class CommandLine:
    """The official command line in a folder, with a home and a key of its own."""

    def __init__(self, simulator: Simulator, folder: Path) -> None:
        self._program = find_cli()
        self._simulator = simulator
        self.folder = folder

    async def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end; what it printed."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "ELEVENLABS_API_KEY": API_KEY}
        command = ["node", self._program, "--base-url", self._simulator.base_url, *arguments]
        with trio.fail_after(30):
            done = await trio.run_process(
                command, cwd=self.folder, env=environment, capture_stdout=True, capture_stderr=True, check=False
            )
        printed = (done.stdout + done.stderr).decode()
        assert done.returncode == code, printed
        return printed

    def read(self, path: str) -> Any:
        return json.loads((self.folder / path).read_text())

    def write(self, path: str, content: Any) -> None:
        (self.folder / path).write_text(json.dumps(content))


async def make_tool(simulator: Simulator, config: dict[str, Any]) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=simulator.base_url, headers={"xi-api-key": API_KEY}) as http:
        answer = await http.post("/v1/convai/tools", json={"tool_config": config})
    made = answer.json()
    assert answer.status_code == 200, made
    assert isinstance(made, dict)
    return made


@pytest.mark.usefixtures("command_line")
async def test_the_command_line_pulls_and_pushes_tools(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    async with open_simulator(SimulatorSettings([SCENARIO], API_KEY)) as simulator:
        shell = CommandLine(simulator, tmp_path)
        made = await make_tool(simulator, VOLUME)
        await shell.run("tools", "pull", "--yes")
        (entry,) = shell.read("tools.json")["tools"]
        assert entry == {"type": "client", "config": "tool_configs/set_volume.json", "id": made["id"]}
        assert shell.read(entry["config"]) == made["tool_config"]

        await shell.run("tools", "push")
        assert dict(simulator.workspace.tools[made["id"]].config) == made["tool_config"]

        shell.write(entry["config"], VOLUME | {"description": "Louder or softer"})
        shell.write("tool_configs/mute.json", {"type": "client", "name": "mute", "description": "Be quiet"})
        shell.write("tools.json", {"tools": [entry, {"type": "client", "config": "tool_configs/mute.json"}]})
        await shell.run("tools", "push")
        volume, mute = simulator.workspace.tools.values()
        assert dict(volume.config) == made["tool_config"] | {"description": "Louder or softer"}
        assert (mute.name, mute.config["response_timeout_secs"]) == ("mute", 20)
        assert [each["id"] for each in shell.read("tools.json")["tools"]] == [volume.id, mute.id]

        shell.write("tool_configs/mute.json", {"type": "client", "name": "no blanks", "description": "x"})
        assert "String should match pattern" in await shell.run("tools", "push")
        await shell.run("tools", "delete", mute.id)
        assert list(simulator.workspace.tools) == [volume.id]
    settle(REST, "command line", dict.fromkeys([MAKES_TOOLS, SENDS_BACK, TELLS_INVALID], YES), pytestconfig)


@pytest.mark.usefixtures("command_line")
async def test_the_command_line_pulls_and_pushes_agents(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    async with open_simulator(SimulatorSettings([SCENARIO], API_KEY)) as simulator:
        shell = CommandLine(simulator, tmp_path)
        tool = await make_tool(simulator, VOLUME)
        await shell.run("agents", "pull", "--yes")
        (entry,) = shell.read("agents.json")["agents"]
        assert entry["id"] == "agent_demo"
        agent = shell.read(entry["config"])
        agent["conversation_config"]["agent"]["prompt"]["tool_ids"] = [tool["id"]]
        agent["conversation_config"]["conversation"]["client_events"] = ["agent_response"]
        shell.write(entry["config"], agent)
        await shell.run("agents", "push")
        settings = simulator.workspace.agents["agent_demo"].settings
        assert settings["conversation_config"] == agent["conversation_config"]
        assert settings["platform_settings"] == agent["platform_settings"]
        await shell.run("agents", "add", "second", "--template", "text-only")
        names = [each.name for each in simulator.workspace.agents.values()]
        assert names == ["Agent of the scenario scenario", "second"]
    settle(REST, "command line", {MAKES_AGENTS: YES}, pytestconfig)


async def test_the_python_sdk_provisions_tools_and_agents(python_workspace: str, pytestconfig: pytest.Config) -> None:
    async with open_simulator(SimulatorSettings([SCENARIO], API_KEY)) as simulator:
        async with open_peer(simulator, query="agent_id=agent_demo") as peer:
            await peer.receive_rest()
        record = await simulator.wait_conversation()
        seen = await run_stranger(sys.executable, python_workspace, simulator.base_url, API_KEY, record.conversation_id)
    assert seen == {
        "user": "user_simulator",
        "tools": {
            "pages": [["volume_a", "volume_b"], ["x"]],
            "found": ["volume_a", "volume_b"],
            "got": [True, "client", "integer"],
            "updated": ["louder", -1],
            "sent_back": "volume_a",
            "refused": [["name", "string_pattern_mismatch"], ["response_timeout_secs", "greater_than_equal"]],
        },
        "agents": {
            "got": ["Made by the SDK", True],
            "dependents": [True],
            "in_use": [400, "tool_in_use"],
            "updated": ["Renamed", True],
            "listed": ["Renamed"],
            "gone": 404,
        },
        "conversation": [True, "done", [["agent", "Hello."]], True],
    }
    settle(REST, "Python SDK", dict.fromkeys(REST.rows, YES), pytestconfig)
