"""The workspace's file: what is kept in it, when it is written, and what becomes of several processes on one."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from convaid.errors import ConfigurationError
from convaid.simulator import Agent, Scenario, SimulatorSettings, open_simulator
from convaid.simulator.answers import Answer
from convaid.simulator.scenario import End
from convaid.simulator.workspace import open_workspace
from convaid.simulator.workspace.stored import Content, StoredTool

from .provisioning import AGENTS, TOOLS, make_agent, make_tool, open_provisioning

SCENARIO = Scenario(agent=Agent(first_message="Hello", text_only=True), steps=[End()])
EMPTY = b'{"convaid_simulator": 1, "tools": {}, "agents": {}}'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "simulator.json"


def look(file: Path) -> tuple[int, bytes]:
    """Which file it is just now, and what stands in it."""
    return file.stat().st_ino, file.read_bytes()


def write(file: Path, text: bytes) -> None:
    file.write_bytes(text)


async def test_tools_and_agents_outlive_the_simulator(file: Path) -> None:
    async with open_provisioning(SCENARIO, file=file) as (_, http):
        tool = await make_tool(http)
        agent = await make_agent(http, conversation_config={"agent": {"prompt": {"tool_ids": [tool]}}})
        change = {"conversation_config": {"agent": {"first_message": "Changed"}}}
        await http.patch(f"{AGENTS}/agent_demo", json=change)
        before = [(await http.get(path)).json() for path in (TOOLS, AGENTS, f"{AGENTS}/{agent}")]
    async with open_provisioning(SCENARIO, file=file) as (_, http):
        assert [(await http.get(path)).json() for path in (TOOLS, AGENTS, f"{AGENTS}/{agent}")] == before
        demo = (await http.get(f"{AGENTS}/agent_demo")).json()
        assert demo["conversation_config"]["agent"]["first_message"] == "Changed"


async def test_only_a_change_writes_the_file(file: Path) -> None:
    async with open_provisioning(SCENARIO, file=file) as (_, http):
        for path in (TOOLS, AGENTS, f"{AGENTS}/agent_demo", f"{TOOLS}/none"):
            await http.get(path)
        await http.patch(f"{AGENTS}/agent_demo", json={"name": "Agent of the scenario scenario"})
        await http.post(TOOLS, json={"tool_config": {}})
        await http.delete(f"{TOOLS}/none")
        assert list(file.parent.iterdir()) == []
        tool = await make_tool(http)
        written = look(file)
        body = {"tool_config": (await http.get(f"{TOOLS}/{tool}")).json()["tool_config"]}
        assert (await http.patch(f"{TOOLS}/{tool}", json=body)).status_code == 200
        assert look(file) == written
        await http.delete(f"{TOOLS}/{tool}")
        assert look(file) != written
        assert list(file.parent.iterdir()) == [file]


async def test_without_a_file_everything_is_forgotten() -> None:
    for _ in range(2):
        async with open_provisioning(SCENARIO) as (_, http):
            assert (await http.get(TOOLS)).json()["tools"] == []
            await make_tool(http)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\x00", "is not JSON"),
        (b"[]", "is not a file of the simulator's"),
        (b"{}", "is not a file of the simulator's"),
        (b'{"tools": []}', "is not a file of the simulator's"),
        (b'{"convaid_simulator": 2, "tools": {}, "agents": {}}', "is not a file of the simulator's"),
        (b'{"convaid_simulator": 1}', "tools: Field required"),
        (EMPTY.replace(b'"agents": {}', b'"agents": []'), "agents: Input should be a valid dictionary"),
        (EMPTY.replace(b'"tools": {}', b'"tools": {"t": 1}'), "tools.t: Input should be a valid dictionary"),
        (
            EMPTY.replace(b'"tools": {}', b'"tools": {"t": {"created_at": 1, "tool_config": {"type": "client"}}}'),
            "tools.t.tool_config.client.name: Field required",
        ),
        (EMPTY.replace(b"{}", b"[" * 300 + b"]" * 300), "is nested too deeply"),
    ],
)
async def test_a_file_of_something_else_is_left_alone_and_named(file: Path, text: bytes, words: str) -> None:
    write(file, text)
    with pytest.raises(ConfigurationError) as caught:
        async with open_simulator(SimulatorSettings([SCENARIO], file=file)):
            pass
    assert f"{file}: " in str(caught.value)
    assert words in str(caught.value)
    assert look(file)[1] == text


@pytest.mark.parametrize("path", ["nowhere/simulator.json", "."])
def test_a_place_that_cannot_be_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_workspace([SCENARIO], tmp_path / path)
    assert str(tmp_path / path) in str(caught.value)


async def test_two_simulators_on_one_file_keep_each_others_changes(file: Path) -> None:
    async with open_provisioning(SCENARIO, file=file) as (_, one), open_provisioning(SCENARIO, file=file) as (_, other):
        tools = {await make_tool(one, name="one"), await make_tool(other, name="other")}
        for http in (one, other):
            assert {tool["id"] for tool in (await http.get(TOOLS)).json()["tools"]} == tools
        tool = tools.pop()
        await one.delete(f"{TOOLS}/{tool}")
        assert (await other.patch(f"{TOOLS}/{tool}", json={"tool_config": {}})).status_code == 422
        assert (await other.get(f"{TOOLS}/{tool}")).status_code == 404


def add_tools(file: Path, beginning: str) -> None:
    workspace = open_workspace([], file)
    for number in range(20):
        name = f"{beginning}{number}"
        tool = StoredTool(name, 0.0, {"type": "client", "name": name, "description": "x"})

        def edit(content: Content, tool: StoredTool = tool) -> tuple[Content, Answer]:
            return content.put(tool), Answer(200)

        assert workspace.change(edit).status == 200


def test_those_who_write_at_once_lose_nothing(file: Path) -> None:
    """In threads, which the lock tells apart as it does processes: each has opened the folder for itself."""
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(add_tools, file, name) for name in "abcd"]:
            done.result(30)
    assert len(open_workspace([], file).tools) == 80


async def test_a_file_that_breaks_meanwhile_stops_changes_and_nothing_else(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_provisioning(SCENARIO, file=file) as (simulator, http):
        tool = await make_tool(http)
        _, kept = look(file)
        write(file, b"{")
        assert (await http.get(f"{TOOLS}/{tool}")).status_code == 200
        assert "is not JSON" in caplog.text
        answer = await http.delete(f"{TOOLS}/{tool}")
        assert answer.status_code == 500
        assert "is not JSON" in answer.json()["detail"]["message"]
        assert look(file)[1] == b"{"
        write(file, kept)
        assert (await http.delete(f"{TOOLS}/{tool}")).status_code == 200
        os.unlink(file)
        assert (await http.get(TOOLS)).json()["tools"] == []
        assert dict(simulator.workspace.tools) == {}


async def test_what_cannot_be_written_is_not_kept_either(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    async with open_provisioning(SCENARIO, file=file) as (_, http):
        tool = await make_tool(http)
        before = look(file)
        monkeypatch.setattr("convaid.simulator.workspace.storage.os.replace", fail)
        answer = await http.delete(f"{TOOLS}/{tool}")
        assert answer.status_code == 500
        assert "No space left on device" in answer.json()["detail"]["message"]
        assert (await http.get(f"{TOOLS}/{tool}")).status_code == 200
        assert look(file) == before
        assert list(file.parent.iterdir()) == [file]


async def test_the_file_can_be_read_by_people(file: Path) -> None:
    async with open_provisioning(SCENARIO, file=file) as (_, http):
        tool = await make_tool(http)
    _, text = look(file)
    table = orjson.loads(text)
    assert table["convaid_simulator"] == 1
    assert table["tools"][tool]["tool_config"]["name"] == "set_volume"
    assert table["agents"] == {}  # the scenario's own is not kept: nobody has changed it
    assert text.count(b"\n") > 10
