"""Tools that do not end: their calls do, in time, and nobody else notices."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest
import trio

from convaid import tool
from convaid.calls import aftermath, open_tool_calls
from convaid.config.policy import ToolPolicy, ToolsConfig
from convaid.events import ToolAnswer
from convaid.plugins import Plugins

from .plugin import TIME_LIMIT, WAIT_LIMIT, add, add_async, ask, make_plugin, make_plugins, sleep


def make_stubborn_tools(release: threading.Event) -> Plugins:
    """Tools that do not end before ``release`` is set, each in its own way; all but the first are async."""

    @tool
    def block() -> None:
        """Block."""
        release.wait(WAIT_LIMIT)

    @tool
    async def block_room() -> None:
        """Block, although async."""
        release.wait(WAIT_LIMIT)

    @tool
    async def stay() -> None:
        """Wait, and not be cancelled."""
        await trio.to_thread.run_sync(release.wait, WAIT_LIMIT)

    return Plugins((make_plugin(block, block_room, stay, name="stubborn"), make_plugin(add, add_async)))


STUBBORN = ("block", "block_room", "stay")


@pytest.fixture
def release() -> Iterator[threading.Event]:
    release = threading.Event()
    yield release
    release.set()


@pytest.mark.parametrize("name", STUBBORN)
async def test_a_tool_that_takes_too_long_is_given_up_in_time(name: str, release: threading.Event) -> None:
    async with open_tool_calls(make_stubborn_tools(release), ToolsConfig(time_limit=0.1)) as tool_calls:
        answer = await ask(tool_calls, name)
        assert (answer.outcome, answer.is_error) == ("time-out", True)
        assert answer.result.startswith(f'The tool "{name}" took longer than 0.1 s and was given up.')
        assert 0.1 <= answer.seconds < WAIT_LIMIT / 2
        release.set()


@pytest.mark.parametrize("name", STUBBORN)
async def test_cancelling_a_call_does_not_wait_for_the_tool(name: str, release: threading.Event) -> None:
    async with open_tool_calls(make_stubborn_tools(release), ToolsConfig()) as tool_calls:
        begin = time.monotonic()
        with trio.move_on_after(0.05) as scope:
            await ask(tool_calls, name)
        assert scope.cancelled_caught
        assert time.monotonic() - begin < WAIT_LIMIT / 2
        release.set()


async def test_limits_come_from_the_configuration_then_the_author_then_the_default() -> None:
    @tool(time_limit=0.05)
    async def hurried() -> None:
        """Hurry."""
        await trio.sleep_forever()

    @tool(time_limit=5)
    async def calm() -> None:
        """Do not hurry."""
        await trio.sleep_forever()

    config = ToolsConfig(time_limit=60, named={"calm": ToolPolicy(time_limit=0.06)})
    async with open_tool_calls(make_plugins(hurried, calm), config) as tool_calls:
        assert "0.05 s" in (await ask(tool_calls, "hurried")).result
        assert "0.06 s" in (await ask(tool_calls, "calm")).result


async def test_a_tool_that_is_given_up_is_cancelled() -> None:
    cancelled = threading.Event()

    @tool
    async def wait() -> None:
        """Wait."""
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with open_tool_calls(make_plugins(wait), ToolsConfig(time_limit=TIME_LIMIT)) as tool_calls:
        assert (await ask(tool_calls, "wait")).outcome == "time-out"
        assert cancelled.wait(WAIT_LIMIT)


async def test_a_plugin_that_blocks_hurts_only_itself(release: threading.Event) -> None:
    """While one room is blocked, our loop, our time limits and the other plugins' tools go on."""
    rude: list[ToolAnswer] = []

    async def be_rude() -> None:
        rude.append(await ask(tool_calls, "block_room"))

    config = ToolsConfig(named={"block_room": ToolPolicy(time_limit=0.2)})
    async with open_tool_calls(make_stubborn_tools(release), config) as tool_calls:
        with trio.fail_after(WAIT_LIMIT / 2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(be_rude)
                for _ in range(50):
                    await trio.sleep(0.001)
                    assert (await ask(tool_calls, "add", {"a": 1})).result == "2"
                    assert (await ask(tool_calls, "add_async", {"a": 1})).result == "2"
        assert rude[0].outcome == "time-out"
        assert (await ask(tool_calls, "add_async", {"a": 1})).result == "2"
        release.set()


async def test_a_tool_that_was_given_up_before_it_began_never_begins(release: threading.Event) -> None:
    blocked, began = threading.Event(), threading.Event()

    @tool
    async def block_room() -> None:
        """Block, although async."""
        blocked.set()
        release.wait(WAIT_LIMIT)

    @tool(time_limit=0.1)
    async def late() -> None:
        """Come late."""
        began.set()

    async with open_tool_calls(make_plugins(block_room, late, add_async), ToolsConfig()) as tool_calls:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, tool_calls, "block_room")
            await trio.to_thread.run_sync(blocked.wait, WAIT_LIMIT)
            assert (await ask(tool_calls, "late")).outcome == "time-out"
            release.set()
        assert (await ask(tool_calls, "add_async", {"a": 1})).outcome == "ok"  # its turn comes after that of `late`
    assert not began.is_set()


@pytest.mark.parametrize("name", STUBBORN)
async def test_the_log_says_where_a_tool_goes_on_that_was_given_up(
    name: str,
    release: threading.Event,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aftermath, "REACTION_LIMIT", 0.05)
    async with open_tool_calls(make_stubborn_tools(release), ToolsConfig(time_limit=TIME_LIMIT)) as tool_calls:
        assert (await ask(tool_calls, name)).outcome == "time-out"
        with trio.fail_after(WAIT_LIMIT):
            while not caplog.records:  # the log tells nobody
                await trio.sleep(0.01)
        release.set()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f'the tool "{name}" goes on although it was given up, at {__file__}:' in record.message
    assert f" {name} (1 such in all)" in record.message


async def test_a_tool_that_ends_when_it_is_given_up_is_not_worth_a_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aftermath, "REACTION_LIMIT", 1.0)
    async with open_tool_calls(make_plugins(sleep), ToolsConfig(time_limit=0.05)) as tool_calls:
        assert (await ask(tool_calls, "sleep", {"seconds": 60})).outcome == "time-out"
        await trio.sleep(1.1)
    assert caplog.messages == []
