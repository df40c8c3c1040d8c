from __future__ import annotations

from typing import Any

import pytest

from convaid import events
from convaid.protocol.from_agent import AgentResponse, AgentResponseCorrection
from convaid.turn import Turn


def receive(message: Any) -> events.Event:
    return events.MessageReceived("main", "conv_1", message)


@pytest.mark.parametrize(("text", "said"), [("One", "One"), ("", ""), (None, "One two three.")])
async def test_what_the_agent_said_is_what_was_heard_of_it_until_the_platform_says(text: str | None, said: str) -> None:
    turn = Turn(is_connected=True)
    turn.observe(receive(AgentResponse("Hello.", 1)))
    turn.observe(receive(AgentResponse("One two three.", 3)))
    heard = (events.Heard(3, 0.5, 0.9, text),)
    turn.observe(events.SpeechInterrupted("main", "conv_1", 3, 0.9, heard))
    assert turn.said == [(1, "Hello."), (3, said)]
    turn.observe(receive(AgentResponseCorrection("One two three.", "One two", 3)))
    assert turn.said == [(1, "Hello."), (3, "One two")]
