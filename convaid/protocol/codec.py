"""Frames to messages and back, for both roles.

Reading is strict about what a field holds (an int is an int, not a bool and not a text) and tolerant about the rest:
unknown types, unknown fields, missing optional fields and null for an optional field are all harmless. What cannot be
read is a `RemoteProtocolError` value that names the field and what came.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from types import NoneType
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

import attrs
import orjson
from attrs import NOTHING, frozen

from convaid.errors import LocalProtocolError, RemoteProtocolError
from convaid.protocol.from_agent import FROM_AGENT, FromAgent
from convaid.protocol.to_agent import TO_AGENT, ToAgent

__all__ = ["KNOWN_AND_IGNORED", "Decoded", "UnknownType", "decode_from_agent", "decode_to_agent", "encode"]

M = TypeVar("M", bound=FromAgent | ToAgent)

TYPE_LENGTH = 64  # characters kept of an unknown type: enough to look it up, too little to flood a log

KNOWN_AND_IGNORED = frozenset({"dtmf_request", "enclave_setup_config"})
"""Types that the platform names and that mean nothing here: telephone keys, and the set-up of self-hosted gateways."""


@frozen
class UnknownType:
    """A frame of a type that convaid does not model, or knows and ignores. Harmless."""

    type: str


@frozen
class Decoded(Generic[M]):
    """What one frame holds. ``unknown_fields`` are paths such as ``audio.alignment.colour``; their values are gone."""

    message: M | UnknownType | RemoteProtocolError
    unknown_fields: tuple[str, ...] = ()


def decode_from_agent(frame: str | bytes) -> Decoded[FromAgent]:
    """Read a frame that the platform sent. Never raises: a frame that cannot be read is a value as well."""
    return _decode(frame, FROM_AGENT)


def decode_to_agent(frame: str | bytes) -> Decoded[ToAgent]:
    """Read a frame that was sent to the platform. Never raises: a frame that cannot be read is a value as well."""
    return _decode(frame, TO_AGENT)


def encode(message: FromAgent | ToAgent, raw: Mapping[str, Any] | None = None) -> str:
    """Write a message as one compact JSON text.

    Optional fields that are None are left out. ``raw`` is merged in last, table by table; it cannot change the type.
    Lone surrogates, which UTF-8 cannot carry, become U+FFFD, and NaN becomes null. `LocalProtocolError` if a value has
    no JSON form at all.
    """
    frame = _write_frame(message)
    if raw:
        frame = _merge(frame, raw) | {"type": message.wire_type}
    try:
        return orjson.dumps(frame, default=_write_fields).decode()
    except orjson.JSONEncodeError:
        return _encode_slowly(frame)


# --- reading -------------------------------------------------------------------------------------------------------


class _Unfit(Exception):
    """A frame does not hold what its type promises; never leaves this module."""

    def __init__(self, path: str, expected: str, value: object) -> None:
        from convaid.structuring import describe_value

        super().__init__(f"{path}: expected {expected}, got {describe_value(value)}")


@frozen
class _Kind:
    """What a field may hold: the types that the JSON parser makes of it, and how to look further, if need be."""

    expected: str  # in words, for the reason
    types: frozenset[type]
    read: Callable[[Any, str, list[str]], Any] | None = None  # (value, path, unknown fields) -> the value to keep


@frozen
class _Shape:
    """What there is to know of a class for reading and writing it."""

    fields: tuple[tuple[str, _Kind, bool, Any], ...]  # name, kind, whether it is required, its default
    known: frozenset[str]  # the fields' names, and "type", which stands beside them where there is no payload
    can_be_empty: bool
    flat_type: str  # the type to write beside the fields; "" for payloads, objects inside a message, and user audio
    written_as_null: frozenset[str]


_PLAIN = {
    Any: _Kind("anything", frozenset({str, int, float, bool, dict, list, NoneType})),
    str: _Kind("text", frozenset({str})),
    bool: _Kind("true or false", frozenset({bool})),
    int: _Kind("a whole number", frozenset({int})),
    float: _Kind("a number", frozenset({int, float})),
}


def _decode(frame: str | bytes, classes: Mapping[str, type[M]]) -> Decoded[M]:
    unknown: list[str] = []
    try:
        if isinstance(frame, bytes):
            raise _Unfit("frame", "text", frame)
        message = _read_frame(orjson.loads(frame), classes, unknown)
    except orjson.JSONDecodeError as error:
        return Decoded(RemoteProtocolError(f"not JSON: {error}", frame))
    except _Unfit as unfit:
        return Decoded(RemoteProtocolError(str(unfit), frame))
    return Decoded(message, tuple(unknown))


def _read_frame(frame: Any, classes: Mapping[str, type[M]], unknown: list[str]) -> M | UnknownType:
    if type(frame) is not dict:
        raise _Unfit("frame", "an object", frame)
    wire_type = frame.get("type", "")
    cls: Any = classes.get(wire_type) if type(wire_type) is str else None
    if cls is None:
        if type(wire_type) is str and wire_type:
            return UnknownType(wire_type[:TYPE_LENGTH])
        raise _Unfit("type", "text", wire_type or None)
    payload_key = cls.payload_key
    fields: Any = frame
    if payload_key:
        fields = frame.get(payload_key)
        if fields is None and _shape_of(cls).can_be_empty:
            fields = {}
        elif type(fields) is not dict:
            raise _Unfit(f"{wire_type}.{payload_key}", "an object", fields)
        if len(frame) > 2:
            unknown += [name for name in frame if name not in ("type", payload_key)]
    message: M = _read_object(cls, fields, wire_type or "frame", unknown)
    return message


def _read_object(cls: Any, content: dict[str, Any], path: str, unknown: list[str]) -> Any:
    shape = _shape_of(cls)
    values = []
    for name, kind, is_required, default in shape.fields:
        value = content.get(name)
        if type(value) in kind.types:
            values.append(value if kind.read is None else kind.read(value, f"{path}.{name}", unknown))
        elif value is None and not is_required:
            values.append(default)
        else:
            raise _Unfit(f"{path}.{name}", kind.expected, value)
    if not content.keys() <= shape.known:
        unknown += [f"{path}.{name}" for name in content if name not in shape.known]
    return cls(*values)


def _read_list(item: _Kind, members: list[Any], path: str, unknown: list[str]) -> list[Any]:
    if not item.types.issuperset(map(type, members)):
        index, odd = next((index, odd) for index, odd in enumerate(members) if type(odd) not in item.types)
        raise _Unfit(f"{path}[{index}]", item.expected, odd)
    if item.read is None:
        return members
    return [item.read(member, f"{path}[{index}]", unknown) for index, member in enumerate(members)]


def _read_choice(choices: tuple[str, ...], value: str, path: str, unknown: list[str]) -> str:
    if value not in choices:
        raise _Unfit(path, f"one of {', '.join(choices)}", value)
    return value


@cache  # made on first use: a session meets a third of the classes, and start-up time is what a person waits for
def _shape_of(cls: Any) -> _Shape:
    hints = get_type_hints(cls)
    fields = []
    for attribute in attrs.fields(cls):
        # NOTHING in place of a value lets the class call a default's factory itself.
        default = NOTHING if hasattr(attribute.default, "factory") else attribute.default
        fields.append((attribute.name, _kind_of(hints[attribute.name]), attribute.default is NOTHING, default))
    return _Shape(
        fields=tuple(fields),
        known=frozenset({"type", *(name for name, *_ in fields)}),
        can_be_empty=not any(is_required for _, _, is_required, _ in fields),
        flat_type="" if getattr(cls, "payload_key", "") else getattr(cls, "wire_type", ""),
        written_as_null=frozenset(a.name for a in attrs.fields(cls) if a.metadata.get("null_is_written")),
    )


def _kind_of(hint: Any) -> _Kind:
    if hint in _PLAIN:
        return _PLAIN[hint]
    if attrs.has(hint):
        return _Kind("an object", frozenset({dict}), partial(_read_object, hint))
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is dict:
        return _Kind("an object", frozenset({dict}))
    if origin is list:
        return _Kind("a list", frozenset({list}), partial(_read_list, _kind_of(arguments[0])))
    if origin is Literal:
        return _Kind("text", frozenset({str}), partial(_read_choice, arguments))
    # What remains is X | None. Null needs no kind of its own: it stands for the default.
    (inner,) = (argument for argument in arguments if argument is not NoneType)
    return _kind_of(inner)


# --- writing -------------------------------------------------------------------------------------------------------


def _write_frame(message: FromAgent | ToAgent) -> dict[str, Any]:
    fields = _write_fields(message)
    return {"type": message.wire_type, message.payload_key: fields} if message.payload_key else fields


def _write_fields(value: Any) -> dict[str, Any]:
    """The fields of a message, or of an object inside one: the JSON writer calls this for what it does not know."""
    cls: Any = type(value)
    shape = _shape_of(cls)
    fields: dict[str, Any] = {"type": shape.flat_type} if shape.flat_type else {}
    for name, *_ in shape.fields:
        content = getattr(value, name)
        if content is not None or name in shape.written_as_null:
            fields[name] = content
    return fields


def _merge(frame: dict[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(frame)
    for name, value in raw.items():
        old = merged.get(name)
        merged[name] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _encode_slowly(frame: dict[str, Any]) -> str:
    """For what orjson refuses: whole numbers beyond 64 bits, which JSON allows, and lone surrogates."""
    try:
        text = json.dumps(frame, default=_write_plainly, ensure_ascii=False)
        plain = json.loads(text, parse_constant=lambda _: None)  # NaN and the infinities
        text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"{frame.get('type', 'the frame')}: cannot be written as JSON: {error}") from error
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _write_plainly(value: Any) -> Any:
    return _write_fields(value) if attrs.has(type(value)) else orjson.loads(orjson.dumps(value))
