"""What a transcript is made of, as values, and as JSON and Markdown for whoever takes it elsewhere (pure)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import attrs
from attrs import frozen

__all__ = [
    "CUT_OFF",
    "Call",
    "Session",
    "Transcript",
    "Turn",
    "describe_cut",
    "describe_ending",
    "describe_transcript",
    "write_markdown",
]

CUT_OFF = "cut off"  # the cause of an end that nobody saw
MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~])")


@frozen
class Turn:
    """Something that was said. ``at`` is in Unix seconds, as all points in time here."""

    at: float
    speaker: str
    """"user", "agent", or "context" for what the agent was told without a reply."""
    text: str
    original: str | None = None
    """What the agent was about to say, where the platform says that the user cut in: ``text`` is what was heard."""
    heard: str | None = None
    """How far it had been heard here when it was cut off; None where it was not, and where that is not known."""
    heard_seconds: float | None = None
    """How long it had been heard here when it was cut off; None where it was not."""


@frozen
class Call:
    """A call of a client tool; ``at`` is when it began, and ``seconds`` how long until it was answered."""

    at: float
    tool_call_id: str
    tool: str
    arguments: str
    """JSON; or its beginning, where it is long."""
    result: str | None
    """As the agent was told, or its beginning; None where it is not to be kept."""
    outcome: str
    seconds: float
    is_delivered: bool


@frozen
class Session:
    """One session of a conversation."""

    id: int = attrs.field(metadata={"is_internal": True})
    conversation: str
    """Its name in the configuration."""
    conversation_id: str
    """The platform's."""
    agent_id: str
    kept: str
    """"full" or "redacted"."""
    began: float
    ended: float | None
    """None while it goes on, and until the next daemon starts after a crash."""
    seconds: float | None
    """How long it lasted, by our clock."""
    cause: str | None
    code: int | None
    detail: str
    missing: int
    """How many turns and calls could not be kept."""
    billed_seconds: int | None
    """As the platform tells, as ``cost``; None where it has not."""
    cost: int | None
    charging: dict[str, Any] | None
    """More of what the platform tells about the cost."""
    turns: int
    """How many."""
    calls: int


@frozen
class Transcript:
    """A session with its turns and calls, in the order of time."""

    session: Session
    lines: tuple[Turn | Call, ...]


def describe_transcript(transcript: Transcript) -> dict[str, Any]:
    """The transcript as JSON's types."""
    return describe_session(transcript.session) | {"lines": [describe_line(line) for line in transcript.lines]}


def describe_session(session: Session) -> dict[str, Any]:
    """A session as JSON's types."""
    return attrs.asdict(session, filter=lambda field, _: "is_internal" not in field.metadata)


def describe_line(line: Turn | Call) -> dict[str, Any]:
    """A turn or a call as JSON's types."""
    told = attrs.asdict(line)
    if isinstance(line, Call):
        told["arguments"] = read_arguments(line)
    return told


def read_arguments(call: Call) -> Any:
    """A call's arguments; their text where that was cut."""
    try:
        return json.loads(call.arguments)
    except ValueError:
        return call.arguments


def describe_ending(session: Session) -> str:
    """How a session ended, how long it lasted and what it cost."""
    if session.cause is None:
        return "no end is recorded: it goes on, or its daemon was cut off"
    code = f" (code {session.code})" if session.code else ""
    detail = f": {session.detail}" if session.detail else ""
    cost = f", cost {session.cost} credits" if session.cost is not None else ""
    billed = f", billed {session.billed_seconds} s" if session.billed_seconds is not None else ""
    return f"{session.cause}{code} after {session.seconds or 0:.1f} s{billed}{cost}{detail}"


def describe_cut(turn: Turn) -> str:
    """How far a turn that was cut off had been heard here, in brackets; empty for all others."""
    if turn.heard_seconds is None:
        return ""
    if not turn.heard_seconds:
        return " (not heard here)"
    words = f': "{turn.heard}"' if turn.heard else ""
    return f" (cut off here after {turn.heard_seconds:.1f} s{words})"


def write_markdown(transcript: Transcript) -> Iterator[str]:
    """Yield the lines of a transcript as Markdown."""
    session = transcript.session
    yield f"## {escape(session.conversation)}, {write_time(session.began)}"
    yield ""
    yield f"{escape(session.conversation_id)} with {escape(session.agent_id or 'an agent')}, {session.kept}."
    yield f"{escape(describe_ending(session))}."
    if session.missing:
        yield f"{session.missing} entries are missing."
    yield ""
    for line in transcript.lines:
        clock = time.strftime("%H:%M:%S", time.localtime(line.at))
        if isinstance(line, Turn):
            before = f" (was about to say: {escape(line.original)})" if line.original is not None else ""
            cut = escape(describe_cut(line))
            yield f"- {clock} **{line.speaker}**: {escape(line.text)}{before} {cut}".rstrip()
        else:
            result = "" if line.result is None else f": {escape(line.result)}"
            called = f"{line.tool} {line.arguments}".replace("`", "'")
            yield f"- {clock} tool `{' '.join(called.split())}` {line.outcome} in {line.seconds:.3f} s{result}"
    yield ""


def escape(text: str) -> str:
    """A text as one line that Markdown shows as it is."""
    return MARKUP.sub(r"\\\1", " ".join(text.split()))


def write_time(at: float) -> str:
    """A point in time, local."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
