"""convaid's simulator as the platform, in a process of its own: it calls a tool on each conversation now and then.

As a program (arguments: seconds between two calls of a conversation; how many conversations share that time evenly) it
prints its address, and then a report for each line that it reads.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen
from running import make_environment

if TYPE_CHECKING:
    from convaid.simulator import Simulator
    from convaid.simulator.scenario import Scenario

__all__ = ["Report", "SimulatedPlatform", "open_simulated_platform"]

CALLS = 2000  # on one conversation, at most
PING_INTERVAL = 2.0  # seconds between the platform's pings
LONGEST = 3600.0  # seconds
LOOK_INTERVAL = 0.1  # seconds between two looks whether another conversation has begun


# --- for whoever measures ---------------------------------------------------------------------------------------------


@frozen
class Report:
    """What the platform has seen so far. Times are seconds of its own clock."""

    now: float
    begun: int
    ended: int
    calls: list[tuple[float, float | None]]
    """When each was made, and how long its result took; None: there is none yet."""


@define(eq=False)
class SimulatedPlatform:
    """The process, from outside."""

    process: asyncio.subprocess.Process
    base_url: str
    _accepted: int = field(init=False, default=0)

    async def accept(self, agent_id: str) -> None:
        """Wait until one more conversation has begun."""
        while (await self.report()).begun <= self._accepted:  # noqa: ASYNC110 - it is in another process
            await asyncio.sleep(LOOK_INTERVAL)
        self._accepted += 1

    async def report(self) -> Report:
        """What it has seen so far."""
        assert self.process.stdin
        self.process.stdin.write(b"\n")
        return Report(**json.loads(await self._read_line()))

    async def _read_line(self) -> bytes:
        assert self.process.stdout
        return await self.process.stdout.readuntil(b"\n")


@asynccontextmanager
async def open_simulated_platform(call_interval: float, count: int) -> AsyncIterator[SimulatedPlatform]:
    """Start it; it is killed at the end."""
    with tempfile.TemporaryDirectory(prefix="convaid-bench-") as name:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            str(call_interval),
            str(count),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=make_environment(Path(name)),
            limit=2**26,
        )
        try:
            assert process.stdout
            yield SimulatedPlatform(process, (await process.stdout.readline()).decode().strip())
        finally:
            process.kill()
            await process.wait()


# --- in the process itself --------------------------------------------------------------------------------------------


@frozen
class Supply:
    """Has every conversation ping and call at its own time, however many connect at once."""

    call_interval: float
    count: int

    def make_scenario(self, number: int) -> Scenario:
        from convaid.simulator.scenario import Agent, Call, Scenario, Silence

        share = (number % self.count + 1) / self.count
        agent = Agent(
            text_only=True,
            metadata_delay=PING_INTERVAL * share,
            ping_interval=PING_INTERVAL,
            input_limit=LONGEST,
            max_duration=LONGEST,
        )
        calls = [Call("do_nothing", wait=False), Silence(self.call_interval)] * CALLS
        return Scenario("load", agent, steps=[Silence(self.call_interval * share), *calls])

    def begin(self, number: int, port: int) -> None:
        """Nothing is to be done."""


async def serve(call_interval: float, count: int) -> None:
    import trio

    from convaid.simulator import SimulatorSettings, open_simulator

    async with open_simulator(SimulatorSettings(supply=Supply(call_interval, count))) as simulator:
        print(simulator.base_url, flush=True)
        while await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            print(json.dumps(write_report(simulator)), flush=True)


def write_report(simulator: Simulator) -> dict[str, Any]:
    import trio

    records = simulator.conversations
    return {
        "now": trio.current_time(),
        "begun": sum(record.sent["conversation_initiation_metadata"] for record in records),
        "ended": sum(record.ending is not None for record in records),
        "calls": [(call.asked_at, call.seconds) for record in records for call in record.calls],
    }


if __name__ == "__main__":
    import trio

    trio.run(serve, float(sys.argv[1]), int(sys.argv[2]))
