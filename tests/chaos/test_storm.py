"""Chaos: a seed makes the same each time, and a smaller dose of `make chaos` leaves everything as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from convaid.simulator import SimulatorSettings
from convaid.simulator.chaos import Chaos, ChaosTool, derive_seed, list_tools, make_conversation, open_chaos
from convaid.simulator.scenario import Call, Step
from convaid.transport import LinkClosed, open_link

from ..cli.running import keep, run_convaid, start_convaid

ROOT = Path(__file__).parents[2]
SESSIONS = 120
PEACEFUL = 4711  # a seed whose conversation begins and ends as it should
LAMP = ChaosTool(
    "set_lamp",
    {
        "type": "object",
        "required": ["room", "level"],
        "properties": {
            "room": {"type": "string", "enum": ["kitchen", "hall"], "description": "where"},
            "level": {"type": "integer", "description": "0 to 100"},
            "scenes": {
                "type": "array",
                "description": "more",
                "items": {"type": "string", "description": "a name"},
            },
        },
    },
)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_smaller_storm_leaves_everything_as_it_was(seed: int) -> None:
    command = ["-m", "tests.chaos.storm", "--json", "--sessions", str(SESSIONS), "--seed", str(seed)]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["slips"] == []
    assert report["sessions"] == SESSIONS
    assert {"ok", "error", "invalid"} <= report["outcomes"].keys()
    assert len(report["causes"]) > 4


def test_a_seed_makes_the_same_each_time() -> None:
    for seed in range(200):
        assert make_conversation(seed, [LAMP]) == make_conversation(seed, [LAMP])
    assert make_conversation(1) != make_conversation(2)


def test_the_seed_of_one_conversation_makes_it_the_first() -> None:
    for number in (0, 1, 17):
        seed = derive_seed(4711, number)
        conversation = Chaos(4711, [LAMP]).make_conversation(number)
        assert Chaos(seed, [LAMP]).make_conversation(0) == conversation
        assert conversation.scenario.name == f"chaos-{seed}"


def find_calls(steps: list[Step]) -> list[Call]:
    return [step for step in steps if isinstance(step, Call) and step.tool == LAMP.name]


def test_most_arguments_fit_the_tool() -> None:
    calls = [call for seed in range(300) for call in find_calls([*make_conversation(seed, [LAMP]).scenario.steps])]
    fitting = [
        call
        for call in calls
        if call.parameters.get("room") in ("kitchen", "hall")
        and isinstance(call.parameters.get("level"), int)
        and "surprise" not in call.parameters
    ]
    assert 0.8 < len(fitting) / len(calls) < 1


async def test_the_tools_of_the_workspace_are_called() -> None:
    import httpx

    async with open_chaos(Chaos(1), SimulatorSettings(api_key="sk")) as (simulator, base_url):
        config = {"type": "client", "name": LAMP.name, "description": "Light", "parameters": LAMP.parameters}
        async with httpx.AsyncClient(base_url=base_url, headers={"xi-api-key": "sk"}) as http:
            (await http.post("/v1/convai/tools", json={"tool_config": config})).raise_for_status()
        (tool,) = list_tools(simulator.workspace)
    assert tool.name == LAMP.name
    assert tool.parameters["properties"].keys() == LAMP.parameters["properties"].keys()
    steps = [step for seed in range(20) for step in make_conversation(seed, [tool]).scenario.steps]
    levels = [step.parameters["level"] for step in steps if isinstance(step, Call) and "level" in step.parameters]
    assert sum(isinstance(level, int) for level in levels) > len(levels) / 2  # the others are wrong on purpose


async def converse(base_url: str) -> None:
    """Hold a conversation as somebody who says nothing."""
    url = f"ws{base_url.removeprefix('http')}/v1/convai/conversation?agent_id=agent_x"
    with trio.fail_after(20):
        async with open_link(url) as link:
            await link.send('{"type": "conversation_initiation_client_data"}')
            while not isinstance(await link.receive(), LinkClosed):
                pass


def test_each_conversation_is_printed_with_its_seed() -> None:
    with keep(start_convaid("simulate", "--chaos", str(PEACEFUL), "--port", "0")) as simulator:
        assert simulator.stdout is not None
        trio.run(converse, simulator.stdout.readline().split()[-1])
        assert f"(scenario chaos-{PEACEFUL})" in simulator.stdout.readline()


def test_chaos_takes_no_scenarios() -> None:
    result = run_convaid("simulate", "demo", "--chaos", "1")
    assert result.returncode == 2
    assert "leave the scenarios out" in result.stderr
