"""The fixture `clock`: minutes pass in milliseconds, for all loops together, and what is due happens in its order."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

import pytest

from convaid.testing import CallTool, Clock

from .plugins_under_test import make_plugins, room_may_go_on

REAL = 15.0  # seconds: far less than what passes on the moved clock, far more than it takes


@pytest.fixture
def convaid_plugins() -> dict[str, Any]:
    return make_plugins()


@pytest.mark.parametrize("name", ["sleep", "block", "sleep_in_asyncio"])
def test_a_time_limit_is_kept(name: str, call_tool: CallTool, clock: Clock) -> None:
    began = time.monotonic()
    answer = call_tool.start(name, {} if name == "block" else {"seconds": 1000})
    clock.move(55)
    assert not answer.has_come
    clock.move(5)
    assert answer.wait().outcome == "time-out"
    assert 59.9 < answer.wait().seconds < 65  # it goes on beside the moves
    assert "took longer than 60 s" in answer.wait().result
    assert time.monotonic() - began < REAL


def test_the_longest_limit_is_what_the_platform_waits_for(call_tool: CallTool, clock: Clock) -> None:
    answer = call_tool.start("sleep", {"seconds": 1000})
    clock.move(120)
    assert 117.9 < answer.wait().seconds < 119.9


@pytest.fixture
def convaid_config(request: pytest.FixtureRequest) -> dict[str, Any]:
    is_long = "longest" in request.node.name
    return {"tools": {"sleep": {"time_limit": 120}}} if is_long else {}


@pytest.mark.parametrize("name", ["sleep", "sleep_in_asyncio"])
def test_a_tool_that_waits_goes_on(name: str, call_tool: CallTool, clock: Clock) -> None:
    answer = call_tool.start(name, {"seconds": 50})
    clock.move(45)
    assert not answer.has_come
    clock.move(5)
    assert answer.wait().result == "slept"


@pytest.mark.parametrize("name", ["give_up", "give_up_in_asyncio"])
def test_what_is_due_happens_in_its_order(name: str, call_tool: CallTool, clock: Clock) -> None:
    """The tool gives up by itself just before its limit, in one move that is longer than both."""
    answer = call_tool.start(name, {"seconds": 57})
    clock.move(120)
    assert answer.wait().result == "It does not come."


def test_a_room_that_blocks_does_not_stop_the_clock(call_tool: CallTool, clock: Clock) -> None:
    room_may_go_on.clear()
    answer = call_tool.start("block_room")
    began = time.monotonic()
    clock.move(61)
    assert answer.wait().outcome == "time-out"
    room_may_go_on.set()
    assert time.monotonic() - began < REAL


def test_the_clock_does_not_run_ahead_by_itself(call_tool: CallTool, clock: Clock) -> None:
    answer = call_tool.start("sleep", {"seconds": 50})
    real, began = time.monotonic(), clock.now()
    assert call_tool("count_calls").outcome == "ok"
    assert clock.now() - began <= time.monotonic() - real + 0.001
    assert not answer.has_come


def test_no_time_is_time_enough_for_what_is_due(call_tool: CallTool, clock: Clock) -> None:
    before = clock.now()
    clock.move(0)
    assert clock.now() - before < REAL
    assert call_tool("greet", {"name": "Ada"}).seconds < REAL


PROCESSED = '''
import time

from convaid import hookimpl, tool


@tool(runs="process", time_limit=60)
def hang() -> None:
    """Hang."""
    time.sleep(1000)


@tool(runs="process", time_limit=60)
def end() -> str:
    """End."""
    return "ended"


@hookimpl
def convaid_tools():
    return [hang, end]
'''


class TestToolsInProcesses:
    @pytest.fixture
    def convaid_plugins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        (tmp_path / "convaid_hanging.py").write_text(PROCESSED)
        monkeypatch.syspath_prepend(tmp_path)
        return {"hanging": importlib.import_module("convaid_hanging")}

    def test_time_does_not_overtake_their_beginning_and_end(self, call_tool: CallTool, clock: Clock) -> None:
        answer = call_tool.start("hang")
        clock.move(60)
        assert answer.wait().outcome == "time-out"
        assert call_tool("end").result == "ended"
