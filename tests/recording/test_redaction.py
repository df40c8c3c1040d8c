"""What of a frame is not kept, and that all else is."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from typing import Any

import pytest

from convaid.config import Secret
from convaid.protocol.codec import decode_from_agent
from convaid.protocol.from_agent import AgentResponse, Audio, Ping, UserTranscript
from convaid.recording import Redactor
from convaid.recording.redaction import restore_frame

KEY = "sk_" + "0123456789abcdef" * 3
BACKEND_KEY = "b4ckend/key+ö"
VARIABLES = {"customer": "Ada Lovelace", "account": 4711.5, "language": "en", "tags": ["vip-7788", "x"], "city": "Köln"}


def hide_door(tool: str) -> Collection[str]:
    return {"open_door": ("code", "place.floor"), "say": ("*",)}.get(tool, ())


REDACTOR = Redactor([Secret(KEY), Secret(BACKEND_KEY)], VARIABLES, hide_door)


def call(name: str, parameters: Any) -> dict[str, Any]:
    fields = {"tool_name": name, "tool_call_id": "call_1", "parameters": parameters}
    return {"type": "client_tool_call", "client_tool_call": fields}


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Good morning.", "Good morning."),
        (f"the key is {KEY}!", "the key is ***!"),
        (f"the key is {KEY[:40]}", "the key is sk_***"),  # not known, but of this shape
        ("Hello, ada lovelace, and goodbye Ada.", "Hello, {{customer}}, and goodbye Ada."),
        ("Ada Lovelaces", "Ada Lovelaces"),
        ("account 4711.5, language en", "account {{account}}, language en"),
        ("x vip-7788 vip-77889", "x {{tags}} vip-77889"),
        ("https://x.example/?q=K%C3%B6ln", "https://x.example/?q={{city}}"),
        (r'{"city": "K\u00f6ln"', r'{"city": "{{city}}"'),
        ("?key=b4ckend/key%2B%C3%B6&x=1", "?key=***&x=1"),
        ("wss://h/?agent_id=a&conversation_signature=abcdef", "wss://h/?agent_id=a&conversation_signature=***"),
        ("b4ckend/key+ö and xi-api-key: 123", "*** and xi-api-key: ***"),
        ("use Bearer eyJhbGciOiJIUzI1NiJ9.abc, please", "use Bearer ***, please"),
        (
            "the bearer of this letter, a bearer of-bad-news-for-everybody",
            "the bearer of this letter, a bearer of-bad-news-for-everybody",
        ),
    ],
)
def test_a_text_is_kept_but_for_what_is_known_and_what_looks_like_a_secret(text: str, redacted: str) -> None:
    assert REDACTOR.redact_text(text) == redacted


def test_the_first_frame_keeps_the_names_of_variables_and_nothing_of_the_rest() -> None:
    frame = {
        "type": "conversation_initiation_client_data",
        "dynamic_variables": VARIABLES | {"other": "not configured"},
        "custom_llm_extra_body": {"temperature": 0.5, "who": "me"},
        "conversation_config_override": {"agent": {"first_message": "Hello, Ada Lovelace!"}},
        "source_info": {"api_token": "abc", "version": 2},
    }
    assert REDACTOR.redact_frame(frame) == {
        "type": "conversation_initiation_client_data",
        "dynamic_variables": {name: f"{{{{{name}}}}}" for name in (*VARIABLES, "other")},
        "custom_llm_extra_body": "***",
        "conversation_config_override": {"agent": {"first_message": "Hello, {{customer}}!"}},
        "source_info": {"api_token": "***", "version": 2},
    }


def test_calls_and_results_are_looked_into_however_deep() -> None:
    parameters = {
        "who": ["Ada Lovelace"],
        "account": 4711.5,
        "pin_token": 1234,
        "on": True,
        "x": {"password": ["p", 5, None]},
    }
    redacted = REDACTOR.redact_frame(call("greet", parameters))
    assert redacted["client_tool_call"]["parameters"] == {
        "who": ["{{customer}}"],
        "account": "{{account}}",
        "pin_token": "***",
        "on": True,
        "x": {"password": ["***", "***", None]},
    }
    result = {"type": "client_tool_result", "tool_call_id": "call_1", "is_error": False}
    inner = json.dumps({"secret": "s3same", "of": "ada lovelace", "n": 1})
    assert json.loads(REDACTOR.redact_frame(result | {"result": inner})["result"]) == {
        "secret": "***",
        "of": "{{customer}}",
        "n": 1,
    }
    typed = '{"type":"Ada Lovelace","event_id":{"tool_name":"Ada Lovelace"}}'
    assert "Ada" not in REDACTOR.redact_frame(result | {"result": typed})["result"]
    untouched = '{"n":  1, "s": "spaces are kept"}'
    assert REDACTOR.redact_frame(result | {"result": untouched})["result"] == untouched


def test_arguments_that_the_operator_names_are_not_kept() -> None:
    parameters = {"code": 1234, "place": {"floor": 3, "code": "7"}, "floor": 3, "all": [{"code": 1}]}
    redacted = REDACTOR.redact_frame(call("open_door", parameters))["client_tool_call"]["parameters"]
    assert redacted == {"code": "***", "place": {"floor": "***", "code": "***"}, "floor": 3, "all": [{"code": "***"}]}
    assert REDACTOR.redact_frame(call("say", {"text": "hello"}))["client_tool_call"]["parameters"] == "***"
    assert REDACTOR.redact_frame(call("greet", {"code": 1}))["client_tool_call"]["parameters"] == {"code": 1}


def test_of_audio_a_hash_and_the_length_are_kept_and_the_alignment_goes() -> None:
    samples = b"\x01\x02" * 640
    event = {"audio_base_64": base64.b64encode(samples).decode(), "event_id": 3, "alignment": {"chars": list("Ada")}}
    redacted = REDACTOR.redact_frame({"type": "audio", "audio_event": event})
    assert redacted["audio_event"]["audio_base_64"]["bytes"] == 1280
    assert redacted["audio_event"].keys() == {"audio_base_64", "event_id"}
    assert decode_from_agent(json.dumps(restore_frame(redacted))).message == Audio("", 3)
    chunk = REDACTOR.redact_frame({"user_audio_chunk": event["audio_base_64"]})
    assert chunk["user_audio_chunk"] == redacted["audio_event"]["audio_base_64"]
    other = REDACTOR.redact_frame({"user_audio_chunk": base64.b64encode(samples[::-1]).decode()})
    assert other != chunk
    assert len(REDACTOR.redact_frame({"user_audio_chunk": "no base64! " * 99})["user_audio_chunk"]) < 10


@pytest.mark.parametrize(
    ("kind", "payload", "name"),
    [
        ("agent_chat_response_part", "text_response_part", "text"),
        ("agent_reasoning_response_part", "reasoning_response_part", "text"),
        ("tentative_user_transcript", "tentative_user_transcription_event", "user_transcript"),
        ("internal_tentative_agent_response", "tentative_agent_response_internal_event", "tentative_agent_response"),
    ],
)
def test_of_texts_in_pieces_the_length_is_kept(kind: str, payload: str, name: str) -> None:
    """A value could stand across two of them."""
    redacted = REDACTOR.redact_frame({"type": kind, payload: {name: "Ada Lo", "type": "delta", "event_id": 1}})
    assert redacted[payload] == {name: {"characters": 6}, "type": "delta", "event_id": 1}
    assert restore_frame(redacted)[payload][name] == ""


@pytest.mark.parametrize(
    ("heard", "kept"),
    [
        ("Hello, Ada Lovel", "Hello, {{customer}}"),
        ("Hello, Ada", "Hello, Ada"),
        ("Hello, Ada Lovelace", "Hello, {{customer}}"),
    ],
)
def test_a_text_that_was_cut_off_in_a_value_does_not_begin_it(heard: str, kept: str) -> None:
    event = {"original_agent_response": "Hello, Ada Lovelace!", "corrected_agent_response": heard, "event_id": 1}
    redacted = REDACTOR.redact_frame({"type": "agent_response_correction", "agent_response_correction_event": event})
    event = redacted["agent_response_correction_event"]
    assert (event["original_agent_response"], event["corrected_agent_response"]) == ("Hello, {{customer}}!", kept)


def test_what_makes_a_frame_stays_whatever_the_variables_are() -> None:
    redactor = Redactor(variables={"a": "ping", "b": "event_id", "c": "greet", "d": "user_transcript", "e": "type"})
    for message in (
        {"type": "ping", "ping_event": {"event_id": 7, "ping_ms": 3}},
        {"type": "user_transcript", "user_transcription_event": {"user_transcript": "x", "event_id": 1}},
        call("greet", {}),
    ):
        assert redactor.redact_frame(message) == message
    frame = {"type": "ping", "ping_event": {"event_id": 7}}
    assert isinstance(decode_from_agent(json.dumps(redactor.redact_frame(frame))).message, Ping)


def test_whatever_is_nested_how_deep_comes_out_and_can_be_written() -> None:
    nested: Any = "Ada Lovelace"
    for _ in range(900):
        nested = [nested]
    redacted = REDACTOR.redact_frame({"type": "odd", "x": nested})
    assert "…" in json.dumps(redacted, ensure_ascii=False)


@pytest.mark.parametrize("kind", [None, 5, ["audio"], {}])
def test_odd_types_and_odd_contents_are_kept(kind: Any) -> None:
    frame = {"type": kind, "client_tool_call": "greet", "audio_event": 5}
    assert REDACTOR.redact_frame(frame) == frame
    assert restore_frame(frame) == frame
    assert REDACTOR.redact_frame({"type": "odd", "x": {"type": "Ada Lovelace"}})["x"] == {"type": "{{customer}}"}
    for odd in ({"type": "audio", "audio_event": 5}, {"type": "audio"}, {"type": "agent_response_correction"}):
        assert REDACTOR.redact_frame(odd) == odd
        assert restore_frame(odd) == odd


def test_it_says_what_it_takes_out() -> None:
    assert {"the dynamic variable customer", "custom_llm_extra_body", "audio"} <= set(REDACTOR.describe())
    assert "Ada" not in str(REDACTOR.describe())


def test_without_anything_known_what_was_said_is_kept_to_the_letter() -> None:
    for message in (AgentResponse("Grüße, Ada Lovelace! \x00 {x}", 1), UserTranscript("4711.5", 2)):
        frame = {"type": message.wire_type, message.payload_key: {"text": repr(message)}}
        assert Redactor().redact_frame(frame) == frame
