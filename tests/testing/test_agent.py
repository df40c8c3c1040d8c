"""The fixture `agent`: a conversation in memory, with convaid's own session between the agent and the tools."""

from __future__ import annotations

from typing import Any

import pytest

from convaid.errors import LocalProtocolError
from convaid.events import MessageReceived, ToolCallEnded
from convaid.protocol.endings import Cause
from convaid.protocol.from_agent import AgentResponse, Ping, UserTranscript
from convaid.protocol.to_agent import ClientToolResult, ContextualUpdate, ConversationInitiationClientData
from convaid.testing import Agent, CallTool, Clock
from convaid.testing.pending import KitError

from .plugins_under_test import TimePlugin, make_plugins


@pytest.fixture
def convaid_plugins() -> dict[str, Any]:
    return make_plugins()


@pytest.fixture
def convaid_config() -> dict[str, Any]:
    return {"tools": {"sleep": {"on_interrupt": "cancel"}, "give_up": {"on_disconnect": "keep"}}}


def list_outcomes(agent: Agent) -> list[str]:
    return [event.answer.outcome for event in agent.events if isinstance(event, ToolCallEnded)]


def test_the_agent_gets_a_tools_answer(agent: Agent) -> None:
    result = agent.call("greet", {"name": "Ada"}).wait()
    assert (result.result, result.is_error) == ("Hello, Ada!", False)
    assert agent.heard == [ConversationInitiationClientData(), result]
    assert list_outcomes(agent) == ["ok"]


async def test_what_the_agent_gets_can_be_awaited(agent: Agent) -> None:
    assert (await agent.call("greet", {"name": ""})).is_error


def test_calls_overlap(agent: Agent, clock: Clock) -> None:
    slow = agent.call("sleep", {"seconds": 30})
    assert agent.call("greet", {"name": "Ada"}).wait().result == "Hello, Ada!"
    assert not slow.has_come
    clock.move(30)
    assert slow.wait().result == "slept"


def test_an_interruption_stops_a_tool_that_is_to_stop_then(agent: Agent) -> None:
    slow = agent.call("sleep", {"seconds": 30})
    other = agent.call("sleep_in_asyncio", {"seconds": 30})
    agent.interrupt()
    assert "was stopped, because the user interrupted" in slow.wait().result
    assert agent.call("was_cancelled").wait().result == "true"
    assert not other.has_come


def test_a_time_limit_is_kept_in_a_conversation(agent: Agent, clock: Clock) -> None:
    slow = agent.call("sleep", {"seconds": 1000})
    clock.move(60)
    assert slow.wait().is_error
    assert list_outcomes(agent) == ["time-out"]


def test_a_late_result_is_heard(agent: Agent, clock: Clock) -> None:
    late = agent.hear(ContextualUpdate)
    assert agent.call("defer", {"seconds": 30}).wait().result == "Soon."
    clock.move(29)
    assert not late.has_come
    clock.move(1)
    assert late.wait().text.endswith("has ended: found")


def test_observers_see_what_is_said(agent: Agent, convaid_plugins: dict[str, Any]) -> None:
    observer: TimePlugin = convaid_plugins["time"]
    agent.hear_user("Good morning.")
    agent.say("Good morning!")
    said = [event.message for event in observer.events if isinstance(event, MessageReceived)]
    assert said == [UserTranscript("Good morning.", 1), AgentResponse("Good morning!", 2)]
    assert observer.events == agent.events


def test_the_conversation_lives_as_long_as_the_test(agent: Agent, clock: Clock) -> None:
    agent.hear_user("Good morning.")
    clock.move(600)
    assert agent.call("greet", {"name": "Ada"}).wait().result == "Hello, Ada!"


def test_an_end_is_what_convaid_makes_of_it(agent: Agent) -> None:
    call = agent.call("give_up", {"seconds": 30})
    assert agent.hang_up(1006).cause is Cause.LINK_LOST
    assert not call.has_come
    with pytest.raises(LocalProtocolError, match="the conversation has ended"):
        agent.say("Hello?")


def test_any_message_can_be_sent(agent: Agent) -> None:
    agent.send(Ping(1))
    assert [type(message) for message in agent.heard] == [ConversationInitiationClientData]


def test_a_tool_that_is_not_there_fails_the_test(agent: Agent) -> None:
    with pytest.raises(KitError, match="did you mean greet"):
        agent.call("gret")


def test_it_shares_plugins_and_clock_with_call_tool(agent: Agent, call_tool: CallTool) -> None:
    assert call_tool("count_calls").result == "1"
    assert agent.call("count_calls").wait().result == "2"
    assert agent.hear(ClientToolResult).has_come is False
