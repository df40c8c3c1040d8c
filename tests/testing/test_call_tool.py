"""The fixture `call_tool`: a tool's answers as an agent gets them, from plain, trio and asyncio tests."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from convaid.errors import ConfigurationError
from convaid.testing import CallTool
from convaid.testing.pending import KitError
from convaid.testing.subjects import load_subjects

from .plugins_under_test import make_plugins


@pytest.fixture
def convaid_plugins() -> dict[str, Any]:
    return make_plugins()


@pytest.fixture
def convaid_config() -> dict[str, Any]:
    return {"plugins": {"time": {"greeting": "Hi"}}, "tools": {"block": {"permission": "deny"}}}


def test_an_answer_is_what_an_agent_gets(call_tool: CallTool) -> None:
    answer = call_tool("greet", {"name": "Ada"})
    assert (answer.result, answer.is_error, answer.outcome) == ("Hi, Ada!", False, "ok")
    answer = call_tool("greet", {"name": ""})
    assert (answer.result, answer.is_error, answer.outcome) == ("Whom?", True, "error")


def test_arguments_are_strict(call_tool: CallTool) -> None:
    assert call_tool("greet", {"name": 5}).outcome == "invalid"
    assert "name" in call_tool("greet").result
    with pytest.raises(KitError, match=r"an agent sends its arguments as JSON: .*Path"):
        call_tool("greet", {"name": Path("x")})


def test_the_lifespan_is_open_for_one_test(call_tool: CallTool) -> None:
    assert [call_tool("count_calls").result for _ in range(3)] == ["1", "2", "3"]


def test_the_lifespan_of_the_next_test_is_its_own(call_tool: CallTool) -> None:
    assert call_tool("count_calls").result == "1"


def test_the_policy_counts(call_tool: CallTool) -> None:
    assert call_tool("block").outcome == "denied"


def test_a_tool_that_is_not_there_fails_the_test(call_tool: CallTool) -> None:
    with pytest.raises(KitError, match=r'^no plugin under test has a tool "gret"; did you mean greet\?$'):
        call_tool("gret", {"name": "Ada"})
    with pytest.raises(KitError, match=r"there are: sleep_in_asyncio, .*, was_cancelled$"):
        call_tool("current_time")


async def test_it_can_be_awaited_under_trio(call_tool: CallTool) -> None:
    answers = [call_tool.start("greet", {"name": name}) for name in ("Ada", "Bob")]
    assert [(await answer).result for answer in answers] == ["Hi, Ada!", "Hi, Bob!"]
    assert answers[0].wait().result == "Hi, Ada!"


async def test_what_is_awaited_can_be_cancelled(call_tool: CallTool) -> None:
    answer = call_tool.start("sleep", {"seconds": 50})
    with trio.move_on_after(0.01) as scope:
        await answer
    assert scope.cancelled_caught
    assert not answer.has_come


def test_it_can_be_awaited_under_asyncio(call_tool: CallTool) -> None:
    async def run() -> list[str]:
        answers = [call_tool.start("greet", {"name": name}) for name in ("Ada", "Bob")]
        return [(await answer).result for answer in answers]

    assert asyncio.run(run()) == ["Hi, Ada!", "Hi, Bob!"]


def test_a_wait_is_bounded(call_tool: CallTool) -> None:
    with pytest.raises(TimeoutError, match=r'nothing came in 0\.01 s; if it waits for time .* the fixture "clock"'):
        call_tool.start("sleep", {"seconds": 50}).wait(within=0.01)


async def test_an_autojump_clock_is_refused(call_tool: CallTool, autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(KitError, match=r'Use convaid\'s fixture "clock" instead of "autojump_clock"'):
        await call_tool.start("greet", {"name": "Ada"})
    assert call_tool("greet", {"name": "Ada"}).result == "Hi, Ada!"


def test_plugins_keep_their_state_in_a_folder_of_the_tests(call_tool: CallTool) -> None:
    assert Path(os.environ["STATE_DIRECTORY"]).name.startswith("convaid-test-")


def test_what_cannot_be_tested_is_said(tmp_path: Path) -> None:
    class Broken:
        def convaid_tools(self) -> list[Any]:
            return []

    with pytest.raises(KitError, match=r'"lamp" .* is broken: convaid_tools is not decorated with @hookimpl'):
        load_subjects({"lamp": Broken()}, None, tmp_path)
    with pytest.raises(KitError, match=r'^the plugin "noets" is not installed: did you mean "notes"\?$'):
        load_subjects(["noets"], None, tmp_path)
    with pytest.raises(ConfigurationError, match=r"plugins\.time\.greetnig"):
        load_subjects(make_plugins(), {"plugins": {"time": {"greetnig": "Hi"}}}, tmp_path)
    with pytest.raises(ConfigurationError, match=r"tools\.gret: .*greet"):
        load_subjects(make_plugins(), {"tools": {"gret": {"time_limit": 1}}}, tmp_path)
    with pytest.raises(ConfigurationError, match=r"plugins\.lamp: no plugin of this name"):
        load_subjects(make_plugins(), {"plugins": {"lamp": {}}}, tmp_path)
    with pytest.raises(ConfigurationError, match="nothing that TOML has"):
        load_subjects(make_plugins(), {"plugins": {"time": {"greeting": object()}}}, tmp_path)
    with pytest.raises(ConfigurationError, match="tools: expected a table"):
        load_subjects(make_plugins(), {"tools": 5}, tmp_path)
