"""Approvers: plugins that are asked whether a tool may run, in their rooms."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import trio

from convaid import tool
from convaid.calls import open_tool_calls
from convaid.config.policy import ToolPolicy, ToolsConfig
from convaid.events import ApprovalRequest
from convaid.plugins import Plugins
from convaid.plugins.hookspecs import Loop
from convaid.protocol.from_agent import ClientToolCall

from .plugin import WAIT_LIMIT, ask, make_plugin
from .test_rooms import wait_for

both_loops = pytest.mark.parametrize("loop", ["trio", "asyncio"])
ASKING = ToolsConfig(named={"*": ToolPolicy(permission="ask")})
REQUEST = ApprovalRequest("main", "conv_1", ClientToolCall("work", "call_1"), deadline=0.0)


async def pause(loop: Loop, seconds: float) -> None:
    if loop == "trio":
        await trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)


@tool
def work() -> str:
    """Work."""
    return "done"


@both_loops
@pytest.mark.parametrize(("decision", "outcome"), [(True, "ok"), (False, "denied"), (None, "denied")])
async def test_an_approver_decides_in_its_room(loop: Loop, decision: bool | None, outcome: str) -> None:
    threads: set[int] = set()

    async def approve(request: object) -> bool | None:
        threads.add(threading.get_ident())
        await pause(loop, 0.01)
        return decision

    def approve_at_once(request: object) -> bool | None:
        threads.add(threading.get_ident())
        return decision

    for function in (approve, approve_at_once):
        plugin = make_plugin(work, approve=function, loop=loop)
        async with open_tool_calls(Plugins((plugin,)), ASKING) as tool_calls:
            assert (await ask(tool_calls, "work")).outcome == outcome
    assert len(threads) in (1, 2)  # one for each room; the system may give both the same number
    assert threading.get_ident() not in threads


async def test_an_approver_that_fails_has_not_decided(caplog: pytest.LogCaptureFixture) -> None:
    def raise_exit(request: object) -> bool:
        raise SystemExit(3)

    def say_yes(request: object) -> str:
        return "yes"

    plugins = (make_plugin(work, approve=raise_exit), make_plugin(name="other", approve=say_yes))
    async with open_tool_calls(Plugins(plugins), ASKING) as tool_calls:
        assert (await ask(tool_calls, "work")).outcome == "denied"
    assert sorted(message.partition('the plugin "')[0] for message in caplog.messages) == ["the approver of "] * 2
    assert "SystemExit: 3" in caplog.text
    assert "decided on neither True, False nor None" in caplog.text


@both_loops
async def test_a_question_that_is_taken_back_is_cancelled_and_has_no_answer(loop: Loop) -> None:
    begun, cancelled = threading.Event(), threading.Event()
    answers: list[bool | None] = []

    async def approve(request: object) -> bool:
        begun.set()
        try:
            await pause(loop, WAIT_LIMIT)
        finally:
            cancelled.set()
        return True

    plugin = make_plugin(approve=approve, loop=loop)
    async with open_tool_calls(Plugins((plugin,)), ToolsConfig()) as tool_calls:
        (approver,) = tool_calls.rooms
        take_back = approver.ask(REQUEST, answers.append)
        await wait_for(begun.is_set)
        take_back()
        take_back()
        await wait_for(cancelled.is_set)
        approver.ask(REQUEST, answers.append)  # still open at the end
        await trio.sleep(0.05)
        assert answers == []
    assert answers == [None]


async def test_an_approver_whose_room_has_failed_leaves_it_to_others() -> None:
    def fail() -> Any:
        raise ValueError

    answers: list[bool | None] = []
    plugin = make_plugin(approve=lambda request: True, lifespan=fail)
    async with open_tool_calls(Plugins((plugin,)), ToolsConfig()) as tool_calls:
        tool_calls.rooms[0].ask(REQUEST, answers.append)
        assert answers == []  # not yet: never before `ask` has returned
        await wait_for(lambda: bool(answers))
    assert answers == [None]
