"""A room whose loop does not turn: noticed, named, answered for, and in service again when it moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import trio

from convaid import Tool, tool
from convaid.calls import ToolCalls, open_tool_calls, room
from convaid.config.policy import ToolPolicy, ToolsConfig
from convaid.plugins import Plugins
from convaid.plugins.hookspecs import Loop

from .plugin import TIME_LIMIT, WAIT_LIMIT, add_async, ask, make_plugin
from .test_rooms import make_event, wait_for

both_loops = pytest.mark.parametrize("loop", ["trio", "asyncio"])
CONFIG = ToolsConfig(quarantine_after=1.0, named={"block": ToolPolicy(time_limit=TIME_LIMIT)})


@pytest.fixture(autouse=True)
def _rooms_are_looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PROBE_PAUSE", 0.01)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    release = threading.Event()
    yield release
    release.set()


def make_tools(release: threading.Event) -> tuple[Tool, Tool]:
    @tool
    async def block() -> None:
        """Block."""
        release.wait(WAIT_LIMIT)

    @tool
    async def work() -> str:
        """Work."""
        return "done"

    return block, work


def make_plugins(release: threading.Event, loop: Loop = "trio") -> Plugins:
    return Plugins((make_plugin(*make_tools(release), name="blocking", loop=loop), make_plugin(add_async)))


async def get_stuck(tool_calls: ToolCalls) -> room.Room:
    assert (await ask(tool_calls, "block")).outcome == "time-out"
    blocking, other = tool_calls.rooms
    await wait_for(lambda: blocking.is_stuck)
    assert not other.is_stuck
    return blocking


@both_loops
async def test_a_room_that_is_stuck_is_named_and_answers_at_once_until_it_moves(
    loop: Loop, release: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_tool_calls(make_plugins(release, loop), CONFIG) as tool_calls:
        assert (await ask(tool_calls, "work")).result == "done"
        blocking = await get_stuck(tool_calls)
        assert blocking.stuck_at.startswith(f"{__file__}:")
        assert " block" in blocking.stuck_at
        assert blocking.stuck_since is not None
        assert blocking.stuck_since < trio.current_time() - CONFIG.quarantine_after
        for _ in range(3):
            answer = await ask(tool_calls, "work")
            assert (answer.outcome, answer.is_error) == ("error", True)
            assert answer.seconds < WAIT_LIMIT / 2
        assert (await ask(tool_calls, "add_async", {"a": 1})).result == "2"
        release.set()
        await wait_for(lambda: not blocking.is_stuck)
        assert (await ask(tool_calls, "work")).result == "done"
    lines = [message for message in caplog.messages if "blocking" in message]
    assert len(lines) == 2
    assert "is stuck: nothing has moved in its room for 1 s, at " in lines[0]
    assert __file__ in lines[0]
    assert "moves again, after " in lines[1]


async def test_a_stuck_room_ends_with_the_rest(release: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CLOSE_LIMIT", 0.1)
    async with open_tool_calls(make_plugins(release), CONFIG) as tool_calls:
        await get_stuck(tool_calls)
        begin = time.monotonic()
    assert time.monotonic() - begin < WAIT_LIMIT / 2


async def test_a_busy_room_is_not_stuck(caplog: pytest.LogCaptureFixture) -> None:
    @tool
    async def turn() -> None:
        """Let the loop turn, slowly."""
        for _ in range(40):
            time.sleep(0.03)  # noqa: ASYNC251
            await trio.lowlevel.checkpoint()

    @tool
    async def wait() -> None:
        """Wait for longer than would be stuck."""
        await trio.sleep(1.2)

    plugins = Plugins((make_plugin(turn, wait),))
    async with open_tool_calls(plugins, CONFIG) as tool_calls, trio.open_nursery() as nursery:
        nursery.start_soon(ask, tool_calls, "wait")
        nursery.start_soon(ask, tool_calls, "turn")
    assert caplog.messages == []


async def test_nobody_looks_at_a_room_in_which_nothing_is_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    probed = 0

    async def count(_: room.Room) -> None:
        nonlocal probed
        probed += 1

    monkeypatch.setattr(room.Room, "_probe", count)
    seen: list[str] = []
    plugin = make_plugin(add_async, observe=lambda event: seen.append(event.conversation))
    async with open_tool_calls(Plugins((plugin,)), CONFIG) as tool_calls:
        await ask(tool_calls, "add_async", {"a": 1})
        await trio.sleep(0.1)
        before = trio.lowlevel.current_statistics()
        probed = 0
        await trio.sleep(0.1)
        tool_calls.observe(make_event(1))
        await wait_for(lambda: bool(seen))
        await trio.sleep(0.05)
        assert probed == 0
        assert before.tasks_living == trio.lowlevel.current_statistics().tasks_living
