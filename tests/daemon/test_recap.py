"""A conversation that goes on after a lost connection: what its agent is told, and that it does not greet again."""

from __future__ import annotations

import pytest
import trio

from convaid import events, tool
from convaid.config import RecapConfig
from convaid.protocol.endings import link_lost, stopped_by_user
from convaid.protocol.from_agent import AgentResponse, AgentResponseCorrection, ClientToolCall, UserTranscript
from convaid.protocol.to_agent import ContextualUpdate
from convaid.recap import INTRODUCTION, LONGEST_GAP, Recap
from convaid.simulator import ConversationRecord

from .holding import MAIN, Held, hold

ALWAYS = MAIN.replace("once", "always") + "overrides.text_only = true\n"
TALK = """
steps = [{expect_text = "name"}, {call = {tool = "find_name"}}, {say = "You are Ada."}, {drop = {after_ms = 500}}]
[agent]
first_message = "Hello!"
"""
LISTEN = """
[[rules]]
say = "I see."
[agent]
first_message = "Hello!"
"""


@tool
def find_name() -> str:
    """Find the user's name."""
    return "Ada Lovelace"


async def lose(held: Held) -> None:
    """Talk, lose the connection, and get another."""
    await held.wait_for(events.Connected)
    held.daemon.conversations["main"].say("What is my name?")
    await held.wait_for(events.Connected, 2)


def contexts(held: Held) -> list[str]:
    record = held.simulator.conversations[1]
    return [message.text for message in record.messages if isinstance(message, ContextualUpdate)]


def is_told(record: ConversationRecord) -> bool:
    return any(isinstance(message, ContextualUpdate) for message in record.messages)


@pytest.mark.parametrize(
    ("texts", "last"),
    [
        (("One",), "agent (cut off): One"),
        (("",), "user: And now?"),
        ((None,), "agent: One two three."),
        (("First", "Se"), "agent: One two three."),  # there is but one turn of the agent's to change
    ],
)
def test_last_words_that_nobody_heard_are_not_told(texts: tuple[str | None, ...], last: str) -> None:
    recap = Recap(RecapConfig("context"))
    for message in (UserTranscript("And now?", 1), AgentResponse("One two three.", 2)):
        recap.note(events.MessageReceived("main", "conv_1", message))
    recap.note_end(link_lost("gone"), 0.0)
    heard = tuple(events.Heard(2, 0.5, 0.5, text) for text in texts)
    recap.note(events.Ended("main", "conv_1", link_lost("gone"), 1.0, {}, heard))
    assert recap.write(1.0).splitlines()[-1] == last


async def test_the_next_agent_is_told_what_was_said_and_done() -> None:
    text = ALWAYS + '[conversations.main.recap]\nway = "context"\n'
    async with hold(TALK, LISTEN, configuration=text, tools=[find_name]) as held:
        await lose(held)
        while not contexts(held):
            await trio.sleep(0.001)
        assert contexts(held) == [
            f"{INTRODUCTION}\nagent: Hello!\nuser: What is my name?\ntool find_name, ok: Ada Lovelace"
            "\nagent: You are Ada."
        ]
        assert not is_told(held.simulator.conversations[0])


async def test_off_means_nothing_is_told() -> None:
    async with hold(TALK, LISTEN, configuration=ALWAYS, tools=[find_name]) as held:
        await lose(held)
        held.daemon.conversations["main"].say("Hello?")
        await held.wait_for(events.MessageReceived, 7)
        assert contexts(held) == []


async def test_a_variable_has_it_and_the_agent_does_not_greet_again() -> None:
    text = ALWAYS + '[conversations.main.recap]\nway = "variable"\ngreet_again = false\n'
    allowed = LISTEN + 'allowed_overrides = ["agent.first_message", "conversation.text_only"]\n'
    async with hold(TALK, allowed, configuration=text, tools=[find_name]) as held:
        await lose(held)
        first, second = held.simulator.conversations
        assert first.initiation is not None
        assert first.initiation.dynamic_variables == {"recap": ""}
        assert second.initiation is not None
        assert "user: What is my name?" in (second.initiation.dynamic_variables or {})["recap"]
        override = second.initiation.conversation_config_override
        assert override == {"agent": {"first_message": ""}, "conversation": {"text_only": True}}
        held.daemon.conversations["main"].say("Hello?")
        while len(second.transcript) < 2:
            await trio.sleep(0.001)
        assert [line.text for line in second.transcript] == ["Hello?", "I see."]


async def test_an_agent_that_may_not_be_kept_from_greeting_greets(caplog: pytest.LogCaptureFixture) -> None:
    text = ALWAYS + '[conversations.main.recap]\nway = "context"\ngreet_again = false\n'
    async with hold(TALK, LISTEN, LISTEN, configuration=text, tools=[find_name]) as held:
        await lose(held)
        await held.wait_for(events.Connected, 2)
        while not (records := list(held.simulator.conversations)[2:]) or not is_told(records[0]):
            await trio.sleep(0.001)
        assert "the agent greets again" in caplog.text
        refused, again = list(held.simulator.conversations)[1:]
        assert refused.ending is not None
        assert refused.ending.code == 1008
        assert again.initiation is not None
        assert again.initiation.conversation_config_override == {"conversation": {"text_only": True}}


# --- alone ----------------------------------------------------------------------------------------------------------


def heard(message: object) -> events.Event:
    return events.MessageReceived("main", "conv_1", message)  # type: ignore[arg-type]


def test_it_is_bounded_and_has_corrections() -> None:
    recap = Recap(RecapConfig("context", turns=3, size=len(INTRODUCTION) + 70))
    for number in range(5):
        recap.note(heard(UserTranscript(f"turn {number} " + "x" * 1000, number)))
    recap.note(heard(AgentResponse("Once upon a time there was a king.", 9)))
    recap.note(heard(AgentResponseCorrection("Once upon a time there was a king.", "Once upon", 9)))
    call = ClientToolCall("add", "call_1", {})
    recap.note(events.ToolCallEnded("main", "conv_1", call, events.ToolAnswer("3", False, "ok", 0.1), True))
    assert recap.write(0.0) == ""
    recap.note_end(link_lost("gone"), 0.0)
    assert recap.write(1.0) == f"{INTRODUCTION}\nagent (interrupted): Once upon\ntool add, ok: 3"


def test_it_is_forgotten_when_it_is_over_or_long_ago() -> None:
    recap = Recap(RecapConfig("context"))
    recap.note(heard(UserTranscript("Hello.", 1)))
    recap.note_end(link_lost("gone"), 0.0)
    assert recap.write(LONGEST_GAP)
    assert recap.write(LONGEST_GAP + 1) == ""
    recap.note(heard(UserTranscript("Hello.", 1)))
    recap.note_end(stopped_by_user(), 0.0)
    assert recap.write(0.0) == ""
