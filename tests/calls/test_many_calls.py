"""Many calls at once: all at once, as many as allowed, and what the others are told."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest
import trio

from convaid import tool
from convaid.calls import ToolCalls, open_tool_calls
from convaid.config.policy import ToolPolicy, ToolsConfig

from .plugin import TIME_LIMIT, WAIT_LIMIT, add, ask, block, make_plugins, sleep
from .test_rooms import wait_for

SLEEPERS = make_plugins(block, sleep, add)


async def call_many(tool_calls: ToolCalls, name: str, parameters: Any, count: int) -> tuple[Counter[str], float]:
    """Call a tool ``count`` times at once; returns the outcomes and the seconds until the last."""
    outcomes: Counter[str] = Counter()
    begin = time.monotonic()

    async def call_one(number: int) -> None:
        outcomes[(await ask(tool_calls, name, parameters, f"call_{number}")).outcome] += 1

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(call_one, number)
    return outcomes, time.monotonic() - begin


@pytest.mark.parametrize("name", ["block", "sleep"])
async def test_500_calls_at_once_are_answered_at_once(name: str) -> None:
    async with open_tool_calls(SLEEPERS, ToolsConfig()) as tool_calls:
        outcomes, seconds = await call_many(tool_calls, name, {"seconds": 0.2}, 500)
    assert outcomes == {"ok": 500}
    assert seconds < 5  # one after the other: 100 s; on as many threads as Python's pools have: 12 s


@pytest.mark.parametrize("name", ["block", "sleep"])
async def test_no_more_run_at_once_than_allowed(name: str) -> None:
    most = running = 0
    expected = 5  # the tool's own limit
    changed = threading.Condition()

    def count(change: int) -> None:
        nonlocal most, running
        with changed:
            running += change
            most = max(most, running)
            changed.notify_all()

    @tool(name="block", parallel=50)
    def counted_block() -> None:
        """Block."""
        count(1)
        with changed:
            assert changed.wait_for(lambda: most >= expected, WAIT_LIMIT)
        time.sleep(0.05)
        count(-1)

    @tool(name="sleep", parallel=50)
    async def counted_sleep() -> None:
        """Sleep."""
        count(1)
        while most < expected:
            await trio.sleep(0.001)
        await trio.sleep(0.05)
        count(-1)

    config = ToolsConfig(parallel=20, named={name: ToolPolicy(parallel=5)})
    other = {"block": "sleep", "sleep": "block"}[name]
    async with open_tool_calls(make_plugins(counted_block, counted_sleep), config) as tool_calls:
        assert (await call_many(tool_calls, name, None, 15))[0] == {"ok": 15}
        assert most == expected
        expected = 20  # that of all tools
        assert (await call_many(tool_calls, other, None, 40))[0] == {"ok": 40}
        assert most == expected


async def test_who_finds_no_place_in_time_is_told_so() -> None:
    release = threading.Event()

    @tool
    def hang() -> None:
        """Hang."""
        assert release.wait(WAIT_LIMIT)

    config = ToolsConfig(named={"hang": ToolPolicy(time_limit=TIME_LIMIT, parallel=2)})
    async with open_tool_calls(make_plugins(hang, add), config) as tool_calls:
        outcomes, _ = await call_many(tool_calls, "hang", None, 5)
        assert outcomes == {"time-out": 2, "overloaded": 3}
        # The places of a tool that hangs are its own: others are not kept waiting.
        assert (await ask(tool_calls, "add", {"a": 1})).outcome == "ok"
        late = await ask(tool_calls, "hang")
        assert late.outcome == "overloaded"
        words = f'The tool "hang" is busy: no place became free within {TIME_LIMIT} s. Try again in a minute.'
        assert late.result == words
        release.set()
        assert (await ask(tool_calls, "hang")).outcome == "ok"


async def test_places_are_given_back_by_who_is_given_up() -> None:
    async with open_tool_calls(SLEEPERS, ToolsConfig(time_limit=0.05, parallel=1)) as tool_calls:
        places = tool_calls._gates["sleep"].offer.places
        most = places.value
        for _ in range(3):
            assert (await ask(tool_calls, "sleep", {"seconds": WAIT_LIMIT})).outcome == "time-out"
            with trio.move_on_after(0.01):
                await call_many(tool_calls, "sleep", {"seconds": WAIT_LIMIT}, 5)
            await wait_for(lambda: places.value == most)  # when the tools have ended
            outcomes, _ = await call_many(tool_calls, "sleep", {"seconds": WAIT_LIMIT}, 5)
            assert outcomes["time-out"] >= 1
            assert outcomes.keys() <= {"time-out", "overloaded"}
            await wait_for(lambda: places.value == most)


async def test_no_thread_to_be_had_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async with open_tool_calls(make_plugins(add), ToolsConfig(parallel=1)) as tool_calls:
        with monkeypatch.context() as patch:
            patch.setattr(trio.lowlevel, "start_thread_soon", refuse)
            answers = [await ask(tool_calls, "add", {"a": 1}) for _ in range(3)]
        assert (await ask(tool_calls, "add", {"a": 1})).result == "2"
    assert [answer.outcome for answer in answers] == ["overloaded"] * 3


async def test_a_flood_of_calls_is_answered_at_once_beyond_what_may_wait() -> None:
    gate = trio.Event()

    @tool(name="sleep")
    async def wait_for_gate() -> str:
        """Wait."""
        while not gate.is_set():
            await trio.sleep(0.01)
        return "through"

    outcomes: Counter[str] = Counter()
    async with open_tool_calls(make_plugins(wait_for_gate), ToolsConfig(parallel=10, time_limit=30)) as tool_calls:

        async def call_one(number: int) -> None:
            outcomes[(await ask(tool_calls, "sleep", {}, f"call_{number}")).outcome] += 1

        with trio.fail_after(WAIT_LIMIT):
            async with trio.open_nursery() as nursery:
                for number in range(3000):
                    nursery.start_soon(call_one, number)
                while outcomes["overloaded"] < 3000 - 10 - 1000:
                    await trio.sleep(0.01)
                gate.set()
    assert outcomes == {"ok": 1010, "overloaded": 1990}
