"""The live events: each reader gets them in order, and is told how many it missed where it is too slow (floor 6)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import attrs
import orjson
import trio
from attrs import define, field

from convaid import events
from convaid.calls.arguments import redact_arguments
from convaid.config import mask_text
from convaid.control.failures import ControlError
from convaid.event_json import describe_event
from convaid.narration import describe_event as narrate

__all__ = ["Feed", "Reader", "write_message"]

READERS = 32  # at once
EVENTS_HELD = 1000  # events that wait for one reader
TEXT_LENGTH = 4000  # characters of one text in an event


def write_message(kind: str, content: object) -> bytes:
    """Write one message of a stream of server-sent events."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps(content, default=str))


@define(eq=False)
class Reader:
    """One who reads the events; whatever it does, it holds nobody up."""

    conversations: Collection[str] = ()
    """Of which; all where it is empty."""
    tools: Collection[str] = ()
    """Only events of calls of these; all events where it is empty."""
    missed: int = field(init=False, default=0)
    _waiting: deque[bytes] = field(init=False, factory=deque)
    _arrived: trio.Event = field(init=False, factory=trio.Event)

    def wants(self, event: events.Event) -> bool:
        """Whether an event passes the filters."""
        if self.conversations and event.conversation not in self.conversations:
            return False
        call = getattr(event, "call", None)
        return not self.tools or (call is not None and call.tool_name in self.tools)

    def put(self, message: bytes) -> None:
        """Add a message, or count it where too many wait."""
        if len(self._waiting) >= EVENTS_HELD or self.missed:
            self.missed += 1  # and all others until it has read: what it gets has one gap, not many
        else:
            self._waiting.append(message)
        self._arrived.set()

    def begin(self) -> None:
        """Forget what has come so far: a snapshot of now tells it."""
        self._waiting.clear()
        self.missed = 0

    async def take(self) -> list[bytes]:
        """Wait for messages and return all there are."""
        while not self._waiting:
            self._arrived = trio.Event()
            await self._arrived.wait()
        messages = list(self._waiting)
        self._waiting.clear()
        if self.missed:
            messages.append(write_message("missed", {"count": self.missed}))
            self.missed = 0
        return messages


class Feed:
    """Hands events to the readers; an observer of the daemon's."""

    def __init__(self, find_redacted: Callable[[str], Collection[str]]) -> None:
        """``find_redacted`` returns which arguments of a tool nobody is to see."""
        self._find_redacted = find_redacted
        self._readers: set[Reader] = set()

    def add(self, reader: Reader) -> None:
        """Let it read from now on. Raises `ControlError` where too many do."""
        if len(self._readers) >= READERS:
            words = f"{READERS} others read the events already"
            raise ControlError(503, "too_many", words, "End one of them, or try again later.")
        self._readers.add(reader)

    def remove(self, reader: Reader) -> None:
        """It reads no more."""
        self._readers.discard(reader)

    def count_readers(self) -> int:
        """How many read just now."""
        return len(self._readers)

    def observe(self, event: events.Event) -> None:
        """Hand an event to those who want it; waits for nobody, and costs nothing where nobody reads."""
        readers = [reader for reader in self._readers if reader.wants(event)]
        if readers:
            content = self._describe(event)
            message = write_message(content["event"], content)
            for reader in readers:
                reader.put(message)

    def _describe(self, event: events.Event) -> dict[str, Any]:
        call = getattr(event, "call", None)
        if call is not None:
            shown = redact_arguments(call.parameters, self._find_redacted(call.tool_name))
            event = attrs.evolve(event, call=attrs.evolve(call, parameters=shown))
        plain: dict[str, Any] = _shorten(describe_event(event))
        return {"event": plain.pop("event"), "at": time.time(), **plain, "line": _shorten(narrate(event))}


def _shorten(value: Any) -> Any:
    """Return plain values with long texts cut, and what looks like a secret masked."""
    if isinstance(value, str):
        return mask_text(value if len(value) <= TEXT_LENGTH else f"{value[:TEXT_LENGTH]}… ({len(value)} characters)")
    if isinstance(value, dict):
        return {name: _shorten(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shorten(inner) for inner in value]
    return value
