"""Recordings for tests, line by line."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from convaid.protocol.codec import encode
from convaid.protocol.from_agent import AgentResponse, ClientToolCall, ConversationInitiationMetadata, FromAgent
from convaid.protocol.to_agent import ClientToolResult, ConversationInitiationClientData, ToAgent
from convaid.recording import CloseLine, EndLine, FrameLine, Header, Recording
from convaid.recording.lines import Line, parse_recording, write_line


@define
class Story:
    """A recording that is being made up; a second passes with each line."""

    lines: list[Line] = field(factory=list)
    calls: int = 0

    @classmethod
    def begin(cls) -> Story:
        story = cls()
        story.us(ConversationInitiationClientData())
        story.agent(ConversationInitiationMetadata("conv_1"))
        return story

    def add(self, line: Line) -> Story:
        self.lines.append(line)
        return self

    @property
    def now(self) -> float:
        return float(len(self.lines))

    def agent(self, message: FromAgent | dict[str, Any] | str) -> Story:
        if isinstance(message, str):
            return self.add(FrameLine(self.now, "agent", text=message))
        return self.add(FrameLine(self.now, "agent", frame=make_frame(message)))

    def us(self, message: ToAgent | dict[str, Any]) -> Story:
        return self.add(FrameLine(self.now, "us", frame=make_frame(message)))

    def say(self, text: str) -> Story:
        return self.agent(AgentResponse(text, len(self.lines)))

    def call(self, tool: str, parameters: Any = None, *, number: int | None = None, **more: Any) -> Story:
        self.calls += 1
        return self.agent(ClientToolCall(tool, f"call_{number or self.calls}", parameters or {}, **more))

    def result(self, result: Any, *, is_error: bool = False, number: int | None = None) -> Story:
        frame = make_frame(ClientToolResult(f"call_{number or self.calls}", "", is_error))
        return self.us(frame | {"result": result})

    def close(self, code: int = 1000, reason: str = "", end: str = "ended by the agent") -> Story:
        self.add(CloseLine(self.now, "agent", code, reason))
        return self.add(EndLine(self.now, end, code, reason or "the agent hung up"))

    def stop(self) -> Story:
        return self.add(EndLine(self.now, "ended by the user", None, "asked to stop"))

    def write(self) -> bytes:
        return b"".join(map(write_line, [Header(1, "0.1.0", "main", "agent_1"), *self.lines]))

    def read(self, source: str = "story.jsonl") -> Recording:
        return parse_recording(self.write(), source)


def make_frame(message: FromAgent | ToAgent | dict[str, Any]) -> dict[str, Any]:
    import json

    if isinstance(message, dict):
        return message
    frame: dict[str, Any] = json.loads(encode(message))
    return frame
