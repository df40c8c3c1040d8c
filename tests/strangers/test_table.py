"""The table of docs/strangers.md: every stranger, unmodified, shows every behaviour on a simulator of its own.

`make strangers-table` writes what is seen into the page; otherwise the page must say what is seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from convaid.simulator import ConversationRecord, Simulator, SimulatorSettings, open_simulator

from .behaviours import BEHAVIOURS, Behaviour, Meeting
from .clients import API_KEY, CLIENTS, Client, make_plan, make_recording, read_seen, run_plans
from .page import PAGE, Table, settle
from .programs import HERE
from .test_workspace import REST

CONVERSATIONS = Table("conversations", [behaviour.name for behaviour in BEHAVIOURS], [each.name for each in CLIENTS])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("client", CLIENTS[::-1], ids=lambda client: client.name)
def test_what_a_stranger_does(client: Client, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    command = client.find()  # not in the asynchronous part: a reason to skip gets lost there
    cells = trio.run(observe, client, command, tmp_path)
    settle(CONVERSATIONS, client.name, cells, request.config)


@pytest.mark.parametrize("table", [CONVERSATIONS, REST], ids=lambda table: table.name)
def test_the_page_has_the_rows_and_columns_that_are_observed(table: Table, pytestconfig: pytest.Config) -> None:
    settle(table, "", {}, pytestconfig)
    page = PAGE.read_text()
    assert table.find(page) == table.render(table.read(page)), "make strangers-table"


def test_the_page_names_the_versions_that_are_pinned() -> None:
    files = [HERE / "js" / "package.json", HERE / "langwatch.txt", HERE.parents[1] / "pyproject.toml"]
    pins = "\n".join(file.read_text() for file in files).replace('": "', "==")
    named = re.findall(r"`([@\w/-]+)` (\d+\.\d+\.\d+)", PAGE.read_text())
    assert len(named) == 4
    assert [name for name, version in named if f"{name}=={version}" not in pins] == []


async def observe(client: Client, command: Sequence[str], folder: Path) -> dict[str, str]:
    """What the stranger does, by behaviour."""
    recording = folder / "speech.wav"
    make_recording(recording, client.rate)
    async with trio.open_nursery() as nursery:
        simulators = {each.name: await nursery.start(serve_stage, client, each) for each in BEHAVIOURS}
        plans = {each.name: await make_plan(each, simulators[each.name]) for each in BEHAVIOURS}
        done = await run_plans(command, recording, plans)
        records = {name: await find_record(simulator) for name, simulator in simulators.items()}
        nursery.cancel_scope.cancel()
    seen = read_seen(done)
    return {
        each.name: each.judge(Meeting(seen[each.name], records[each.name], client.adapt_agent(each.agent)))
        for each in BEHAVIOURS
    }


async def serve_stage(client: Client, behaviour: Behaviour, *, task_status: trio.TaskStatus[Simulator]) -> None:
    """A simulator for one behaviour of one stranger."""
    scenario = behaviour.make_scenario(client.adapt_agent(behaviour.agent))
    async with open_simulator(SimulatorSettings([scenario], API_KEY)) as simulator:
        task_status.started(simulator)
        await trio.sleep_forever()


async def find_record(simulator: Simulator) -> ConversationRecord | None:
    """The simulator's record of the conversation; None where none was held, or it goes on."""
    if simulator.conversations:
        with trio.move_on_after(5):
            return await simulator.wait_conversation(0)
    return None
