"""Replaying a recording: the platform's part of it, played to the installed tools through convaid's own session.

The link is in memory, and nothing waits for the recording's times. The order is kept: what came after a result in the
recording is played after it. Held against the recording is what the tools have made of it, their results and what came
late, and how a session ended that the platform closed. A result may stand in the recording as what is expected of it,
as in scenarios: ``{"pattern": "…"}``, ``{"any": true}``, ``{"exact": …}``, or a part of what it is as JSON.

Not held against it: pings, audio, what the user has said, and calls to which the recording has no answer, because the
session was over before.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pybase64
import trio
from attrs import define, evolve, field, frozen

from convaid import events
from convaid.calls import open_tool_calls
from convaid.calls.opening import open_background
from convaid.config import Configuration, LimitsConfig, ToolsConfig, find_api_key
from convaid.errors import ConfigurationError
from convaid.journal import open_journal
from convaid.narration import shorten
from convaid.plugins import Plugins
from convaid.protocol.codec import decode_to_agent
from convaid.protocol.endings import Cause, SessionEnd
from convaid.protocol.to_agent import ClientToolResult, ContextualUpdate, ConversationInitiationClientData
from convaid.recording.lines import CloseLine, EndLine, FrameLine, Line, LostLine, Recording
from convaid.recording.redaction import Redactor, restore_frame
from convaid.session import Session
from convaid.session.late import LateResults
from convaid.session.session import STOPPED
from convaid.simulator import Failure
from convaid.testing.link import MemoryLink
from convaid.testing.recorded import describe_result, find_call, find_mismatch, find_result, is_redacted
from convaid.testing.running import NAME, CallReport, ScenarioReport, describe_call
from convaid.testing.toolbox import find_own_timeouts
from convaid.transport import LinkClosed

__all__ = ["Difference", "Replay", "ReplayReport", "make_redactor", "replay_recording"]

TIME_LIMIT = 60.0  # seconds, if nobody says otherwise
LAST_WORDS = 1.0  # seconds for tools that still run where the recording's session was ended by us
SETTLED = 0.003  # seconds in which nothing happens: a call that was played has begun
SETTLE_LIMIT = 0.5  # seconds until it is taken to have
LIMITS = LimitsConfig(answer=math.inf, handshake=math.inf)  # a recording owes nobody an answer


@frozen
class Difference:
    """Something that is not as in the recording; ``line`` is its number there.

    ``accepted`` are the lines that take its place where it is accepted, or come before it, if it is an addition; None
    where nothing can be accepted for it.
    """

    line: int
    message: str
    expected: str = ""
    got: str = ""
    accepted: Sequence[Line] | None = None
    is_addition: bool = False

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


@frozen
class ReplayReport:
    """What has come of a replay. ``notes`` say what could not be replayed."""

    differences: Sequence[Difference]
    transcript: Sequence[str]
    calls: Sequence[CallReport]
    notes: Sequence[str]
    seconds: float

    def summarize(self, name: str) -> ScenarioReport:
        """Return the same as of a scenario, for whoever runs both."""
        failure = None
        if self.differences:
            first, *others = self.differences
            message = "\n".join([first.message, *map(str, others)])
            failure = Failure(f"line {first.line}", message, shorten(first.expected), shorten(first.got))
        return ScenarioReport(name, failure, self.transcript, self.calls, self.seconds, ways=1)


def make_redactor(configuration: Configuration) -> Redactor:
    """Return what takes the secrets that there are now out of results."""
    secrets = list(configuration.secrets())
    with suppress(ConfigurationError):  # to replay takes no API key
        if (api_key := find_api_key(configuration.platform)) is not None:
            secrets.append(api_key)
    return Redactor(secrets)


async def replay_recording(
    recording: Recording,
    plugins: Plugins,
    config: ToolsConfig | None = None,
    *,
    time_limit: float = TIME_LIMIT,
    hidden: Collection[str] = (),
    redactor: Redactor | None = None,
) -> ReplayReport:
    """Replay a recording; raises nothing that a plugin is to blame for. A fault of convaid's own comes out as it is.

    ``time_limit`` is for all of it, in seconds; ``hidden`` names variables of the environment that no process of a
    plugin's gets; ``redactor`` takes out of results what recordings do not have.
    """
    config = config or ToolsConfig()
    began, late_results = trio.current_time(), LateResults()
    with (
        tempfile.TemporaryDirectory(prefix="convaid-replay-") as folder,
        open_journal(Path(folder, "journal.sqlite")) as journal,
    ):
        async with open_tool_calls(
            plugins,
            config,
            journal=journal,
            deliver=lambda _, late: late_results.put(late),
            hidden=hidden,
        ) as tool_calls:
            tool_calls.learn_response_timeouts(NAME, find_own_timeouts(plugins, config))
            replay = Replay(recording, redactor or Redactor(), time_limit)

            def publish(event: events.Event) -> None:
                replay.note(event)
                tool_calls.observe(event)

            session = Session(NAME, replay.link, LIMITS, tool_calls, publish, None, late_results=late_results)
            await replay.run(session)
    differences = tuple(sorted(replay.differences, key=lambda difference: difference.line))
    seconds = trio.current_time() - began
    return ReplayReport(differences, tuple(replay.transcript), tuple(replay.calls), tuple(replay.notes), seconds)


@define(eq=False)
class Replay:
    """One replay, and what has come of it so far."""

    recording: Recording
    redactor: Redactor
    time_limit: float
    link: MemoryLink = field(init=False, factory=MemoryLink)
    differences: list[Difference] = field(init=False, factory=list)
    transcript: list[str] = field(init=False, factory=list)
    calls: list[CallReport] = field(init=False, factory=list)
    notes: list[str] = field(init=False, factory=list)
    _played: dict[str, FrameLine] = field(init=False, factory=dict)
    """The calls so far, by their ids."""
    _results: dict[str, ClientToolResult] = field(init=False, factory=dict)
    _updates: list[str] = field(init=False, factory=list)
    _end: SessionEnd | None = field(init=False, default=None)
    _stop: trio.Event = field(init=False, factory=trio.Event)
    _has_changed: trio.Event = field(init=False, factory=trio.Event)

    async def run(self, session: Session) -> None:
        """Play all of it, or as much as there is time for."""
        number = 0
        if self.recording.is_cut:
            self.notes.append("the last line is cut off, and is not compared")
        with trio.move_on_after(self.time_limit) as limit:
            async with open_background() as nursery:
                nursery.start_soon(self._listen)
                nursery.start_soon(self._converse, session)
                for number, line in self.recording.lines.items():
                    await self._play(number, line)
                if self.recording.close is None:
                    self._stop.set()
                while self._end is None or self.link.from_us.statistics().current_buffer_used:
                    await self._has_changed.wait()
        if limit.cancelled_caught:
            self.differences.append(Difference(number, f"it was not over after {self.time_limit:g} s"))
            return
        self._compare_end()
        self._note_additions()

    def note(self, event: events.Event) -> None:
        """Take note of what happens."""
        match event:
            case events.ToolCallEnded(call=call, answer=answer):
                outcome, seconds, result = answer.outcome, answer.seconds, answer.result
                report = CallReport(call.tool_name, call.parameters, outcome, seconds, result, answer.is_error)
                self.calls.append(report)
                self.transcript.append(describe_call(report))

    # --- the platform's side ---------------------------------------------------------------------------------------

    async def _converse(self, session: Session) -> None:
        self._end = await session.run(ConversationInitiationClientData(), {}, self._stop, LAST_WORDS)
        self._tell()

    async def _listen(self) -> None:
        """Hear what our session sends; of what the user says, the recording has its own."""
        async for frame in self.link.from_us:
            match decode_to_agent(frame).message:
                case ClientToolResult() as result:
                    self._results[result.tool_call_id] = evolve(
                        result, result=self.redactor.redact_result(result.result)
                    )
                case ContextualUpdate(text=text):
                    self._updates.append(self.redactor.redact_text(text))
                    self.transcript.append(f"told: {text}")
            self._tell()

    def _tell(self) -> None:
        self._has_changed.set()
        self._has_changed = trio.Event()

    async def _play(self, number: int, line: Line) -> None:
        match line:
            case FrameLine(by="us"):
                await self._expect(number, line)
            case FrameLine(left_out=int(length)):
                self.notes.append(f"line {number}: a frame of {length} characters is not in the recording")
            case FrameLine(frame=None, text=text, binary=binary):
                self.link.to_us.send_nowait(text if text is not None else pybase64.b64decode(binary or ""))
            case FrameLine(frame=dict(frame)):
                self._note_line(frame)
                self.link.to_us.send_nowait(orjson.dumps(restore_frame(frame)).decode())
                if (call := find_call(line)) is not None:
                    self._played.setdefault(call["tool_call_id"], line)
                    await self._let_begin()
            case CloseLine(close=code, reason=reason):
                self.link.to_us.send_nowait(LinkClosed(code, reason))
            case LostLine(lost=count):
                self.notes.append(f"line {number}: {count} frames are not in the recording")

    async def _let_begin(self) -> None:
        """Let a call begin: an interruption that came after it finds it running, and so on."""
        from trio.testing import wait_all_tasks_blocked

        with trio.move_on_after(SETTLE_LIMIT):
            await wait_all_tasks_blocked(SETTLED)

    def _note_line(self, frame: Mapping[str, Any]) -> None:
        match frame:
            case {"agent_response_event": {"agent_response": str(text)}}:
                self.transcript.append(f"agent: {text}")
            case {"user_transcription_event": {"user_transcript": str(text)}}:
                self.transcript.append(f"user: {text}")

    # --- what differs ----------------------------------------------------------------------------------------------

    async def _expect(self, number: int, line: FrameLine) -> None:
        """Wait for what is in the recording, and hold what comes against it."""
        if (recorded := find_result(line)) is not None:
            call = self._played.get(recorded["tool_call_id"])
            if call is None:
                self.notes.append(f"line {number}: the call that this answers is not in the recording")
            elif recorded["result"] != STOPPED:  # it was we who ended the session, not the tool
                while recorded["tool_call_id"] not in self._results and self._end is None:
                    await self._has_changed.wait()
                self._compare_result(number, line, recorded, call)
        elif line.frame is not None and line.kind == "contextual_update":
            while not self._updates and self._end is None:
                await self._has_changed.wait()
            self._compare_update(number, line, str(line.frame.get("text")))

    def _compare_result(self, number: int, line: FrameLine, recorded: dict[str, Any], call: FrameLine) -> None:
        name = (find_call(call) or {})["tool_name"]
        now = self._results.get(recorded["tool_call_id"])
        if now is None:
            words = f"{name} has not answered: the session was over before"
            self.differences.append(Difference(number, words, describe_result(recorded), "nothing", ()))
            return
        mismatch, is_same_kind = find_mismatch(recorded["result"], now.result), recorded["is_error"] == now.is_error
        if mismatch is None and is_same_kind:
            return
        got = {"result": now.result, "is_error": now.is_error}
        what = f"{name} comes to {'an error' if now.is_error else 'a result'} now"
        if mismatch is not None:
            what = f"the result of {name}{': ' if mismatch else ' is another one'}{mismatch}"
            if is_redacted(call):
                what += "; what it was called with is redacted in the recording"
        accepted: list[Line] | None = None
        if isinstance(recorded["result"], str) or mismatch is None:
            kept = {"is_error": now.is_error} | ({} if mismatch is None else {"result": now.result})
            accepted = [evolve(line, frame=(line.frame or {}) | kept)]
        self.differences.append(Difference(number, what, describe_result(recorded), describe_result(got), accepted))

    def _compare_update(self, number: int, line: FrameLine, recorded: str) -> None:
        if not self._updates:
            words = "the agent is not told of a late result: the session was over before"
            self.differences.append(Difference(number, words, recorded, "nothing", ()))
        elif (now := self._updates.pop(0)) != recorded:
            accepted = [evolve(line, frame=(line.frame or {}) | {"text": now})]
            words = "what the agent is told late is something else"
            self.differences.append(Difference(number, words, recorded, now, accepted))

    def _compare_end(self) -> None:
        """An ending of the platform's is compared; one of ours was somebody's wish, or a matter of time."""
        number, recorded = next(
            ((number, line) for number, line in self.recording.lines.items() if isinstance(line, EndLine)), (0, None)
        )
        end = self._end
        if recorded is None or end is None:
            return
        was_theirs = self.recording.close is not None and recorded.end != Cause.ENDED_BY_USER
        if not was_theirs and recorded.end != Cause.OWN_FAULT:
            return
        if (recorded.end, recorded.code, recorded.error_type) == (end.cause, end.code, end.error_type):
            return
        accepted = EndLine(recorded.at, end.cause, end.code, end.detail, end.error_type, recorded.losses)
        expected, got = describe_end(recorded), describe_end(accepted)
        self.differences.append(Difference(number, "the session ended otherwise", expected, got, [accepted]))

    def _note_additions(self) -> None:
        """What our session has sent beyond the recording: each call has one answer, so it is what came late."""
        lines = self.recording.lines
        place = next((number for number, line in lines.items() if isinstance(line, CloseLine | EndLine)), None)
        last = max(lines, default=1)
        at = lines[last].at if lines else 0.0
        for text in self._updates:
            added = FrameLine(at, "us", {"type": "contextual_update", "text": text})
            words = "the agent is told late of something that is not in the recording"
            where = place or last + 1
            self.differences.append(Difference(where, words, "nothing", text, [added], is_addition=True))


def describe_end(end: EndLine) -> str:
    return f"{end.end}{f', {end.code}' if end.code else ''}: {end.detail}"
