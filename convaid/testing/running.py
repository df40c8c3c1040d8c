"""Running a scenario against the installed plugins: a real conversation over loopback, and what has come of it.

The simulator plays the agent and says the user's part, one conversation for each way through the scenario's branches.
Tools run as the daemon runs them, under the configuration's policies, with a journal of their own that is gone at the
end. Where their plugins keep their state is the plugins' say: in `open_temporary_state` it is a folder that is gone at
the end, too.
"""

from __future__ import annotations

import itertools
import math
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import trio
from attrs import define, field, frozen

from convaid import events
from convaid.calls import open_tool_calls
from convaid.config import ConversationConfig, ToolsConfig
from convaid.journal import open_journal
from convaid.narration import shorten
from convaid.plugins import Plugins
from convaid.protocol.endings import SessionEnd
from convaid.simulator import (
    ConversationRecord,
    Failure,
    Reciter,
    Scenario,
    Simulator,
    SimulatorSettings,
    open_simulator,
)
from convaid.simulator.placeholders import list_variables
from convaid.simulator.scenario import Branch, Call, Step
from convaid.simulator.starting import find_placeholders
from convaid.supervisor import Conversation, NotConnected, keep_conversing

__all__ = ["CallReport", "ScenarioReport", "describe_call", "open_temporary_state", "run_scenario"]

STATE_PLACES = ("STATE_DIRECTORY", "XDG_STATE_HOME")
ANY_AGENT = "agent_demo"
NAME = "test"  # of the conversation, as tools and observers see it
TIME_LIMIT = 60.0  # seconds for one way through a scenario, if nobody says otherwise
LAST_WORDS = 1.0  # seconds for tools that still run when the conversation is broken off
GOODBYE = 2.0  # seconds for the simulator to notice that the conversation is over
MOST_WAYS = 50  # through one scenario: more are a mistake, or a product of branches that nobody reads


@frozen
class CallReport:
    """A call of a tool: what it was called with, and what came of it in how many seconds."""

    tool: str
    parameters: Any
    outcome: events.Outcome
    seconds: float
    result: str
    is_error: bool


@frozen
class ScenarioReport:
    """What came of a scenario: passed, or what was not as it should be, and where; of all its ways together.

    ``transcript`` is of the last conversation, the one that failed if one did, tool calls included, a line each.
    ``ways`` is how many there were; 0 where there is no scenario to be read. ``skipped`` says why nothing was tested.
    """

    name: str
    failure: Failure | None
    transcript: Sequence[str] = ()
    calls: Sequence[CallReport] = ()
    seconds: float = 0.0
    ways: int = 0
    skipped: str = ""

    @property
    def passed(self) -> bool:
        return self.failure is None

    @property
    def is_readable(self) -> bool:
        return self.ways > 0


async def run_scenario(
    scenario: Scenario,
    plugins: Plugins,
    config: ToolsConfig | None = None,
    *,
    time_limit: float = TIME_LIMIT,
    hidden: Collection[str] = (),
) -> ScenarioReport:
    """Run a scenario on each way through its branches, until one fails; raises nothing that a plugin is to blame for.

    ``time_limit`` is for each way, in seconds; ``hidden`` names variables of the environment that no process of a
    plugin's gets.
    """
    if scenario.brain is not None:
        words = "a language model plays the agent, in other words each time; `convaid chat --scenario` talks to it"
        return ScenarioReport(scenario.name, None, skipped=words)
    began = trio.current_time()
    calls: list[CallReport] = []
    way: Sequence[int] = ()
    for ways in itertools.count(1):
        run = Run(scenario, plugins, config or ToolsConfig(), hidden, way)
        failure = await run.hold(time_limit)
        calls += run.calls
        next_way = run.reciter.find_next_way()
        if failure is None and next_way is not None and ways == MOST_WAYS:
            words = f"more than {MOST_WAYS} ways lead through its branches: make it several scenarios"
            failure = Failure("steps", words)
        if failure is not None or next_way is None:
            break
        way = next_way
    seconds = trio.current_time() - began
    return ScenarioReport(scenario.name, failure, run.write_transcript(), tuple(calls), seconds, ways)


@contextmanager
def open_temporary_state() -> Iterator[None]:
    """Let what looks for a place to keep its state find a new one, which is gone at the end; load plugins in it.

    For one at a time: it is the environment of the process that is changed.
    """
    before = {name: os.environ.get(name) for name in STATE_PLACES}
    with tempfile.TemporaryDirectory(prefix="convaid-test-") as folder:
        os.environ.update(dict.fromkeys(STATE_PLACES, folder))
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)  # whoever else changed it may have put it away
                if value is not None:
                    os.environ[name] = value


