"""Playing faults against convaid: a real conversation over real sockets, with tools, and what has come of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated

import trio
from attrs import define, field

from convaid import events, tool
from convaid.calls import ToolCalls, open_tool_calls
from convaid.config import ConversationConfig, LimitsConfig, Secret, ToolsConfig, WavConfig
from convaid.journal import open_journal
from convaid.plugins import Plugin, Plugins
from convaid.protocol.endings import Retry, SessionEnd
from convaid.simulator import ConversationRecord, Scenario, Simulator, SimulatorSettings, open_simulator
from convaid.simulator.faults import COUNT, WAIT, Fault
from convaid.simulator.wire import open_full_port, open_wire
from convaid.sound.sound import Sound
from convaid.supervisor import Conversation, keep_conversing

__all__ = ["API_KEY", "LIMITS", "Observation", "make_silent_sound", "open_tools", "play_fault", "play_faults"]

API_KEY = "sk_test_of_faults"
LIMITS = LimitsConfig(
    connect=0.7, handshake=0.7, disconnect=0.4, link_silence=0.9, ping_interval=0.2, answer=0.8, chunk=0.1
)
TIME_LIMIT = 30.0  # seconds for one fault
SLACK = 4.0  # seconds that a busy machine may take longer than a limit says
AT_ONCE = 8  # faults that are played at once
LAG_INTERVAL = 0.02  # seconds between two looks whether the machine keeps up
BUSY_LAG = 0.1  # seconds by which it is late when it does not


@tool
def count(number: Annotated[int, "which"]) -> int:
    """Return a number."""
    return number


@tool
async def wait(seconds: Annotated[float, "how long"]) -> None:
    """Wait."""
    await trio.sleep(seconds)


PLUGINS = Plugins((Plugin("faulty", "faulty", "faulty", "1", "ready", tools=(count, wait)),))
assert {count.name, wait.name} == {COUNT, WAIT}


@define(eq=False)
class Observation:
    """What has come of a fault."""

    fault: Fault
    records: Sequence[ConversationRecord] = ()
    ended: list[events.Ended] = field(factory=list)
    tool_calls: list[events.ToolCallEnded] = field(factory=list)
    is_over: bool = False
    """False where the time limit was reached."""

    @property
    def end(self) -> SessionEnd | None:
        """How the first session ended."""
        return self.ended[0].end if self.ended else None

    @property
    def record(self) -> ConversationRecord | None:
        """The simulator's record of the first conversation, if there was one."""
        return self.records[0] if self.records else None

    @property
    def goes_on(self) -> bool:
        """Whether the conversation came to its own end, as if nothing had happened."""
        return is_complete(self.record) and len(self.ended) == 1

    @property
    def comes_back(self) -> bool:
        """Whether the next conversation came to its end."""
        return len(self.ended) == 2 and bool(self.records) and is_complete(self.records[-1])

    def describe(self) -> str:
        """What convaid has done, in words."""
        losses = ", ".join(sorted(self.ended[0].losses)) if self.ended else ""
        if self.goes_on:
            return f"goes on; counted: {losses}" if losses else "goes on"
        end = self.end
        if end is None:
            return "hangs"
        words = str(end.cause) if end.code is None else f"{end.cause} ({end.code})"
        if self.fault.limit is not None:
            words += f", noticed by `{self.fault.limit}`"
        return f"{words}; connects again: {end.retry}{', and goes on' if self.comes_back else ''}"

    def describe_calls(self) -> str:
        """How many calls of the first conversation have had their answers."""
        record = self.record
        if record is None or not record.calls or len(self.records) < len(self.ended):  # it did not get so far
            return ""
        late, extra = record.counts["late result"], self.fault.extra_results
        answered = sum(call.result is not None for call in record.calls) + record.counts["unexpected result"]
        return f"{answered + late} of {len(record.calls) + extra}" + (f", {late} late" if late else "")

    def find_slips(self) -> list[str]:
        """What is not as the catalogue says."""
        return list(self._find_slips())

    def _find_slips(self) -> Iterator[str]:
        fault, end = self.fault, self.end
        if not self.is_over or end is None:
            yield f"not over after {TIME_LIMIT:g} s"
            return
        if fault.cause is None:
            if not self.goes_on:
                yield f"the conversation did not go on: {end}; {self.record and self.record.problem}"
        elif (end.cause, end.retry) != (fault.cause, fault.retry):
            yield f"ended by {end.cause}, again {end.retry}: {end}"
        if fault.retry is Retry.SOON and not fault.is_full and not self.comes_back:
            yield f"the next conversation did not come to its end: {self.ended[1:]}"
        if fault.limit is not None:
            limit, took = getattr(LIMITS, fault.limit), self.ended[0].seconds
            if not limit <= took < limit + SLACK:
                yield f"it took {took:.2f} s, and {fault.limit} is {limit:g} s"
        elif self.ended[0].seconds > SLACK * (3 if fault.is_heavy else 1):
            yield f"it took {self.ended[0].seconds:.2f} s"
        yield from self._find_wrong_answers()

    def _find_wrong_answers(self) -> Iterator[str]:
        ids = [ended.call.tool_call_id for ended in self.tool_calls]
        if len(ids) != len(set(ids)):
            yield f"a call was run twice: {ids}"
        for record in self.records:
            extra = record.counts["unexpected result"]
            if extra != (self.fault.extra_results if record is self.record else 0):
                yield f"{extra} results that nobody asked for"
            if is_complete(record):
                late = record.counts["late result"]
                silent = [call.tool_call_id for call in record.calls if call.result is None]
                if len(silent) != late:
                    yield f"without an answer: {silent}"


