"""What the daemon says of itself: every kind of trouble is in it, and nothing where all is well."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
import trio

from convaid import tool
from convaid.control import status
from convaid.control.calling import RequestFailed, SocketConnection, call_daemon
from convaid.control.status import Status, describe_status
from convaid.daemon import Daemon
from convaid.logs import JOURNAL_LINE, MaskingFormatter, RecentWarnings

from ..daemon.holding import Held, hold
from ..daemon.test_keeping import wait_ready
from .serving import LISTEN, on_demand, open_api


@tool
async def block() -> None:
    """Block the plugin's room."""
    time.sleep(2.5)  # noqa: ASYNC251 - that is what it is for


@tool
def sleep() -> None:
    """Sleep, whatever the time limit says."""
    time.sleep(3)


async def call(held: Held, name: str) -> None:
    from convaid.protocol.from_agent import ClientToolCall

    await held.daemon.tool_calls.call(ClientToolCall(name, f"call_{name}"), "kitchen", "conv_1")


async def find_status(held: Held, problem: str) -> Status:
    """Wait for a status with such a problem."""
    while True:
        found = describe_status(held.daemon)
        if any(problem in each for each in found.problems):
            return found
        await trio.sleep(0.01)


def test_a_daemon_that_is_not_ready_is_starting() -> None:
    assert describe_status(Daemon()).sentence == "starting"


async def test_nothing_is_wrong_where_nothing_is() -> None:
    async with hold(LISTEN, configuration=on_demand("kitchen", "hall")) as held:
        await wait_ready(held)
        found = describe_status(held.daemon)
        assert (found.is_well, found.problems) == (True, ())
        assert found.sentence == "no conversation is open (2 could be)"
        assert held.daemon.keeper is not None
        held.daemon.keeper.find("kitchen").start()
        while not held.daemon.conversations["kitchen"].is_connected:
            await trio.sleep(0.005)
        found = describe_status(held.daemon)
        assert found.sentence == "1 of 1 conversation connected"
        assert time.time() - found.conversations[0].since < 10
        held.daemon.stop.set()
        assert describe_status(held.daemon).sentence.startswith("stopping; ")


async def test_a_conversation_that_waits_says_how_long_and_why() -> None:
    scenario = "steps = [{drop = {}}]"
    configuration = '[conversations.kitchen]\nagent_id = "agent_test"\n' + on_demand("hall", "attic")
    async with hold(scenario, configuration=configuration) as held:
        await wait_ready(held)
        assert held.daemon.keeper is not None
        found = await find_status(held, "kitchen waits")
        kitchen = found.conversations[0]
        assert kitchen.state == "waiting"
        assert kitchen.retry_in is not None
        assert kitchen.last_end is not None
        assert kitchen.last_end.cause == "link lost"
        assert found.sentence.startswith("0 of 1 conversation connected; kitchen waits ")
        assert found.sentence.endswith(" s: link lost")


async def test_a_conversation_in_the_queue_says_at_which_place() -> None:
    configuration = on_demand("a", "b", "c") + "[daemon]\npool_size = 1\n"
    async with hold(LISTEN, configuration=configuration) as held:
        await wait_ready(held)
        assert held.daemon.keeper is not None
        for name in ("a", "b", "c"):
            held.daemon.keeper.find(name).start()
            await trio.testing.wait_all_tasks_blocked(0.001)
        places = [(each.state, each.place) for each in describe_status(held.daemon).conversations]
        assert places[1:] == [("queued", 1), ("queued", 2)]


async def test_a_stuck_plugin_is_named_with_the_line_that_blocks() -> None:
    configuration = on_demand("kitchen") + "[tools]\nquarantine_after = 0.5\n"
    async with hold(LISTEN, configuration=configuration, tools=[block]) as held, trio.open_nursery() as nursery:
        await wait_ready(held)
        nursery.start_soon(call, held, "block")
        found = await find_status(held, "plugin test is stuck")
        (plugin,) = found.plugins
        assert "test_status.py" in plugin.reason
        assert plugin.stuck_for is not None
        while not describe_status(held.daemon).is_well:
            await trio.sleep(0.01)


async def test_a_tool_that_goes_on_although_given_up_is_named_with_its_line() -> None:
    configuration = on_demand("kitchen") + "[tools.sleep]\ntime_limit = 0.8\n"
    async with hold(LISTEN, configuration=configuration, tools=[sleep]) as held:
        await wait_ready(held)
        await call(held, "sleep")
        found = await find_status(held, "given up goes on (sleep, at ")
        (left,) = found.left_behind
        assert "test_status.py" in left.place
        assert (left.tool, left.conversation, found.left_behind_count) == ("sleep", "kitchen", 1)


async def test_a_journal_that_cannot_be_written_is_trouble_until_it_can() -> None:
    async with hold(LISTEN, configuration=on_demand("kitchen"), tools=[sleep]) as held:
        await wait_ready(held)
        journal = held.daemon.tool_calls._journal
        assert journal is not None
        journal._file.connection.execute("PRAGMA query_only = 1")  # as good as a full disk
        await call(held, "sleep")
        found = describe_status(held.daemon)
        assert "cannot be used" in found.troubles[0]
        assert not found.is_well
        journal._file.connection.execute("PRAGMA query_only = 0")
        journal.begin("conv_1", "call_9", "sleep", "kitchen")
        assert describe_status(held.daemon).is_well


async def test_what_was_wrong_who_reads_and_what_it_takes_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    warned = RecentWarnings()
    warned.setFormatter(MaskingFormatter((), JOURNAL_LINE))
    monkeypatch.setattr(status, "RECENT_WARNINGS", warned)
    async with open_api(LISTEN, configuration=on_demand("kitchen")) as api:
        warned.handle(logging.makeLogRecord({"levelno": logging.WARNING, "msg": "it rained"}))
        before = await api.get("/v1/status")
        assert [each["count"] for each in before["warnings"]] == [1]
        assert before["is_well"]
        assert before["readers"] == 0
        async with api.http.stream("GET", "/v1/events"):
            found = await api.get("/v1/status")
            assert found["readers"] == 1
            assert found["resources"]["tasks"] > before["resources"]["tasks"]
            assert found["resources"]["descriptors"] > before["resources"]["descriptors"]
        assert 10 < found["resources"]["memory"] < 1000
        while (await api.get("/v1/status"))["readers"]:
            await trio.sleep(0.01)


async def test_many_problems_are_counted_in_the_sentence() -> None:
    async with hold(LISTEN, configuration=on_demand("kitchen")) as held:
        await wait_ready(held)
        held.daemon.troubles |= {str(number): f"trouble {number}" for number in range(5)}
        found = describe_status(held.daemon)
        assert found.sentence.endswith("trouble 0; trouble 1; trouble 2; 2 more problems")
        assert len(found.problems) == 5


def test_who_may_not_ask_is_told_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: SocketConnection) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(SocketConnection, "connect", refuse)
    path = tmp_path / "control.sock"
    path.touch(0o600)
    with pytest.raises(RequestFailed, match=r"you may not talk to the daemon .* belongs to .* 0600; use sudo, or let"):
        call_daemon(path, "GET", "/v1/status")