@define(eq=False)
class Run:
    """One conversation of a scenario's, and what has come of it."""

    scenario: Scenario
    plugins: Plugins
    config: ToolsConfig
    hidden: Collection[str]
    way: Sequence[int]
    reciter: Reciter = field(init=False)
    calls: list[CallReport] = field(init=False, factory=list)
    _record: ConversationRecord | None = field(init=False, default=None)
    _end: SessionEnd | None = field(init=False, default=None)
    _tool_lines: list[tuple[float, str]] = field(init=False, factory=list)
    _connected: trio.Event = field(init=False, factory=trio.Event)
    _stop: trio.Event = field(init=False, factory=trio.Event)

    async def hold(self, time_limit: float) -> Failure | None:
        """Hold the conversation; returns what was not as it should be."""
        say, lines = trio.open_memory_channel[str](math.inf)
        self.reciter = Reciter(say.send_nowait, self.way)
        # In text, and with an agent that anybody may talk to: it is the tools that are tested.
        agent = attrs.evolve(self.scenario.agent, text_only=True, requires_authorization=False)
        scenario = attrs.evolve(self.scenario, agent=agent)
        with say, lines, trio.move_on_after(time_limit) as limit:
            async with open_simulator(SimulatorSettings([scenario], reciter=self.reciter)) as simulator:
                await self._converse(simulator, lines)
        return self._find_failure(time_limit if limit.cancelled_caught else None)

    async def _converse(self, simulator: Simulator, lines: trio.MemoryReceiveChannel[str]) -> None:
        settings = ConversationConfig(agent_id=self.scenario.agent.id or ANY_AGENT, start="once")
        with (
            tempfile.TemporaryDirectory(prefix="convaid-test-") as folder,
            open_journal(Path(folder, "journal.sqlite")) as journal,
        ):
            async with open_tool_calls(
                self.plugins,
                self.config,
                journal=journal,
                deliver=lambda _, late: conversation.late_results.put(late),
                hidden=self.hidden,
            ) as tool_calls:

                def publish(event: events.Event) -> None:
                    self._note(event, simulator)
                    tool_calls.observe(event)

                conversation = Conversation(
                    NAME, settings, simulator.base_url, None, tool_calls, publish, None, self._stop, LAST_WORDS
                )
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._say_lines, conversation, lines)
                        self._end = await keep_conversing(conversation)
                        with trio.move_on_after(GOODBYE):
                            await simulator.wait_conversation()
                        nursery.cancel_scope.cancel()
                finally:
                    self._record = next(iter(simulator.conversations), None)

    async def _say_lines(self, conversation: Conversation, lines: trio.MemoryReceiveChannel[str]) -> None:
        await self._connected.wait()
        async for line in lines:
            with suppress(NotConnected):  # it is over: what comes of that, the record tells
                conversation.say(line)

    def _note(self, event: events.Event, simulator: Simulator) -> None:
        """Take note of what happens; of a call's outcome before its answer is sent, so that the simulator knows it."""
        match event:
            case events.Connected():
                self._connected.set()
            case events.RetryPlanned():
                self._stop.set()
            case events.ToolCallEnded(call=call, answer=answer):
                report = CallReport(
                    call.tool_name, call.parameters, answer.outcome, answer.seconds, answer.result, answer.is_error
                )
                self.calls.append(report)
                self._tool_lines.append((trio.current_time(), describe_call(report)))
                for record in simulator.conversations[0].calls:
                    if record.tool_call_id == call.tool_call_id:
                        record.outcome = answer.outcome

    def _find_failure(self, exceeded: float | None) -> Failure | None:
        record = self._record
        if record is None:
            if self._end is not None:
                return Failure("", f"the conversation did not begin: {self._end.detail}")
            opening = [plugin.name for plugin in self.plugins.ready if plugin.lifespan is not None]
            why = f"the plugin {' or '.join(opening)} takes too long to open" if opening else "no time was left"
            return Failure("", f"the conversation did not begin within {exceeded:g} s: {why}")
        if record.failure is not None:
            return record.failure
        if exceeded is not None:
            return Failure(record.place, f"it was not over after {exceeded:g} s")
        if record.is_played or self.scenario.refusal is not None:
            return self._find_slip() or self._find_unfilled(record)
        ending = record.ending
        words = f"closed by the {ending.closed_by}, {ending.code} {ending.reason}".rstrip() if ending else "no end"
        return Failure(record.place, f"the conversation was over before the scenario was: {words}")

    def _find_slip(self) -> Failure | None:
        """A tool that nobody has, called by a scenario that does not say so: its name is misspelt, most likely."""
        rules = [rule.call for rule in self.scenario.rules if rule.call is not None]
        written = [*find_calls(self.scenario.steps), *rules]
        is_expected = any(call.expect_outcome == "unknown" for call in written)
        for call in self.calls:
            if call.outcome == "unknown" and not is_expected:
                remedy = 'correct its name, or expect that: expect_outcome = "unknown"'
                return Failure("", f"nobody offers the tool {call.tool}, which was called; {remedy}", got=call.result)
        return None

    def _find_unfilled(self, record: ConversationRecord) -> Failure | None:
        """A dynamic variable that had no value: the agent has said its name, in braces, or called a tool with it."""
        said = [line.text for line in record.transcript if line.speaker == "agent"]
        called = [f"{call.tool}({call.parameters})" for call in self.calls]
        for name in list_variables(self.scenario):
            for text in said + called:
                if name in find_placeholders(text):
                    remedy = "give it one in [agent.dynamic_variables]"
                    return Failure("", f'the dynamic variable "{name}" had no value; {remedy}', got=text)
        return None

    def write_transcript(self) -> tuple[str, ...]:
        """What was said and called, in order, a line each."""
        if self._record is None:
            return ()
        began = self._record.started_at
        said = [(began + line.at, f"{line.speaker}: {line.text}") for line in self._record.transcript]
        return tuple(line for _, line in sorted(said + self._tool_lines, key=lambda timed: timed[0]))


def find_calls(steps: Iterable[Step]) -> Iterator[Call]:
    """All calls among some steps, those of the ways on from branches included."""
    for step in steps:
        if isinstance(step, Call):
            yield step
        elif isinstance(step, Branch):
            for alternative in step.among:
                yield from find_calls(alternative.steps)


def describe_call(call: CallReport) -> str:
    """A call of a tool in one line."""
    ending = f"{call.outcome}, {call.seconds * 1000:.1f} ms"
    return f"tool: {call.tool}({shorten(call.parameters)}) -> {shorten(call.result)}  [{ending}]"