def is_complete(record: ConversationRecord | None) -> bool:
    """Whether the agent came to the end of its scenario, its second call answered, and hung up."""
    if record is None or record.ending is None or record.failure is not None or not record.calls:
        return False
    ending, last = record.ending, record.calls[-1]
    return (ending.closed_by, ending.code, last.parameters, last.result) == ("agent", 1000, {"number": 2}, "2")


# --- the wall clock --------------------------------------------------------------------------------------------------


@contextmanager
def open_wall_clock() -> Iterator[list[float]]:
    """Let the wall clock be set while this is open: it is ahead by the sum of what is in the list."""
    ahead: list[float] = []
    real = time.time
    time.time = lambda: real() + sum(ahead)
    try:
        yield ahead
    finally:
        time.time = real


# --- a fault ---------------------------------------------------------------------------------------------------------


def make_silent_sound(settings: ConversationConfig) -> Sound:
    """The sound of a voice conversation in which nobody speaks, and that nobody hears."""
    return Sound("faulty", settings, WavConfig())


@asynccontextmanager
async def open_tools(plugins: Plugins = PLUGINS, config: ToolsConfig | None = None) -> AsyncIterator[ToolCalls]:
    """What runs the tools, as the daemon does, with a journal that is gone at the end."""
    with tempfile.TemporaryDirectory() as folder, open_journal(Path(folder, "journal.sqlite")) as journal:
        async with open_tool_calls(plugins, config or ToolsConfig(), journal=journal) as tool_calls:
            yield tool_calls


@asynccontextmanager
async def open_platform(fault: Fault) -> AsyncIterator[tuple[Simulator, str]]:
    """A simulator at which the fault happens in the first conversation, and where to reach it."""
    after = Fault("after", "", is_voice=fault.is_voice, is_signed=fault.is_signed)
    scenarios: list[Scenario] = [fault.make_scenario(), after.make_scenario()]
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(open_simulator(SimulatorSettings(scenarios, API_KEY)))
        if fault.is_full:
            yield simulator, stack.enter_context(open_full_port())
        else:
            wire = await stack.enter_async_context(open_wire(simulator.base_url, [fault.wire]))
            yield simulator, wire.base_url


async def play_fault(fault: Fault, tool_calls: ToolCalls) -> Observation:
    """Have convaid converse where this fault happens."""
    seen = Observation(fault)
    stop = trio.Event()
    settings = ConversationConfig(
        agent_id="agent_demo", start="once", auth="signed_url" if fault.is_signed else "public", limits=LIMITS
    )
    with open_wall_clock() as ahead, trio.move_on_after(TIME_LIMIT):
        async with open_platform(fault) as (simulator, base_url), trio.open_nursery() as nursery:

            async def stop_soon() -> None:
                await trio.sleep(0.1)
                stop.set()

            async def set_clock() -> None:
                for seconds in fault.clock_steps:
                    await trio.sleep(0.05)
                    ahead.append(seconds)

            def publish(event: events.Event) -> None:
                match event:
                    case events.ToolCallEnded():
                        if not seen.tool_calls:
                            nursery.start_soon(set_clock)
                        if not seen.tool_calls and fault.stops:
                            nursery.start_soon(stop_soon)
                        seen.tool_calls.append(event)
                    case events.Ended():
                        seen.ended.append(event)
                    case events.RetryPlanned(end=end):
                        if end.retry is not Retry.SOON or len(seen.ended) > 1 or fault.is_full:
                            stop.set()

            sound = make_silent_sound(settings) if fault.is_voice else None
            if sound is not None:
                nursery.start_soon(sound.run)
            conversation = Conversation(
                "faulty",
                settings,
                base_url,
                Secret(API_KEY),
                tool_calls,
                publish,
                sound,
                stop,
                0.5,
            )
            await keep_conversing(conversation)
            seen.is_over = True
            with trio.move_on_after(SLACK):
                for record in simulator.conversations:
                    await record.ended.wait()
            seen.records = tuple(simulator.conversations)
            nursery.cancel_scope.cancel()
    return seen


async def play_faults(faults: Sequence[Fault]) -> list[Observation]:
    """Play several, many at once; returns what has come of each, in their order.

    What is not as it should be while the machine is too busy for short limits is played once more, alone.
    """
    seen: dict[str, Observation] = {}
    places, heavy_places = trio.CapacityLimiter(AT_ONCE), trio.CapacityLimiter(1)
    lag = 0.0

    async def play(fault: Fault, tool_calls: ToolCalls) -> None:
        async with heavy_places if fault.is_heavy else places:
            seen[fault.name] = await play_fault(fault, tool_calls)

    async def measure_lag() -> None:
        nonlocal lag
        while True:
            due = trio.current_time() + LAG_INTERVAL
            await trio.sleep_until(due)
            lag = max(lag, trio.current_time() - due)

    async with open_tools() as tool_calls, trio.open_nursery() as measuring:
        measuring.start_soon(measure_lag)
        async with trio.open_nursery() as nursery:
            for fault in faults:
                nursery.start_soon(play, fault, tool_calls)
        for fault in faults:
            if lag > BUSY_LAG and seen[fault.name].find_slips():
                seen[fault.name] = await play_fault(fault, tool_calls)
        measuring.cancel_scope.cancel()
    return [seen[fault.name] for fault in faults]
