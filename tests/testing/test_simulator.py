"""The fixture `simulator`: the platform on a real port, for sync, trio and asyncio code."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import trio

from convaid.calls import open_tool_calls
from convaid.config import ConversationConfig, ToolsConfig
from convaid.errors import ConfigurationError
from convaid.plugins import Plugins
from convaid.simulator import parse_scenario
from convaid.supervisor import Conversation, keep_conversing
from convaid.testing import Clock, StartSimulator

SCENARIO = parse_scenario('steps = [{say = "Good morning."}, {end = {}}]', "morning.toml")
SILENT = parse_scenario("steps = [{silence = 50}, {end = {}}]", "silent.toml")


def test_sync_code_can_talk_to_it(simulator: StartSimulator) -> None:
    platform = simulator()
    answer = httpx.get(f"{platform.base_url}/v1/convai/tools")
    assert answer.json()["tools"] == []
    (request,) = platform.requests
    assert (request.method, request.path, request.status) == ("GET", "/v1/convai/tools", 200)


def test_asyncio_code_can_talk_to_it(simulator: StartSimulator) -> None:
    platform = simulator(api_key="sk_1")

    async def ask() -> int:
        async with httpx.AsyncClient() as web:
            return (await web.get(f"{platform.base_url}/v1/convai/tools")).status_code

    assert asyncio.run(ask()) == 401


async def converse(base_url: str) -> None:
    settings = ConversationConfig("agent_demo", start="once")
    async with open_tool_calls(Plugins(()), ToolsConfig()) as tool_calls:
        await keep_conversing(
            Conversation("main", settings, base_url, None, tool_calls, lambda _: None, None, trio.Event(), 0)
        )


async def test_conversations_play_their_scenarios(simulator: StartSimulator) -> None:
    platform = simulator(SCENARIO, "default")
    with trio.fail_after(10):
        await converse(platform.base_url)
        record = await platform.wait_conversation()
    assert record.scenario == "morning"
    assert [line.text for line in record.transcript] == ["Good morning."]
    assert platform.conversations == (record,)


async def test_its_time_moves_with_the_clock(simulator: StartSimulator, clock: Clock) -> None:
    platform = simulator(SILENT)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(converse, platform.base_url)
            while not platform.conversations or not platform.conversations[0].sent["ping"]:
                await trio.sleep(0.01)
            await trio.to_thread.run_sync(clock.move, 50)
    record = await platform.wait_conversation()
    assert record.seconds == pytest.approx(50, abs=5)


def test_several_run_side_by_side(simulator: StartSimulator) -> None:
    assert simulator().base_url != simulator().base_url


def test_a_scenario_that_cannot_be_is_said(simulator: StartSimulator) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        simulator("nowhere.toml")
