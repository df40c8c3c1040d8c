"""Plugins that open and close conversations: hooks in their own rooms, and tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from convaid import ToolContext, events, tool
from convaid.calls import room
from convaid.plugins import Plugin
from convaid.plugins.activation import Activation
from convaid.protocol.endings import Cause

from .holding import MAIN, Held, hold, make_plugin

LISTEN = 'steps = [{say = "Hello."}]\n[[rules]]\nsay = "I see."'
KITCHEN = '[conversations.kitchen]\nagent_id = "agent_test"\nstart = "on_demand"\n'


def activating(activate: Callable[[Activation], Any], loop: Any = "trio") -> Plugin:
    return attrs.evolve(make_plugin("button"), activate=activate, loop=loop)


async def wait_state(held: Held, name: str, state: str) -> None:
    while not any(keeping.name == name and keeping.state == state for keeping in held.daemon.keeper or ()):
        await trio.sleep(0.001)


async def test_a_button_opens_and_closes_a_conversation() -> None:
    async def press(activation: Activation) -> None:
        assert activation.conversations == ("kitchen",)
        assert activation.find_state("kitchen") in ("", "closed")
        activation.start("cellar")
        activation.start("kitchen")
        while activation.find_state("kitchen") != "connected":
            await trio.sleep(0.001)
        activation.stop("kitchen")

    async with hold(LISTEN, configuration=KITCHEN, others=[activating(press)]) as held:
        (ended,) = await held.wait_for(events.Ended)
        assert ended.end.cause is Cause.ENDED_BY_USER
        await wait_state(held, "kitchen", "closed")


async def test_what_cannot_be_started_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def press(activation: Activation) -> None:
        activation.start("kitschen")

    async with hold(LISTEN, configuration=KITCHEN, others=[activating(press, "asyncio")]):
        while "did you mean kitchen?" not in caplog.text:
            await trio.sleep(0.001)


async def test_an_activation_that_fails_is_called_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "FIRST_PAUSE", 0.01)
    calls = []

    async def press(activation: Activation) -> None:
        calls.append(activation)
        if len(calls) < 3:
            raise RuntimeError("no such button")
        activation.start("kitchen")
        await trio.sleep_forever()

    async with hold(LISTEN, configuration=KITCHEN, others=[activating(press)]) as held:
        await wait_state(held, "kitchen", "connected")
    assert caplog.text.count("RuntimeError: no such button") == 2
    assert "again in 0.02 s" in caplog.text


async def test_a_tool_opens_another_conversation() -> None:
    @tool
    def fetch_help(context: ToolContext) -> str:
        """Have somebody else talk, too."""
        assert context.activation is not None
        context.activation.start("kitchen")
        return "They are coming."

    scenario = 'steps = [{call = {tool = "fetch_help"}}, {silence = 60}]'
    async with hold(scenario, LISTEN, configuration=MAIN + KITCHEN, tools=[fetch_help]) as held:
        await wait_state(held, "kitchen", "connected")
