"""What was said and called in a conversation, as a language model is told of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from attrs import define, field

from convaid.simulator.brain.chunks import AskedCall

__all__ = ["LONGEST", "History", "Spoken"]

LONGEST = 200  # messages: what is older is forgotten
LONGEST_RESULT = 20_000  # characters of a tool's result: a local model's context is not much longer


@define(eq=False)
class Spoken:
    """Something that was said. The agent's part may turn out to be shorter than it was meant to be: interrupted."""

    role: Literal["user", "assistant"]
    text: str
    calls: Sequence[AskedCall] = ()
    context_id: str | None = None


@define(eq=False)
class Result:
    """What came of a tool call."""

    call_id: str
    text: str


@define
class History:
    """Keeps the conversation, and tells it in messages of OpenAI's API.

    What is said while calls are open comes after their results: no server takes it in between.
    """

    prompt: str
    _entries: list[Spoken | Result] = field(factory=list)
    _open: set[str] = field(factory=set)  # ids of calls
    _waiting: list[Spoken] = field(factory=list)

    def add_user(self, text: str) -> None:
        """The user has said something."""
        self._add(Spoken("user", text))

    def add_agent(self, text: str, calls: Sequence[AskedCall] = ()) -> Spoken:
        """The agent has said something, or called tools; returns what may be shortened yet."""
        spoken = Spoken("assistant", text, calls)
        self._add(spoken)
        self._open = {call.id for call in calls}
        return spoken

    def add_result(self, call_id: str, text: str) -> None:
        """A call has an answer; every call gets one."""
        self._entries.append(Result(call_id, text[:LONGEST_RESULT]))
        self._open.discard(call_id)
        if not self._open:
            waiting, self._waiting = self._waiting, []
            for spoken in waiting:
                self._add(spoken)

    def add_context(self, text: str, context_id: str | None) -> None:
        """Something to know, which nobody has said; the newest of an id takes the place of the others."""
        if context_id is not None:
            self._waiting = [spoken for spoken in self._waiting if spoken.context_id != context_id]
            self._entries = [
                entry for entry in self._entries if isinstance(entry, Result) or entry.context_id != context_id
            ]
        self._add(Spoken("user", f"(The user did not say this; it is for you to know: {text})", context_id=context_id))

    def _add(self, spoken: Spoken) -> None:
        if self._open:
            self._waiting.append(spoken)
            return
        self._entries.append(spoken)
        if len(self._entries) > LONGEST:
            del self._entries[0]
            while isinstance(self._entries[0], Result):  # without its call no server takes it
                del self._entries[0]

    def list_messages(self) -> list[dict[str, Any]]:
        """The messages to answer. What the user says in several goes is one: many models know no two in a row."""
        messages: list[dict[str, Any]] = [{"role": "system", "content": self.prompt}] if self.prompt else []
        for message in self._write():
            if messages and message["role"] == "user" == messages[-1]["role"]:
                messages[-1]["content"] += f"\n\n{message['content']}"
            else:
                messages.append(message)
        return messages

    def _write(self) -> Iterator[dict[str, Any]]:
        for entry in self._entries:
            if isinstance(entry, Result):
                yield {"role": "tool", "tool_call_id": entry.call_id, "content": entry.text}
            elif entry.calls:
                yield {"role": "assistant", "content": entry.text, "tool_calls": [_write_call(c) for c in entry.calls]}
            elif entry.text:
                yield {"role": entry.role, "content": entry.text}


def _write_call(call: AskedCall) -> dict[str, Any]:
    arguments = call.arguments if call.read_arguments() is not None else "{}"  # servers read them, too
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments or "{}"}}
