"""Messages of the platform's in scenarios: read as they stand on the wire, and numbered when they are sent. Pure."""

from __future__ import annotations

from typing import Any

import attrs
import orjson

from convaid.errors import RemoteProtocolError
from convaid.protocol.codec import UnknownType, decode_from_agent
from convaid.protocol.from_agent import FROM_AGENT, FromAgent
from convaid.wording import nearest

__all__ = ["SENDABLE", "number_message", "read_message"]

ELSEWHERE = {
    "conversation_initiation_metadata": "it comes by itself; to send a second one, write it as raw",
    "error": "an error ends the conversation; there is a step for that, error = { code = 1011 }",
}
"""What there is another step for, or none."""

SENDABLE = {name: cls for name, cls in FROM_AGENT.items() if name not in ELSEWHERE}


def read_message(table: dict[str, Any]) -> FromAgent:
    """Read a message as it stands on the wire, but that its ``event_id`` may be missing. Raises ValueError."""
    wire_type = table.get("type")
    if not isinstance(wire_type, str):
        raise ValueError('has no type, as in { type = "vad_score", vad_score_event = { vad_score = 0.5 } }')
    if wire_type in ELSEWHERE:
        raise ValueError(f"{wire_type} is not for this step: {ELSEWHERE[wire_type]}")
    if wire_type not in SENDABLE:
        found = nearest(wire_type, SENDABLE)
        hint = f'did you mean "{found[0]}"?' if found else f"known here: {', '.join(sorted(SENDABLE))}."
        raise ValueError(f"the type {wire_type!r} is not known; {hint} Write what the protocol does not know as raw")
    try:
        frame = orjson.dumps(_leave_open(SENDABLE[wire_type], table), default=str).decode()
    except TypeError as error:  # a whole number of more than 64 bits, say
        raise ValueError(f"cannot be written as JSON: {error}") from None
    decoded = decode_from_agent(frame)
    if isinstance(decoded.message, RemoteProtocolError | UnknownType):
        raise ValueError(str(decoded.message))
    if decoded.unknown_fields:
        raise ValueError(f"{decoded.unknown_fields[0]} is not known; write what the protocol does not know as raw")
    return decoded.message


def number_message(message: FromAgent, event_id: int) -> FromAgent:
    """The message with this event id, where its own was left open."""
    left_open = getattr(message, "event_id", None)
    if left_open not in (0, ""):
        return message
    return attrs.evolve(message, event_id=str(event_id) if left_open == "" else event_id)  # type: ignore[call-arg]


def _leave_open(shape: type[FromAgent], table: dict[str, Any]) -> dict[str, Any]:
    field = attrs.fields_dict(shape).get("event_id")
    payload = table.get(shape.payload_key)
    if field is None or not isinstance(payload, dict) or "event_id" in payload:
        return table
    left_open = "" if field.type in (str, "str") else 0  # a name, until somebody resolves it
    return table | {shape.payload_key: payload | {"event_id": left_open}}
