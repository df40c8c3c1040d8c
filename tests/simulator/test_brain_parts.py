"""What a model's server streams, put together; and the history that it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convaid.errors import ConfigurationError
from convaid.simulator import parse_scenario
from convaid.simulator.brain.chunks import Answer, AskedCall, EventReader
from convaid.simulator.brain.functions import make_function
from convaid.simulator.brain.history import LONGEST, History
from convaid.simulator.brain.settings import Brain


def take_parts(*parts: dict[str, Any]) -> list[AskedCall]:
    answer = Answer()
    for part in parts:
        answer.take(json.dumps({"choices": [{"delta": {"tool_calls": [part]}}]}).encode())
    return answer.calls


@given(st.lists(st.integers(min_value=1, max_value=30)))
def test_events_come_out_whole_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    text = b': ping\r\n\r\ndata: {"a": 1}\r\n\r\nevent: x\ndata:two\n\ndata: [DONE]\n\n'
    reader, events = EventReader(), []
    for cut in cuts:
        piece, text = text[:cut], text[cut:]
        events += reader.feed(piece)
    assert events + reader.feed(text) == [b'{"a": 1}', b"two", b"[DONE]"]


def test_calls_are_told_apart_by_index_or_by_id() -> None:
    part = {"index": 1, "id": "b", "function": {"name": "two", "arguments": '{"x"'}}
    calls = take_parts(
        {"index": 0, "id": "a", "function": {"name": "one"}}, part, {"index": 1, "function": {"arguments": ": 1}"}}
    )
    assert calls == [AskedCall("a", "one", ""), AskedCall("b", "two", '{"x": 1}')]
    assert [call.read_arguments() for call in calls] == [{}, {"x": 1}]
    # Ollama gives every call the same index.
    same = [{"index": 0, "id": name, "function": {"name": name, "arguments": "{}"}} for name in ("a", "b")]
    assert [call.name for call in take_parts(*same)] == ["a", "b"]
    assert [call.id for call in take_parts({"index": 3, "function": {"name": "nameless", "arguments": {"y": 2}}})] == [
        "call_0"
    ]


@pytest.mark.parametrize("arguments", ["[1]", "{", '"x"', '{"a":' * 200 + "1" + "}" * 200])
def test_arguments_that_are_no_object_are_none(arguments: str) -> None:
    assert AskedCall("a", "one", arguments).read_arguments() is None


@pytest.mark.parametrize("event", [b"[]", b"3", b"{", b'{"error": "broken"}', b'{"error": {"message": "broken"}}'])
def test_what_is_no_chunk_is_refused(event: bytes) -> None:
    with pytest.raises(ValueError, match=r"it sent something else|broken"):
        Answer().take(event)


@pytest.mark.parametrize(
    "event", [b"{}", b'{"choices": null}', b'{"choices": [3]}', b'{"choices": [{"delta": {"content": 3}}]}']
)
def test_what_says_nothing_adds_nothing(event: bytes) -> None:
    answer = Answer()
    assert (answer.take(event), answer.calls, answer.is_complete) == ("", [], False)


def test_what_is_said_between_a_call_and_its_result_comes_after_it() -> None:
    history = History("")
    history.add_agent("", [AskedCall("a", "one", "{}"), AskedCall("b", "two", "")])
    history.add_user("Hurry")
    history.add_context("page 1", "page")
    history.add_result("b", "2")
    history.add_context("page 2", "page")
    history.add_result("a", "1")
    called, *results, said = history.list_messages()
    assert called["content"] == ""
    assert [result["tool_call_id"] for result in results] == ["b", "a"]
    assert said["role"] == "user"
    assert said["content"].startswith("Hurry\n\n")
    assert "page 2" in said["content"]
    assert "page 1" not in said["content"]


def test_a_long_history_forgets_its_beginning_but_never_half_a_call() -> None:
    history = History("Be brief.")
    for number in range(LONGEST):
        history.add_user("What?")
        history.add_agent("", [AskedCall(str(number), "one", "")])
        history.add_result(str(number), "1")
    system, first, *rest = history.list_messages()
    assert system == {"role": "system", "content": "Be brief."}
    assert first["role"] in ("user", "assistant")
    assert len(rest) <= LONGEST
    answered = {message["tool_call_id"] for message in rest if message["role"] == "tool"}
    called = {call["id"] for message in [first, *rest] for call in message.get("tool_calls", ())}
    assert answered == called


def test_a_function_keeps_what_the_model_chooses() -> None:
    point = {
        "type": "object",
        "required": ["x", "z"],
        "properties": {
            "x": {"type": ["number", "null"], "description": "how far"},
            "z": {"type": "string", "is_omitted": True},
        },
    }
    config = {
        "name": "go",
        "description": "Go to {{place}}",
        "parameters": {
            "type": "object",
            "properties": {"way": {"type": "array", "description": "over", "items": point}},
        },
    }
    made = make_function(config, lambda text: text.replace("{{place}}", "Rome"))["function"]
    assert made["description"] == "Go to Rome"
    items = made["parameters"]["properties"]["way"]["items"]
    assert items == {
        "type": "object",
        "required": ["x"],
        "properties": {"x": {"type": ["number", "null"], "description": "how far"}},
    }
    assert make_function({"name": "ding", "parameters": None})["function"]["parameters"] == {
        "type": "object",
        "properties": {},
    }


def test_the_brain_is_written_in_one_word_or_as_a_table() -> None:
    assert parse_scenario('brain = "openai"', "x").brain == Brain()
    text = '[brain]\nbase_url = "https://models.example/v1"\nmodel = "m"\ntime_limit = 60'
    assert parse_scenario(text, "x").brain == Brain(base_url="https://models.example/v1", model="m", time_limit=60.0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('brain = "gpt"', r'brain\.api: expected one of "openai", got the text "gpt"'),
        ("brain = 3", "brain: expected a table"),
        ('[brain]\nbase_url = "localhost:11434"', r"brain\.base_url: is not the beginning of URLs, such as http://127"),
        ('[brain]\nbase_url = "http://x:99999/v1"', r"brain\.base_url: is not the beginning of URLs"),
        ("[brain]\ntemperature = -1", r"brain\.temperature: must be 0 or more"),
        ("[brain]\ntool_rounds = 0", r"brain\.tool_rounds: must be more than 0"),
        ('[brain]\nmodle = "x"', r'brain\.modle: .*did you mean "model"'),
        ('brain = "openai"\n[[rules]]\nsay = "x"', "brain: decides all that the agent does: remove it, or the steps"),
        ('brain = "openai"\n[[steps]]\nsay = "x"', "brain: decides all that the agent does"),
    ],
)
def test_a_brain_that_cannot_be_is_an_error_of_its_field(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_scenario(text, "x")
