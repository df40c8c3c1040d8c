"""What a recording has of tools: calls, results, and what is expected in the place of a result (floor 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pybase64

from convaid.errors import ConfigurationError, Problem
from convaid.patterns import PatternTimeout
from convaid.recording.lines import FrameLine, Line, Recording, read_recording
from convaid.simulator.patterns import check_expected_result, match_result
from convaid.wording import describe_value

__all__ = [
    "check_result",
    "describe_result",
    "find_call",
    "find_mismatch",
    "find_result",
    "is_redacted",
    "load_recording",
]

REDACTED = ("***", "{{")
"""What stands in the place of a secret or a dynamic variable."""


def load_recording(path: Path) -> Recording:
    """Read a recording, and check what it expects of results. Raises ConfigurationError with the lines' numbers."""
    recording = read_recording(path)
    problems: list[Problem] = []
    for number, line in recording.lines.items():
        if (result := find_result(line)) is not None:
            problems += check_result(result, f"line {number}.frame")
        if isinstance(line, FrameLine) and line.binary is not None and not is_base64(line.binary):
            problems.append(Problem(f"line {number}.binary", "is not base64"))
    if problems:
        raise ConfigurationError(str(path), problems)
    return recording


def check_result(result: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """Find what is wrong with a result that somebody may have edited."""
    if not isinstance(result["is_error"], bool):
        yield Problem(f"{path}.is_error", f"expected true or false, got {describe_value(result['is_error'])}")
    if not isinstance(result["result"], str):
        try:
            check_expected_result(None, None, result["result"])
        except ValueError as error:
            yield Problem(f"{path}.result", str(error))


def find_call(line: Line) -> dict[str, Any] | None:
    """Return the fields of a tool call that is whole enough to be answered, or None."""
    match line:
        case FrameLine(by="agent", kind="client_tool_call", frame={"client_tool_call": dict(call)}):
            names = (call.get("tool_name"), call.get("tool_call_id"))
            return call if all(isinstance(name, str) for name in names) else None
    return None


def find_result(line: Line) -> dict[str, Any] | None:
    """Return the fields of a tool's result, or None."""
    match line:
        case FrameLine(by="us", kind="client_tool_result", frame={"tool_call_id": str(), "result": _}):
            return {"is_error": False} | (line.frame or {})
    return None


def find_mismatch(recorded: Any, now: str) -> str | None:
    """Return in words how a result differs from what is expected in its place; of a recorded one, that it does."""
    if isinstance(recorded, str):
        return None if recorded == now else ""
    try:
        mismatch = match_result(recorded, now)
    except PatternTimeout as error:
        return str(error)
    return None if mismatch is None else str(mismatch)


def describe_result(result: Mapping[str, Any]) -> str:
    text = result["result"] if isinstance(result["result"], str) else orjson.dumps(result["result"]).decode()
    return f"error: {text}" if result["is_error"] else text


def is_redacted(line: FrameLine) -> bool:
    """Whether something was taken out of a frame, as far as can be seen."""
    text = orjson.dumps(line.frame).decode()
    return any(mark in text for mark in REDACTED)


def is_base64(text: str) -> bool:
    try:
        pybase64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True
