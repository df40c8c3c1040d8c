"""Events as JSON: for programs that are told of them, by the control API and by event commands (floor 1).

An event is one object: ``event`` is its name, such as ``tool_call_ended``; the other fields are the event's own, as
`convaid.events` has them. A message of the protocol is an object with its wire's ``type`` and fields.
"""

from __future__ import annotations

import re
from typing import Any, get_args

import attrs

from convaid import events
from convaid.protocol.from_agent import FromAgent
from convaid.protocol.to_agent import ToAgent

__all__ = ["EVENT_NAMES", "describe_event", "find_event_name", "list_names"]

DEEPEST = 40  # levels of nesting; what agents send may be deeper, and nobody reads that


def _to_snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


EVENT_NAMES: dict[type, str] = {kind: _to_snake_case(kind.__name__) for kind in get_args(events.Event)}
"""The name of each kind of event."""


def find_event_name(event: events.Event) -> str:
    """The name of an event's kind."""
    return EVENT_NAMES[type(event)]


def list_names(event: events.Event) -> frozenset[str]:
    """The names that somebody may have asked for the event by: its own, and its message's ``type``."""
    names = {find_event_name(event)}
    if isinstance(event, events.MessageReceived | events.MessageSent):
        names.add(event.message.wire_type)
    return frozenset(names)


def describe_event(event: events.Event) -> dict[str, Any]:
    """The event as JSON's types."""
    return {"event": find_event_name(event)} | _describe_fields(event, DEEPEST)


def _describe_fields(value: Any, depth: int) -> dict[str, Any]:
    return {
        field.name.lstrip("_"): _describe(getattr(value, field.name), depth - 1) for field in attrs.fields(type(value))
    }


def _describe(value: Any, depth: int) -> Any:
    if depth <= 0:
        return "…"
    if isinstance(value, FromAgent | ToAgent):
        return {"type": value.wire_type or "user_audio_chunk"} | _describe_fields(value, depth)
    if attrs.has(type(value)):
        return _describe_fields(value, depth)
    if isinstance(value, dict):
        return {str(name): _describe(part, depth - 1) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_describe(part, depth - 1) for part in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
