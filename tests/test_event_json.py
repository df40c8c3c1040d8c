"""Events as programs are told of them."""

from __future__ import annotations

import json

from convaid import events
from convaid.event_json import EVENT_NAMES, describe_event
from convaid.protocol.endings import stopped_by_user
from convaid.protocol.from_agent import ClientToolCall, UserTranscript


def test_an_event_is_an_object_with_its_name() -> None:
    call = ClientToolCall("add", "call_1", {"a": [1, {"b": None}]}, 7)
    answer = events.ToolAnswer("3", False, "ok", 0.5)
    told = describe_event(events.ToolCallEnded("main", "conv_1", call, answer, True))
    assert json.loads(json.dumps(told)) == {
        "event": "tool_call_ended",
        "conversation": "main",
        "conversation_id": "conv_1",
        "call": {
            "type": "client_tool_call",
            "tool_name": "add",
            "tool_call_id": "call_1",
            "parameters": {"a": [1, {"b": None}]},
            "event_id": 7,
            "expects_response": True,
        },
        "answer": {"result": "3", "is_error": False, "outcome": "ok", "seconds": 0.5},
        "is_delivered": True,
    }
    told = describe_event(events.MessageReceived("main", None, UserTranscript("Hello.", 3)))
    assert told["message"] == {"type": "user_transcript", "user_transcript": "Hello.", "event_id": 3}
    told = describe_event(events.Ended("main", None, stopped_by_user(), 1.0, {"stale audio": 2}))
    assert (told["event"], told["end"]["cause"], told["losses"]) == ("ended", "ended by the user", {"stale audio": 2})


def test_what_an_agent_nests_too_deep_is_cut() -> None:
    deep: object = "bottom"
    for _ in range(2000):
        deep = [deep]
    call = ClientToolCall("add", "call_1", {"a": deep})
    assert "bottom" not in json.dumps(describe_event(events.ToolCallStarted("main", "conv_1", call)))


def test_each_kind_has_a_name() -> None:
    assert {"connecting", "connected", "ended", "retry_planned", "approval_asked"} < set(EVENT_NAMES.values())
