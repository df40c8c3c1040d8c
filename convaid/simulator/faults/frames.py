"""Frames that are not as they should be: each is ignored, and the conversation goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pybase64

from convaid.protocol.endings import Cause, Retry
from convaid.protocol.from_agent import FROM_AGENT
from convaid.simulator.faults.fault import COUNT, Fault, write_frame
from convaid.simulator.scenario import Frame, Raw, Silence

__all__ = ["CALLS", "FRAMES", "MESSAGES", "WEBSOCKET"]

DEEP = 100_000  # levels
BEGIN_WITH = ("conversation_initiation_metadata", "error")  # what has rows of its own
SILENT_AUDIO = "AAAA"
PING = write_frame("ping", "ping_event", {"event_id": 99, "ping_ms": None})


def say_raw(name: str, words: str, *frames: str, **more: Any) -> Fault:
    """A conversation in which these frames come, and go on."""
    return Fault(name, words, [Raw(frame) for frame in frames], **more)


# --- what is no message at all -------------------------------------------------------------------------------------

FRAMES = [
    say_raw("text-empty", "an empty text frame", ""),
    say_raw("text-nonsense", "text that is not JSON", "nonsense"),
    say_raw("text-cut", "JSON that is cut off", '{"type": "ping", "ping_event": {"event_i'),
    say_raw("text-two", "two JSON objects in one frame", '{"type": "ping"} {"type": "ping"}'),
    say_raw("text-bom", "JSON after a byte order mark", '\ufeff{"type": "vad_score"}'),
    say_raw("text-nan", "`NaN`", '{"type": "vad_score", "vad_score_event": {"vad_score": NaN}}'),
    say_raw("text-nul", "a NUL character", '{"type": "a\x00b"}'),
    say_raw("text-surrogate", "half a surrogate pair", '{"type": "\\ud800"}'),
    say_raw("json-text", "a JSON text", '"ping"'),
    say_raw("json-number", "a JSON number", "17"),
    say_raw("json-null", "`null`", "null"),
    say_raw("json-true", "`true`", "true"),
    say_raw("json-list", "a JSON list", "[]"),
    say_raw("json-deep-list", "JSON nested 100 000 levels deep", "[" * DEEP + "]" * DEEP),
    say_raw("json-deep-object", "a known type, nested 100 000 levels deep", (
        '{"type": "vad_score", "vad_score_event": ' + '{"a":' * DEEP + "1" + "}" * DEEP + "}"
    )),
    say_raw("json-big-number", "a number of 5000 digits",
            '{"type": "ping", "ping_event": {"event_id": ' + "9" * 5000 + "}}"),
    say_raw("type-missing", "no type", "{}"),
    say_raw("type-null", "a type of `null`", '{"type": null}'),
    say_raw("type-number", "a type that is a number", '{"type": 3}'),
    say_raw("type-list", "a type that is a list", '{"type": ["ping"]}'),
    say_raw("type-empty", "an empty type", '{"type": ""}'),
    say_raw("type-unknown", "an unknown type", '{"type": "a_type_of_next_year", "event": {}}'),
    say_raw("type-long", "an unknown type of 100 000 characters", write_frame("x" * 100_000)),
    say_raw("fields-unknown", "unknown fields",
            '{"type": "ping", "ping_event": {"event_id": 9, "ping_ms": null, "x": 1}, "y": 2}'),
]  # fmt: skip


# --- every message, with something missing or wrong in it --------------------------------------------------------


def damage(wire_type: str, payload_key: str, name: str, words: str, payload: Any) -> Fault:
    """A message with a payload that is not as it should be."""
    return say_raw(
        f"{wire_type.replace('_', '-')}-{name}", f"`{wire_type}` {words}", write_frame(wire_type, payload_key, payload)
    )


def list_missing() -> Iterator[str]:
    """Every message but the first, without its content."""
    for wire_type, message in FROM_AGENT.items():
        if wire_type not in BEGIN_WITH:
            yield write_frame(wire_type)
            yield write_frame(wire_type, message.payload_key or "nothing", None)


def list_wrong(content: Any) -> Iterator[str]:
    """Every message but the first, with the same thing in place of each of its fields, and of all."""
    for wire_type, message in FROM_AGENT.items():
        if wire_type in BEGIN_WITH or wire_type == "client_tool_call" or not message.payload_key:
            continue
        yield write_frame(wire_type, message.payload_key, content)
        names = [field.name for field in attrs.fields(message)]
        yield write_frame(wire_type, message.payload_key, dict.fromkeys(names, content))


def damage_audio(name: str, words: str, **fields: Any) -> Fault:
    """Agent speech that is not as it should be."""
    payload = {name: value for name, value in fields.items() if value is not ...}
    frame = write_frame("audio", "audio_event", payload)
    return say_raw(f"audio-{name}", f"`audio` {words}", frame, is_voice=True)


MESSAGES = [
    say_raw("messages-empty", "every message without its content", *list_missing()),
    say_raw("messages-null", "every message with `null` in every field", *list_wrong(None)),
    say_raw("messages-text", "every message with a text in every field", *list_wrong("text")),
    say_raw("messages-list", "every message with a list in every field", *list_wrong([])),
    say_raw("messages-number", "every message with a number in every field", *list_wrong(-1.5)),
    damage("ping", "ping_event", "without-id", "without `event_id`", {}),
    damage("ping", "ping_event", "null-id", "with an `event_id` of `null`", {"event_id": None, "ping_ms": 1}),
    damage("ping", "ping_event", "text-id", "with an `event_id` that is a text", {"event_id": "1", "ping_ms": 1}),
    damage("ping", "ping_event", "text-ms", "with a `ping_ms` that is a text", {"event_id": 77, "ping_ms": "soon"}),
    damage("interruption", "interruption_event", "without-id", "without `event_id`", {}),
    damage("interruption", "interruption_event", "text-id", "with an `event_id` that is a text", {"event_id": "now"}),
    damage("agent_response", "agent_response_event", "without-text", "without its text", {"event_id": 1}),
    damage("agent_response", "agent_response_event", "null", "with a text of `null`",
           {"agent_response": None, "event_id": 1}),
    damage("agent_response_correction", "agent_response_correction_event", "empty", "without its texts",
           {"event_id": 1}),
    damage("user_transcript", "user_transcription_event", "null", "with a text of `null`",
           {"user_transcript": None, "event_id": 1}),
    damage("agent_chat_response_part", "text_response_part", "type", "of an unknown kind",
           {"text": "x", "type": "pause", "event_id": 1}),
    damage("agent_tool_response", "agent_tool_response", "unknown", "for a call that nobody has made", {
        "tool_name": COUNT, "tool_call_id": "nobody's", "tool_type": "client",
        "is_error": True, "is_called": True, "event_id": 1,
    }),
    damage_audio("without-id", "without `event_id`", audio_base_64=SILENT_AUDIO),
    damage_audio("null-id", "with an `event_id` of `null`", audio_base_64=SILENT_AUDIO, event_id=None),
    damage_audio("text-id", "with an `event_id` that is a text", audio_base_64=SILENT_AUDIO, event_id="last"),
    damage_audio("without-sound", "without its sound", event_id=1),
    damage_audio("null-sound", "with a sound of `null`", audio_base_64=None, event_id=1),
    damage_audio("not-base64", "that is not base64", audio_base_64="§$%", event_id=1),
    damage_audio("half-sample", "that ends in half a sample", audio_base_64="AAA=", event_id=1),
    damage_audio("empty", "without a single sample", audio_base_64="", event_id=1),
    damage_audio("null-alignment", "with an alignment of `null`",
                 audio_base_64=SILENT_AUDIO, event_id=1, alignment=None),
    damage_audio("odd-alignment", "with an alignment that is a list",
                 audio_base_64=SILENT_AUDIO, event_id=1, alignment=[1]),
    say_raw(
        "metadata-second",
        "a second metadata frame",
        write_frame(
            "conversation_initiation_metadata", "conversation_initiation_metadata_event", {"conversation_id": "conv_2"}
        ),
    ),
    say_raw(
        "metadata-change",
        "a second metadata frame, with another audio format",
        write_frame(
            "conversation_initiation_metadata",
            "conversation_initiation_metadata_event",
            {"conversation_id": "conv_2", "agent_output_audio_format": "pcm_44100"},
        ),
        is_voice=True,
    ),
]  # fmt: skip


# --- calls ------------------------------------------------------------------------------------------------------------


def call_raw(name: str, words: str, payload: Any, results: int = 0) -> Fault:
    """A tool call that is not as it should be."""
    frame = write_frame("client_tool_call", "client_tool_call", payload)
    return say_raw(f"call-{name}", f"a tool call {words}", frame, extra_results=results)


CALLS = [
    call_raw("without-content", "without its content", None),
    call_raw("without-id", "without an id", {"tool_name": COUNT, "parameters": {"number": 7}, "event_id": 1}),
    call_raw("number-id", "whose id is a number",
             {"tool_name": COUNT, "tool_call_id": 7, "parameters": {}, "event_id": 1}),
    call_raw("without-name", "without a name", {"tool_call_id": "raw_1", "parameters": {}, "event_id": 1}),
    call_raw(
        "parameters-missing", "without parameters", {"tool_name": COUNT, "tool_call_id": "raw_2", "event_id": 1}, 1
    ),
    call_raw(
        "parameters-null",
        "whose parameters are `null`",
        {"tool_name": COUNT, "tool_call_id": "raw_3", "parameters": None, "event_id": 1},
        1,
    ),
    call_raw(
        "parameters-list",
        "whose parameters are a list",
        {"tool_name": COUNT, "tool_call_id": "raw_4", "parameters": [7], "event_id": 1},
        1,
    ),
    call_raw(
        "parameters-text",
        "whose parameters are JSON in a text",
        {"tool_name": COUNT, "tool_call_id": "raw_5", "parameters": '{"number": 7}', "event_id": 1},
        1,
    ),
    call_raw(
        "parameter-id",
        "with a parameter that is called `tool_call_id`",
        {"tool_name": COUNT, "tool_call_id": "raw_6", "parameters": {"number": 7, "tool_call_id": "x"}, "event_id": 1},
        1,
    ),
]  # fmt: skip


# --- below the messages -----------------------------------------------------------------------------------------------


def break_websocket(name: str, words: str, payload: bytes, opcode: int, *, is_harmless: bool = False) -> Fault:
    """A frame that breaks the WebSocket protocol (RFC 6455) itself, or only looks as if."""
    frame = Frame(pybase64.b64encode_as_string(payload), opcode)
    if is_harmless:
        return Fault(f"frame-{name}", words, [frame])
    return Fault(f"frame-{name}", words, [frame, Silence(2)], Cause.OPERATIONAL, Retry.SOON)


WEBSOCKET = [
    break_websocket("binary", "a binary frame of random bytes", bytes(range(256)), 2, is_harmless=True),
    break_websocket("binary-json", "a message in a binary frame", PING.encode(), 2, is_harmless=True),
    break_websocket("binary-empty", "an empty binary frame", b"", 2, is_harmless=True),
    break_websocket("ping", "a WebSocket ping", b"are you there?", 9, is_harmless=True),
    break_websocket("pong", "a WebSocket pong that nobody asked for", b"here I am", 10, is_harmless=True),
    break_websocket("not-utf8", "text that is not UTF-8", b'{"type": "\xff\xfe"}', 1),
    break_websocket("reserved", "a frame of a kind that does not exist", b"x", 3),
    break_websocket("long-ping", "a ping that is longer than pings may be", bytes(126), 9),
    break_websocket("continued", "the continuation of a message that has not begun", b"x", 0),
]  # fmt: skip
