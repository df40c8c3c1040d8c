"""What a chat completions server streams, put together: server-sent events, deltas of text and of tool calls. Pure."""

from __future__ import annotations

from typing import Any

import orjson
from attrs import define, field, frozen

from convaid.protocol.bodies import DEEPEST, is_deeper

__all__ = ["Answer", "AskedCall", "EventReader", "read_error"]

DONE = b"[DONE]"
LONGEST_LINE = 2**20  # bytes: one event is a few words, or a tool call's arguments
MOST_CALLS = 64  # in one answer
LONGEST_ARGUMENTS = 2**20  # characters


@frozen
class AskedCall:
    """A tool call as the model wants it. ``arguments`` is what it wrote: JSON, if all is well."""

    id: str
    name: str
    arguments: str

    def read_arguments(self) -> dict[str, Any] | None:
        """The arguments as an object; None where they are none. Nothing at all stands for no arguments."""
        try:
            value = orjson.loads(self.arguments or "{}")
        except ValueError:
            return None
        return value if isinstance(value, dict) and not is_deeper(value, DEEPEST) else None


@define
class EventReader:
    """Reads a body of server-sent events: takes bytes as they come, and gives what stands after each ``data:``.

    Lines end at line feeds alone: text in JSON may have any other character that some would take for a line's end.
    """

    _rest: bytearray = field(factory=bytearray)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that are complete now; comments and other fields are left out. Raises ValueError."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._rest = rest
        if len(rest) > LONGEST_LINE:
            raise ValueError(f"it sent a line of more than {LONGEST_LINE} bytes")
        return [bytes(line[5:].strip()) for line in lines if line.startswith(b"data:")]


@define
class Call:
    """A tool call that is still coming."""

    id: str = ""
    name: str = ""
    arguments: str = ""


@define
class Answer:
    """One answer of the model's, as it comes."""

    text: str = ""
    is_complete: bool = False
    _calls: list[Call] = field(factory=list)
    _places: dict[int, Call] = field(factory=dict)  # by the index that the server gives them

    def take(self, event: bytes) -> str:
        """Take in an event; returns what it adds to the text. Raises ValueError for what is no part of an answer."""
        if event == DONE:
            self.is_complete = True
            return ""
        try:
            content = orjson.loads(event)
        except ValueError:
            raise ValueError(f"it sent something else than JSON: {event[:100].decode(errors='replace')}") from None
        if not isinstance(content, dict) or is_deeper(content, DEEPEST):
            raise ValueError("it sent something else than the chunks of a chat completion")
        if content.get("error"):
            raise ValueError(read_error(content))
        choices = content.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return ""  # how many tokens were used, for instance
        choice = choices[0]
        if choice.get("finish_reason"):
            self.is_complete = True
        delta = choice.get("delta") or choice.get("message")  # the latter from a server that does not stream
        if not isinstance(delta, dict):
            return ""
        calls = delta.get("tool_calls")
        for number, part in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(part, dict):
                self._take_call(part, number)
        added = delta.get("content")
        if not isinstance(added, str):
            return ""
        self.text += added
        return added

    def _take_call(self, part: dict[str, Any], number: int) -> None:
        function = part.get("function")
        function = function if isinstance(function, dict) else {}
        call_id, arguments = part.get("id"), function.get("arguments")
        index = part.get("index", number)
        call = self._places.get(index)
        # Ollama gives every call the index 0: another id is another call.
        if call is None or (call_id and call.id and call_id != call.id):
            if len(self._calls) == MOST_CALLS:
                raise ValueError(f"it called more than {MOST_CALLS} tools at once")
            call = self._places[index] = Call()
            self._calls.append(call)
        call.id = call.id or str(call_id or "")
        call.name = call.name or str(function.get("name") or "")
        if arguments is not None:
            call.arguments += arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        if len(call.arguments) > LONGEST_ARGUMENTS:
            raise ValueError(f"the arguments of {call.name} are longer than {LONGEST_ARGUMENTS} characters")

    @property
    def calls(self) -> list[AskedCall]:
        """The tool calls, in order; each has an id, whether the model gave it one or not."""
        return [
            AskedCall(call.id or f"call_{number}", call.name, call.arguments) for number, call in enumerate(self._calls)
        ]


def read_error(body: Any) -> str:
    """What an error body says, in one of the shapes that servers give it."""
    error = body.get("error", body.get("detail", body.get("message"))) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error
    return error if isinstance(error, str) else orjson.dumps(error).decode()
