"""A scenario made of a recording: the same conversation, for `convaid test` (floor 6).

What the simulated agent can do by itself is a step of its own kind; what is odd, or what it would read as something to
be filled in, goes over the wire as it was. The times are left out: only an interruption keeps its distance to a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import orjson
from attrs import define, field

from convaid.config.describing import write_key, write_value
from convaid.recording.lines import CloseLine, FrameLine, Line, Recording
from convaid.recording.redaction import restore_frame
from convaid.session.session import STOPPED
from convaid.simulator.placeholders import BRACED
from convaid.simulator.starting import PLACEHOLDER, find_placeholders
from convaid.testing.recorded import find_call, find_result
from convaid.transport import ABNORMAL

__all__ = ["write_scenario"]

NO_STEP = frozenset({1004, 1005, 1015})  # close codes that stand for something, and are never sent
LONGEST_PAUSE = 200  # milliseconds between a call and an interruption
LARGEST_INTEGER = 2**63
UNFILLED = frozenset({"raw", "frame", "expect_text"})  # steps in which no dynamic variable is filled in
FILLED_IN = "{result}"  # in what the agent says


def write_scenario(recording: Recording) -> str:
    """Return a scenario, in TOML, that does with the tools what was done in the recording."""
    script = Script(recording)
    for number, line in recording.lines.items():
        script.add(number, line)
    script.finish()
    source = PurePath(recording.source).name
    parts = [f"# From the recording {source}: what is expected of results is what came then.\n"]
    written = orjson.dumps([step for step in script.steps if not step.keys() & UNFILLED]).decode()
    if names := sorted(set(find_placeholders(written))):
        values = (f"{write_key(name)} = {write_value(name)}\n" for name in names)
        parts.append(f"# Their values are not in the recording.\n[agent.dynamic_variables]\n{''.join(values)}")
    for step in script.steps:
        ((name, content),) = step.items()
        parts.append(f"[[steps]]\n{write_key(name)} = {write_value(content)}\n")
    return "\n".join(parts)


@define(eq=False)
class Script:
    """The steps so far."""

    recording: Recording
    steps: list[dict[str, Any]] = field(init=False, factory=list)
    _results: dict[str, tuple[int, dict[str, Any]]] = field(init=False)
    """The results of calls, with the numbers of their lines."""
    _called: set[str] = field(init=False, factory=set)
    _open_calls: set[str] = field(init=False, factory=set)
    """Calls that were not waited for, and have no result yet."""
    _has_unanswered: bool = field(init=False, default=False)
    _called_at: float = field(init=False, default=0.0)
    _written: list[str] = field(init=False, factory=list)
    """What the user has written, until the platform says that it has understood."""
    _error: Mapping[str, Any] | None = field(init=False, default=None)
    _has_begun: bool = field(init=False, default=False)
    _is_over: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        lines = self.recording.lines.items()
        self._results = {
            result["tool_call_id"]: (number, result)
            for number, line in lines
            if (result := find_result(line)) is not None and result["result"] != STOPPED
        }

    def add(self, number: int, line: Line) -> None:
        """Add the steps that a line comes to."""
        match line:
            case FrameLine(by="us", frame=dict(frame)):
                self._add_ours(frame)
            case FrameLine(by="agent", text=str(text)):
                self._step("raw", stand_in(text))
            case FrameLine(by="agent", binary=str(binary)):
                self._step("frame", binary)
            case FrameLine(by="agent", frame=dict(frame)) if (call := find_call(line)) is not None:
                self._add_call(number, line, frame, call)
            case FrameLine(by="agent", frame=dict(frame)):
                self._add_frame(line, frame)
            case CloseLine(close=code, reason=reason):
                self._add_close(code, reason)

    def finish(self) -> None:
        """Add the end, where the recording has none of the agent's."""
        if not self._is_over:
            self._step("end", {})

    def _step(self, name: str, content: Any) -> None:
        self.steps.append({name: content})

    def _add_ours(self, frame: dict[str, Any]) -> None:
        match frame:
            case {"type": "user_message", "text": str(text)} if text:
                self._written.append(text)
                self._step("expect_text", {"example": stand_in(text)})
            case {"type": "client_tool_result", "tool_call_id": str(call_id)} if call_id in self._open_calls:
                self._open_calls.remove(call_id)
                if not self._open_calls and not self._has_unanswered:
                    self._step("expect_results", {})

    def _add_frame(self, line: FrameLine, frame: dict[str, Any]) -> None:
        match frame:
            case {"type": "conversation_initiation_metadata"}:
                self._has_begun = True
            case {"type": "agent_response", "agent_response_event": {"agent_response": str(text)}}:
                if BRACED.search(text):  # as it stands in a step, it would be filled in, or refused
                    self._step("raw", write_frame(frame))
                elif text:
                    self._step("say", text)
            case {"type": "user_transcript", "user_transcription_event": {"user_transcript": str(text)}} if text:
                if text in self._written:
                    self._written.remove(text)
                else:
                    self._step("expect_text", {"example": stand_in(text)})
            case {"type": "interruption"}:
                pause = round(min((line.at - self._called_at) * 1000, LONGEST_PAUSE)) if self._open_calls else 0
                self._step("raw", {"text": write_frame(frame)} | ({"after_ms": pause} if pause > 0 else {}))
            case {"type": "error", "error_event": dict(error)}:
                self._error = error
            case {"type": "client_tool_call"}:  # one that cannot be answered
                self._step("raw", write_frame(frame))

    def _add_call(self, number: int, line: FrameLine, frame: dict[str, Any], call: Mapping[str, Any]) -> None:
        if call["tool_call_id"] in self._called:
            return  # the simulator gives every call an id of its own
        self._called.add(call["tool_call_id"])
        parameters = call.get("parameters") or {}
        if not isinstance(parameters, dict):
            self._step("raw", write_frame(frame))
            return
        step: dict[str, Any] = {"tool": call["tool_name"]}
        if not is_toml(parameters):
            # In JSON, a brace may be written so that nobody takes it for something to be filled in.
            step["parameters_json"] = orjson.dumps(parameters).decode().replace(FILLED_IN, f"\\u007b{FILLED_IN[1:]}")
        elif parameters:
            step["parameters"] = parameters
        answered, result = self._results.get(call["tool_call_id"], (None, None))
        if call.get("expects_response") is False:
            step["expects_response"] = False
        else:
            if result is not None:
                expected = stand_in(result["result"])
                step["expect_result"] = {"exact": expected} if isinstance(expected, str) else expected
                step |= {"expect_error": True} if result["is_error"] else {}
            if answered is None or any(self._is_step(between) for between in range(number + 1, answered)):
                step["wait"] = False
                self._called_at = line.at
                self._open_calls.add(call["tool_call_id"])
                self._has_unanswered = self._has_unanswered or answered is None
        self._step("call", step)

    def _is_step(self, number: int) -> bool:
        """Whether something happens in a line beside what belongs to a call."""
        if (line := self.recording.lines.get(number)) is None:
            return False
        script = Script(Recording(self.recording.source, self.recording.header, {number: line}, ()))
        script._called |= self._called
        script.add(number, line)
        return bool(script.steps)

    def _add_close(self, code: int, reason: str) -> None:
        self._is_over = True
        said = {"reason": reason} if reason else {}
        if not self._has_begun and code not in (ABNORMAL, *NO_STEP):
            self.steps = [{"refuse": {"code": code} | said}]
        elif self._error is not None and self._error.get("code") == code and code not in (ABNORMAL, *NO_STEP):
            words = {
                name: value for name in ("error_type", "message") if isinstance(value := self._error.get(name), str)
            }
            self._step("error", {"code": code} | words)
        elif code == ABNORMAL:
            self._step("drop", {})
        elif (code == 1000 and not reason) or code in NO_STEP:
            self._step("end", {})
        else:
            self._step("close", {"code": code} | said)


def write_frame(frame: dict[str, Any]) -> str:
    return str(stand_in(orjson.dumps(restore_frame(frame)).decode()))


def stand_in(value: Any) -> Any:
    """Return what is expected or said with the names of dynamic variables in the place of their values.

    It is what the scenario gives them as values.
    """
    match value:
        case str():
            return PLACEHOLDER.sub(lambda found: found[1], value)
        case dict():
            return {name: stand_in(inner) for name, inner in value.items()}
        case list():
            return [stand_in(inner) for inner in value]
    return value


def is_toml(value: Any) -> bool:
    """Whether a value of JSON's can stand in a scenario: TOML has no null, and no large numbers."""
    return all(
        inner is not None and not (isinstance(inner, int) and abs(inner) >= LARGEST_INTEGER) and inner != FILLED_IN
        for inner in list_leaves(value)
    )


def list_leaves(value: Any) -> Iterator[Any]:
    """Yield every value that holds no others, however deep."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from list_leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from list_leaves(inner)
    else:
        yield FILLED_IN if isinstance(value, str) and FILLED_IN in value else value
