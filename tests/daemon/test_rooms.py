"""A plugin that blocks hurts only itself: pongs, speech and the tools of other plugins go on while it does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from convaid import Tool, events, tool

from .holding import hold, make_plugin

SCENARIO = """
steps = [
    {call = {tool = "block", wait = false}},
    {call = {tool = "other", expect_result = "^done$"}},
    {silence = 30.0},
]
[agent]
ping_interval = 0.05
"""


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What the blocking tool waits for; opened at the end of the test in any case."""
    gate = threading.Event()
    yield gate
    gate.set()


def make_tools(gate: threading.Event) -> tuple[Tool, Tool]:
    @tool(time_limit=30)
    async def block() -> str:
        """Block the loop that it runs on."""
        gate.wait(20)
        return "unblocked"

    @tool
    async def other() -> str:
        """Do something on a loop that is not blocked."""
        await trio.lowlevel.checkpoint()
        return "done"

    return block, other


async def test_an_async_tool_that_blocks_leaves_pongs_speech_and_other_plugins_unharmed(
    gate: threading.Event, tmp_path: Path
) -> None:
    block, other = make_tools(gate)
    configuration = f"""
[conversations.main]
agent_id = "agent_test"
start = "once"
audio = "wav"
wav.speaker = "{tmp_path}/heard.wav"
"""
    async with hold(SCENARIO, tools=[block], others=[make_plugin("other", other)], configuration=configuration) as held:
        (ended,) = await held.wait_for(events.ToolCallEnded)  # the other plugin's: the first one still blocks
        assert (ended.call.tool_name, ended.answer.result) == ("other", "done")
        (record,) = held.simulator.conversations
        pongs, chunks = record.received["pong"], record.received["user_audio_chunk"]
        while record.received["pong"] < pongs + 10 or record.received["user_audio_chunk"] < chunks + 10:
            await trio.sleep(0.01)  # bounded by `hold`
        assert len(held.of_kind(events.ToolCallEnded)) == 1  # it blocked all the while
        gate.set()
        _, ended = await held.wait_for(events.ToolCallEnded, 2)
        assert (ended.call.tool_name, ended.answer.result) == ("block", "unblocked")


async def test_a_tool_that_blocks_is_answered_for_at_its_time_limit_and_the_log_says_where_it_is(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    block, _ = make_tools(gate)
    configuration = """
[conversations.main]
agent_id = "agent_test"
start = "once"
[tools.block]
time_limit = 0.8
"""
    async with hold(
        'steps = [{call = {tool = "block"}}, {end = {}}]', tools=[block], configuration=configuration
    ) as held:
        (ended,) = await held.wait_for(events.ToolCallEnded)
        assert (ended.answer.outcome, ended.answer.is_error) == ("time-out", True)
        while "test_rooms.py" not in caplog.text:
            await trio.sleep(0.01)  # bounded by `hold`
        gate.set()
        await held.over.wait()
    assert "gate.wait" in caplog.text or "block" in caplog.text


async def test_a_half_open_link_is_noticed_on_a_real_socket() -> None:
    configuration = """
[conversations.main]
agent_id = "agent_test"
limits = {link_silence = 0.6, ping_interval = 0.2}
"""
    async with hold("steps = [{freeze = 15.0}]", configuration=configuration) as held:
        (ended,) = await held.wait_for(events.Ended)
        assert "nothing was heard for 0.6 s" in ended.end.detail
