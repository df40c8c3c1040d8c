"""Frames to messages and back: round trips, strictness, tolerance, and what is never raised."""

from __future__ import annotations

import json
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convaid.errors import LocalProtocolError, RemoteProtocolError
from convaid.protocol import FROM_AGENT, TO_AGENT, UnknownType, decode_from_agent, decode_to_agent, encode
from convaid.protocol.from_agent import (
    AgentResponse,
    AgentToolRequest,
    AsrInitiationMetadata,
    Attachment,
    Audio,
    AudioAlignment,
    ClientToolCall,
    ExternalAgentConnected,
    FromAgent,
    GuardrailTriggered,
    McpConnectionStatus,
    Ping,
    VadScore,
)
from convaid.protocol.to_agent import (
    ClientToolResult,
    ConversationInitiationClientData,
    Feedback,
    FileInput,
    MultimodalMessage,
    Pong,
    ToAgent,
    UserAudio,
    UserMessage,
)

CLASSES: list[type[Any]] = [*FROM_AGENT.values(), *TO_AGENT.values()]

whole_numbers = st.integers(-(2**63), 2**63 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | whole_numbers | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    bool: st.booleans(),
    int: whole_numbers,
    float: st.floats(allow_nan=False, allow_infinity=False),
    NoneType: st.none(),
    Any: json_values,
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value that a field with this annotation may hold."""
    if hint in PLAIN:
        return PLAIN[hint]
    if attrs.has(hint):
        return instances_of(hint)
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return st.sampled_from(arguments)
    if get_origin(hint) is list:
        return st.lists(values_of(arguments[0]), max_size=3)
    if get_origin(hint) is dict:
        return st.dictionaries(st.text(max_size=5), json_values, max_size=3)
    return st.one_of(*map(values_of, arguments))


def instances_of(cls: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    return st.builds(cls, **{a.name: values_of(hints[a.name]) for a in attrs.fields(cls)})


def decode(message: FromAgent | ToAgent, frame: str) -> Any:
    return decode_from_agent(frame) if isinstance(message, FromAgent) else decode_to_agent(frame)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_what_is_encoded_decodes_to_the_same(cls: type[Any], data: st.DataObject) -> None:
    message = data.draw(instances_of(cls))
    decoded = decode(message, encode(message))
    assert decoded.message == message
    assert decoded.unknown_fields == ()


@settings(deadline=None)
@given(st.text(st.characters()) | st.binary())
def test_no_text_and_no_bytes_raise(frame: str | bytes) -> None:
    for decode_frame in (decode_from_agent, decode_to_agent):
        decoded = decode_frame(frame)
        assert isinstance(decoded.message, FromAgent | ToAgent | UnknownType | RemoteProtocolError)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_no_content_of_a_known_type_raises(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from(CLASSES))
    names = [a.name for a in attrs.fields(cls)] or ["nothing"]
    content = data.draw(st.dictionaries(st.sampled_from(names), json_values) | json_values)
    frame = {"type": cls.wire_type} if cls.wire_type else {}
    if cls.payload_key:
        frame[cls.payload_key] = content
    elif isinstance(content, dict):
        frame |= content
    text = json.dumps(frame)
    for decode_frame in (decode_from_agent, decode_to_agent):
        decoded = decode_frame(text)
        assert isinstance(decoded.message, cls | UnknownType | RemoteProtocolError)
        if isinstance(decoded.message, cls):
            json.dumps(attrs.asdict(decoded.message))


@settings(deadline=None)
@given(
    parameters=st.dictionaries(
        st.sampled_from(["tool_call_id", "tool_name", "event_id", "type", "parameters", "expects_response"]),
        json_values,
    ),
    names=st.permutations(["tool_name", "tool_call_id", "parameters", "event_id"]),
)
def test_parameters_cannot_overwrite_the_calls_own_fields(parameters: dict[str, Any], names: list[str]) -> None:
    fields = {"tool_name": "open_door", "tool_call_id": "call_1", "parameters": parameters, "event_id": 7}
    frame = json.dumps({"client_tool_call": {name: fields[name] for name in names}, "type": "client_tool_call"})
    assert decode_from_agent(frame).message == ClientToolCall("open_door", "call_1", parameters, 7)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('"\\ud800"', "not JSON"),
        ("\ud800", "not JSON"),
        ("[" * 5000 + "]" * 5000, "not JSON"),
        ("NaN", "not JSON"),
        ("[]", "frame: expected an object, got a list"),
        ("{}", "type: expected text, got nothing"),
        ('{"type": 7}', "type: expected text, got the number 7"),
        ('{"type": ["ping"]}', "type: expected text, got a list"),
        ('{"type": null}', "type: expected text, got nothing"),
        ('{"type": ""}', "type: expected text, got nothing"),
        ('{"type": "ping"}', "ping.ping_event: expected an object, got nothing"),
        ('{"type": "ping", "ping_event": []}', "ping.ping_event: expected an object, got a list"),
        ('{"type": "ping", "ping_event": {}}', "ping.event_id: expected a whole number, got nothing"),
        ('{"type": "ping", "ping_event": {"event_id": true}}', "ping.event_id: expected a whole number, got true"),
        ('{"type": "ping", "ping_event": {"event_id": "1"}}', "ping.event_id: expected a whole number, got the text"),
        ('{"type": "ping", "ping_event": {"event_id": 1.0}}', "ping.event_id: expected a whole number, got the number"),
        ('{"type": "ping", "ping_event": {"event_id": 1, "ping_ms": "2"}}', "ping.ping_ms: expected a whole number"),
        ('{"type": "vad_score", "vad_score_event": {"vad_score": true}}', "vad_score.vad_score: expected a number"),
        (
            '{"type": "audio", "audio_event": {"audio_base_64": "", "event_id": 1, "alignment": {"chars": ["a", 1]}}}',
            "audio.alignment.chars[1]: expected text, got the number 1",
        ),
        (
            '{"type": "mcp_connection_status", "mcp_connection_status": {"integrations": [{"integration_id": 1}]}}',
            "mcp_connection_status.integrations[0].integration_id: expected text, got the number 1",
        ),
        (
            '{"type": "agent_chat_response_part", "text_response_part": {"text": "", "type": "pause", "event_id": 1}}',
            'agent_chat_response_part.type: expected one of start, delta, stop, got the text "pause"',
        ),
    ],
)
def test_a_malformed_frame_is_a_value_that_names_the_field_and_what_came(frame: str, reason: str) -> None:
    message = decode_from_agent(frame).message
    assert isinstance(message, RemoteProtocolError)
    assert str(message).startswith(reason)
    assert message.excerpt == frame[:200]


def test_a_binary_frame_is_malformed() -> None:
    message = decode_from_agent(encode(Ping(1)).encode()).message
    assert isinstance(message, RemoteProtocolError)
    assert str(message).startswith("frame: expected text")


def test_user_audio_is_known_by_its_one_field() -> None:
    assert decode_to_agent('{"user_audio_chunk": "AAAA"}').message == UserAudio("AAAA")
    message = decode_to_agent('{"user_audio_chunk": 1}').message
    assert str(message) == "frame.user_audio_chunk: expected text, got the number 1"
    assert isinstance(decode_from_agent('{"user_audio_chunk": "AAAA"}').message, RemoteProtocolError)


@pytest.mark.parametrize("wire_type", ["dtmf_request", "a_type_of_next_year", "pong"])
def test_an_unknown_type_is_harmless(wire_type: str) -> None:
    assert decode_from_agent(json.dumps({"type": wire_type, "x": 1})).message == UnknownType(wire_type)


def test_a_very_long_unknown_type_is_cut() -> None:
    assert decode_from_agent(json.dumps({"type": "x" * 10_000})).message == UnknownType("x" * 64)


def test_unknown_fields_are_dropped_and_named() -> None:
    decoded = decode_from_agent(
        '{"type": "audio", "audio_event": {"audio_base_64": "", "event_id": 1, "volume": 1, "alignment": {"chars": [], '
        '"char_start_times_ms": [], "char_durations_ms": [], "colour": "red"}}, "trace": 7}'
    )
    assert decoded.message == Audio("", 1, AudioAlignment([], [], []))
    assert decoded.unknown_fields == ("trace", "audio.alignment.colour", "audio.volume")
    assert decode_to_agent('{"type": "pong", "event_id": 1, "wire_type": 2}').unknown_fields == ("pong.wire_type",)


def test_an_unknown_field_is_named_where_a_known_one_is_missing() -> None:
    frame = '{"type": "client_tool_call", "client_tool_call": {"tool_name": "t", "tool_call_id": "c", "extra": null}}'
    decoded = decode_from_agent(frame)
    assert decoded.message == ClientToolCall("t", "c")
    assert decoded.unknown_fields == ("client_tool_call.extra",)


def test_null_stands_for_the_default_of_an_optional_field() -> None:
    frame = (
        '{"type": "client_tool_call", "client_tool_call": {"tool_name": "t", "tool_call_id": "c", "parameters": null, '
        '"event_id": null, "expects_response": null}}'
    )
    assert decode_from_agent(frame).message == ClientToolCall("t", "c", None, None, expects_response=True)
    nulls = '"alignment": null, "is_final": null'
    frame = f'{{"type": "audio", "audio_event": {{"audio_base_64": "", "event_id": 1, {nulls}}}}}'
    assert decode_from_agent(frame).message == Audio("", 1)


def test_each_default_list_is_a_new_one() -> None:
    frame = '{"type": "mcp_connection_status", "mcp_connection_status": {}}'
    first, second = decode_from_agent(frame).message, decode_from_agent(frame).message
    assert isinstance(first, McpConnectionStatus)
    assert isinstance(second, McpConnectionStatus)
    assert first == second
    assert first.integrations is not second.integrations


@pytest.mark.parametrize("payload", ["", ', "guardrail_triggered_event": null', ', "guardrail_triggered_event": {}'])
def test_a_payload_without_required_fields_may_be_missing(payload: str) -> None:
    assert decode_from_agent(f'{{"type": "guardrail_triggered"{payload}}}').message == GuardrailTriggered()


def test_a_float_field_takes_whole_numbers() -> None:
    assert decode_from_agent('{"type": "vad_score", "vad_score_event": {"vad_score": 1}}').message == VadScore(1.0)


@pytest.mark.parametrize(
    ("message", "frame"),
    [
        (Ping(1), '{"type":"ping","ping_event":{"event_id":1,"ping_ms":null}}'),
        (Pong(1), '{"type":"pong","event_id":1}'),
        (UserAudio("AAAA"), '{"user_audio_chunk":"AAAA"}'),
        (UserMessage(None), '{"type":"user_message","text":null}'),
        (Feedback(3, None), '{"type":"feedback","event_id":3,"score":null}'),
        (Audio("AA==", 2), '{"type":"audio","audio_event":{"audio_base_64":"AA==","event_id":2,"is_final":false}}'),
        (ConversationInitiationClientData(), '{"type":"conversation_initiation_client_data"}'),
        (ExternalAgentConnected(), '{"type":"external_agent_connected","external_agent_connected_event":{}}'),
        (AsrInitiationMetadata({"a": 1}), '{"type":"asr_initiation_metadata","asr_initiation_metadata_event":{"a":1}}'),
        (
            MultimodalMessage(UserMessage("see"), FileInput("f1")),
            '{"type":"multimodal_message","text":{"type":"user_message","text":"see"},'
            '"file":{"file_id":"f1","type":"file_input"}}',
        ),
        (
            AgentResponse("hi", 1, attachments=[Attachment("https://x", "x")]),
            '{"type":"agent_response","agent_response_event":{"agent_response":"hi","event_id":1,'
            '"attachments":[{"url":"https://x","name":"x"}]}}',
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_frames_are_compact_and_leave_out_what_is_none(message: FromAgent | ToAgent, frame: str) -> None:
    assert encode(message) == frame


def test_raw_fields_are_merged_in_last_table_by_table() -> None:
    init = ConversationInitiationClientData(
        conversation_config_override={"agent": {"language": "de"}, "tts": {"voice_id": "v"}}, user_id="u"
    )
    raw = {"conversation_config_override": {"agent": {"first_message": "Hallo"}, "tts": 1}, "new": [1], "type": "pong"}
    assert json.loads(encode(init, raw)) == {
        "type": "conversation_initiation_client_data",
        "conversation_config_override": {"agent": {"language": "de", "first_message": "Hallo"}, "tts": 1},
        "user_id": "u",
        "new": [1],
    }
    assert init.conversation_config_override == {"agent": {"language": "de"}, "tts": {"voice_id": "v"}}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\udc00", "\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ud800\ud800\\", "\ufffd\ufffd\\"),
    ],
    ids=["high", "low", "pair", "two"],
)
def test_lone_surrogates_are_replaced_and_pairs_are_healed(text: str, written: str) -> None:
    frame = encode(ClientToolResult("c", text, is_error=False))
    assert decode_to_agent(frame).message == ClientToolResult("c", written, is_error=False)
    frame.encode()


@settings(deadline=None)
@given(json_values, st.text(st.characters()), st.integers())
def test_parameters_never_fail_to_be_written(value: Any, text: str, number: int) -> None:
    frame = encode(ClientToolCall("t", "c", {"value": value, "text": text, text: number, "nan": float("nan")}))
    parameters = orjson.loads(frame)["client_tool_call"]["parameters"]
    assert parameters["nan"] is None


def test_whole_numbers_beyond_64_bits_are_written_in_full() -> None:
    frame = encode(ClientToolCall("t", "c", {"big": 2**70, "when": [float("inf")]}))
    assert json.loads(frame)["client_tool_call"]["parameters"] == {"big": 2**70, "when": [None]}


def test_dates_are_written_with_and_without_a_large_number_beside_them() -> None:
    from datetime import date

    init = ConversationInitiationClientData(dynamic_variables={"day": date(2026, 11, 22)})
    assert json.loads(encode(init))["dynamic_variables"] == {"day": "2026-11-22"}
    assert json.loads(encode(init, {"big": 2**70}))["dynamic_variables"] == {"day": "2026-11-22"}


def test_what_has_no_json_form_is_our_own_fault() -> None:
    circle: dict[str, Any] = {}
    circle["circle"] = circle
    for value in (object(), circle, {("a", "b"): 1}):
        with pytest.raises(LocalProtocolError, match="client_tool_call: cannot be written as JSON"):
            encode(ClientToolCall("t", "c", {"value": value}))


def test_long_content_is_not_in_a_repr() -> None:
    assert "<9 characters>" in repr(Audio("AAAABBBBC", 1))
    assert "<9 characters>" in repr(UserAudio("AAAABBBBC"))
    assert "s3cret" not in repr(ConversationInitiationClientData(dynamic_variables={"secret__token": "s3cret"}))


def test_the_newer_fields_of_a_tool_request_are_optional() -> None:
    frame = (
        '{"type": "agent_tool_request", "agent_tool_request": {"tool_name": "t", "tool_call_id": "c", '
        '"tool_type": "client", "event_id": 1}}'
    )
    assert decode_from_agent(frame).message == AgentToolRequest("t", "c", "client", 1)
