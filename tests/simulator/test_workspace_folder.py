"""The agents and tools of a folder of the official command line, to converse with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convaid.errors import ConfigurationError
from convaid.protocol.to_agent import UserMessage
from convaid.simulator import Agent, Scenario, SimulatorSettings, open_simulator
from convaid.simulator.brain.settings import Brain
from convaid.transport import LinkClosed

from ..folders import TIME, make_agent, write_folder, write_json
from .model_server import open_model_server, say
from .peers import open_peer

OTHER = {"type": "webhook", "name": "order", "description": "Order", "api_schema": {"url": "https://x.example"}}
STRANGE = {"type": "code", "name": "compute", "what": "ever"}
PROMPT = {"prompt": "You are a clock.", "tool_ids": ["tool_1", "tool_2"], "built_in_tools": {"end_call": {"name": ""}}}


def make_folder(path: Path) -> Path:
    agents = {"agent_1": make_agent(first_message="Tick.", prompt=PROMPT), "": make_agent(first_message="Tock.")}
    return write_folder(path, tools={"tool_1": TIME, "tool_2": OTHER, "tool_3": STRANGE}, agents=agents)


async def greet(settings: SimulatorSettings, agent_id: str) -> str | LinkClosed:
    """What an agent says first, or how the conversation is refused."""
    async with open_simulator(settings) as simulator, open_peer(simulator, query=f"agent_id={agent_id}") as peer:
        while not isinstance(frame := await peer.receive(), LinkClosed):
            if frame["type"] == "agent_response":
                return str(frame["agent_response_event"]["agent_response"])
        return frame


async def test_conversations_are_had_with_the_folders_agents(tmp_path: Path) -> None:
    settings = SimulatorSettings([Scenario(agent=Agent(first_message="Hello."))], folder=make_folder(tmp_path))
    assert await greet(settings, "agent_1") == "Tick."
    assert await greet(settings, "agent-1") == "Tock."  # never pushed: by its file's name
    assert await greet(settings, "agent_demo") == "Hello."
    refused = await greet(settings, "agent_2")
    assert isinstance(refused, LinkClosed)
    assert refused.code == 3000


async def test_a_folders_agent_calls_the_tools_that_are_attached_to_it(tmp_path: Path) -> None:
    async with open_model_server(lambda _: say("Ten.")) as server:
        own = {"type": "client", "name": "own", "description": "Not attached"}
        scenario = Scenario(brain=Brain(base_url=server.base_url, model="m"))
        settings = SimulatorSettings([scenario], folder=make_folder(tmp_path), tools=[own])
        own_names = ["own", "current_time", "end_call"]
        for agent_id, names in (("agent_1", ["current_time", "end_call"]), ("agent_demo", own_names)):
            async with (
                open_simulator(settings) as simulator,
                open_peer(simulator, query=f"agent_id={agent_id}") as peer,
            ):
                await peer.send(UserMessage("Time?"))
                while not server.bodies:
                    await peer.receive_type("agent_response")
            body = server.bodies.pop()
            assert [tool["function"]["name"] for tool in body["tools"]] == names
            roles = {message["role"]: message["content"] for message in body["messages"]}
            prompt = "You are a clock.\n\nSpeak the language 'en'." if agent_id == "agent_1" else None
            assert roles.get("system") == prompt


async def test_a_folder_may_have_tools_alone(tmp_path: Path) -> None:
    async with open_simulator(SimulatorSettings(folder=write_folder(tmp_path, tools={"": TIME}))) as simulator:
        assert list(simulator.workspace.tools) == ["tool-0"]
        assert list(simulator.workspace.agents) == ["agent_demo"]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, r"has no agents\.json; `elevenlabs agents pull --all` makes one"),
        ({"agents.json": "{"}, r"agents\.json: is not JSON"),
        ({"agents.json/x": "{}"}, r"agents\.json: cannot be read: Is a directory"),
        ({"agents.json": {"agents": [{"config": "/etc/passwd"}]}}, r"agents\[0\]: does not name a file of this folder"),
        ({"agents.json": {"agents": [{"config": "a.json"}]}}, r"a\.json: cannot be read"),
        (
            {"agents.json": {"agents": [{"config": "a.json"}]}, "a.json": {}},
            r"a\.json: conversation_config: Field required",
        ),
        (
            {"agents.json": {"agents": [{"config": "a.json"}]}, "a.json": make_agent(first_message=3)},
            r"a\.json: conversation_config\.agent\.first_message: Input should be a valid string",
        ),
        (
            {"agents.json": {"agents": [{"config": "a.json"}]}, "a.json": make_agent(prompt={"tool_ids": ["tool_9"]})},
            r"tool_ids: tools\.json has no tool with the id tool_9; `elevenlabs tools pull --all` brings it",
        ),
        (
            {"agents.json": {"agents": [{"config": "a.json", "id": "x"}] * 2}, "a.json": make_agent()},
            r"agents\.json: has x twice",
        ),
        ({"tools.json": {"tools": [{"config": "t.json"}]}, "t.json": {"type": "client"}}, r"t\.json: is not a tool's"),
        (
            {"tools.json": {"tools": [{"config": "t.json"}]}, "t.json": TIME | {"name": "two words"}},
            r"t\.json: name: String should match",
        ),
    ],
)
async def test_wrong_files_are_named(files: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    for name, content in files.items():
        write_json(tmp_path / name, content)
    with pytest.raises(ConfigurationError, match=complaint):
        async with open_simulator(SimulatorSettings(folder=tmp_path)):
            pass
