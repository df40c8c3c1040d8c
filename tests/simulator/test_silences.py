"""The platform's clocks about silence, and what is said before the last one runs out; on a clock that is moved."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from convaid.protocol.to_agent import ClientToolResult, Pong, UserActivity, UserMessage
from convaid.simulator import Agent, Ending, Rule, Scenario
from convaid.simulator.agent import Guesses, Silences
from convaid.simulator.scenario import Call, Close, End, ExpectText, Say
from convaid.transport import LinkClosed

from .peers import MemoryPeer, hold_conversation


def list_said(peer: MemoryPeer) -> list[str]:
    return [frame["agent_response_event"]["agent_response"] for frame in peer.find("agent_response")]


def make_agent(**silences: float | str) -> Agent:
    return Agent(text_only=True, input_limit=1000, silences=Silences(**silences))  # type: ignore[arg-type]


async def test_a_silent_user_is_spoken_to_again_and_again(autojump_clock: MockClock) -> None:
    scenario = Scenario(agent=make_agent(turn_timeout=7, message="Hello?"), steps=[ExpectText(within_ms=25_000)])
    async with hold_conversation(scenario) as (peer, _):
        began = trio.current_time()
    assert [at - began for at in peer.when("agent_response")] == [7, 14, 21]
    assert list_said(peer) == ["Hello?"] * 3


async def test_the_users_time_begins_when_the_agent_has_been_heard(autojump_clock: MockClock) -> None:
    agent = Agent(input_limit=1000, silences=Silences(turn_timeout=7))
    scenario = Scenario(agent=agent, steps=[Say("x" * 60), ExpectText(within_ms=12_000)])  # four seconds
    async with hold_conversation(scenario) as (peer, _):
        began = trio.current_time()
    assert [round(at - began) for at in peer.when("agent_response")] == [0, 11]


async def test_activity_keeps_the_agent_quiet(autojump_clock: MockClock) -> None:
    scenario = Scenario(agent=make_agent(turn_timeout=7), steps=[ExpectText(), End()])
    async with hold_conversation(scenario) as (peer, _):
        for _ in range(4):
            await trio.sleep(5)
            peer.put(UserActivity())
        await trio.sleep(5)
        peer.put(UserMessage("there"))
    assert not list_said(peer)


async def test_before_the_first_turn_the_user_may_have_another_time(autojump_clock: MockClock) -> None:
    silences = {"turn_timeout": 7, "initial_wait_time": 20}
    steps = [ExpectText(within_ms=30_000), ExpectText(within_ms=8_000)]
    async with hold_conversation(Scenario(agent=make_agent(**silences), steps=steps)) as (peer, _):
        began = trio.current_time()
        await trio.sleep(22)
        peer.put(UserMessage("here"))
    assert [at - began for at in peer.when("agent_response")] == [20, 29]


async def test_a_user_who_says_nothing_at_all_is_hung_up_on(autojump_clock: MockClock) -> None:
    scenario = Scenario(agent=make_agent(silence_end_call_timeout=30), rules=[Rule(say="Yes.")])
    async with hold_conversation(scenario) as (peer, record):
        began = trio.current_time()
        await trio.sleep(20)
        peer.put(UserMessage("hm"))
    assert trio.current_time() - began == pytest.approx(50)
    assert record.ending == Ending("agent", 1000, "The user has been silent for too long.")


async def test_the_wait_for_a_tool_is_bridged_with_words_once(autojump_clock: MockClock) -> None:
    agent = make_agent(soft_timeout=3, soft_timeout_message="One moment.")
    scenario = Scenario(agent=agent, steps=[Call("slow"), Call("quick"), Say("Done: {result}."), End()])
    async with hold_conversation(scenario) as (peer, record):
        began = trio.current_time()
        await trio.sleep(8)
        peer.put(ClientToolResult(record.calls[0].tool_call_id, "a", False))
        await trio.sleep(1)
        peer.put(ClientToolResult(record.calls[1].tool_call_id, "b", False))
    assert list_said(peer) == ["One moment.", "Done: b."]
    assert peer.when("agent_response")[0] - began == pytest.approx(3)
    assert "agent_response_complete" not in peer.types()  # is not sent by agents with such a message


async def test_the_last_message_is_heard_before_the_longest_duration_ends_it(autojump_clock: MockClock) -> None:
    agent = Agent(max_duration=20, max_duration_message="x" * 30)
    async with hold_conversation(Scenario(agent=agent, rules=[Rule(say="y")])) as (peer, record):
        began = trio.current_time()
    assert list_said(peer) == ["x" * 30]
    assert trio.current_time() - began == pytest.approx(22)
    assert record.ending is not None
    assert record.ending.error is not None
    assert record.ending.error.error_type == "max_duration_exceeded"
    assert peer.types()[-1] == "error"


# --- guesses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_input", "lasts"), [(True, 110), (False, 60)])
async def test_activity_may_be_no_input(is_input: bool, lasts: float, autojump_clock: MockClock) -> None:
    agent = Agent(guesses=Guesses(activity_is_input=is_input))
    async with hold_conversation(Scenario(agent=agent)) as (peer, _):
        began = trio.current_time()
        await trio.sleep(50)
        peer.put(UserActivity())
    assert trio.current_time() - began == pytest.approx(lasts)


async def test_unanswered_pings_may_end_it(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(agent=Agent(guesses=Guesses(pong_limit=6)))) as (peer, record):
        began = trio.current_time()
        await trio.sleep(2.5)
        peer.put(Pong(2))
    assert trio.current_time() - began == pytest.approx(10)
    assert record.ending is not None
    assert (record.ending.code, record.ending.reason) == (1002, "No pong for 6 seconds.")


@pytest.mark.parametrize("waits", [True, False])
async def test_metadata_may_come_before_the_initiation(waits: bool, autojump_clock: MockClock) -> None:
    agent = Agent(text_only=True, first_message="Hi.", guesses=Guesses(metadata_waits=waits))
    async with hold_conversation(Scenario(agent=agent, steps=[End()]), None) as (peer, _):
        began = trio.current_time()
    assert peer.when("conversation_initiation_metadata")[0] - began == pytest.approx(1.5 if waits else 0)
    assert peer.when("agent_response")[0] - began == pytest.approx(1.5)


@pytest.mark.parametrize("guess", ["ignored", "refused"])
async def test_a_late_result_may_end_it(guess: str, autojump_clock: MockClock) -> None:
    agent = Agent(text_only=True, guesses=Guesses(late_result=guess))  # type: ignore[arg-type]
    steps = [Call("slow", response_timeout_secs=1), ExpectText(), Close(4000)]
    async with hold_conversation(Scenario(agent=agent, steps=steps)) as (peer, record):
        await trio.sleep(2)
        peer.put(ClientToolResult(record.calls[0].tool_call_id, "at last", False))
        await trio.sleep(1)
        peer.put(UserMessage("go"))
    assert peer.closed is not None
    assert peer.closed.code == (4000 if guess == "ignored" else 1008)


@pytest.mark.parametrize("cuts", [True, False])
async def test_a_written_message_may_cut_off_the_agent(cuts: bool, autojump_clock: MockClock) -> None:
    agent = Agent(guesses=Guesses(message_interrupts=cuts))
    async with hold_conversation(Scenario(agent=agent, steps=[Say("x " * 50), ExpectText(), End()])) as (peer, _):
        await trio.sleep(0.5)
        peer.put(UserMessage("stop"))
    assert ("interruption" in peer.types()) is cuts


async def test_early_messages_hold_nothing_up(autojump_clock: MockClock) -> None:
    agent = Agent(text_only=True, metadata_delay=float("inf"))
    async with hold_conversation(Scenario(agent=agent)) as (peer, record):
        peer.put(UserMessage("is anybody there?"))
        await trio.sleep(1)
        peer.put(LinkClosed(1000))
    assert record.ending == Ending("user", 1000)
    assert not peer.sent
