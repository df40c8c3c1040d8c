"""Hundreds of text conversations in one process, with convaid's simulator in another."""

from __future__ import annotations

import asyncio

from attrs import frozen
from neutral_platform import Platform
from running import STACKS, Contestant, Run, run_contestant
from scale import Scale
from simulated_platform import SimulatedPlatform, open_simulated_platform
from table import Latencies, Row

__all__ = ["measure_load"]

LOOK_INTERVAL = 0.1  # seconds between two looks whether the last results have come
RESULT_LIMIT = 3.0  # seconds after which a call without a result counts as lost


@frozen
class Watched:
    """What was seen of a process."""

    seconds: list[float]
    """Of each call that has a result."""
    lost: int
    """Calls without one, and conversations that have ended."""
    cpu: float
    """Seconds of the processor's in a second."""


async def measure_load(_: Platform, scale: Scale) -> list[Row]:
    """One process after the other; what a conversation takes is the difference to a process with a single one."""
    memory: dict[Contestant, list[float]] = {}
    cpu: dict[Contestant, list[float]] = {}
    lost: dict[Contestant, list[float]] = {}
    latencies = Latencies()
    count = scale.load
    for contestant in (*STACKS, Contestant.FLOOR):
        async with open_simulated_platform(scale.call_interval, 1) as one, run_contestant(contestant, one) as run:
            await asyncio.sleep(scale.settling + 2 * scale.call_interval)
            alone = run.measure_memory()
        async with (
            open_simulated_platform(scale.call_interval, count) as many,
            run_contestant(contestant, many, count=count) as run,
        ):
            await asyncio.sleep(scale.settling + 2 * scale.call_interval)
            rounds = [await watch(run, many, scale.watching) for _ in range(scale.rounds)]
            memory[contestant] = [(run.measure_memory() - alone) * 1024 / (count - 1)]
        cpu[contestant] = [watched.cpu * 1000 * 60 / count for watched in rounds]
        lost[contestant] = [float(sum(watched.lost for watched in rounds))]
        for watched in rounds:
            latencies.add(contestant, watched.seconds)
    load = f"{count} text conversations with the simulator, a sync call on each every {scale.call_interval:g} s"
    return [
        Row(f"{load}: memory for each, KB", memory),
        Row(f"{load}: CPU of each, ms per minute", cpu),
        latencies.make_row(f"{load}: a call, ms (p99)", 1000),
        Row(f"{load}: calls and conversations lost", lost),
    ]


async def watch(run: Run, platform: SimulatedPlatform, lasting: float) -> Watched:
    """Watch what is going on for so many seconds, and wait for the last results."""
    begin, before = await platform.report(), run.measure_cpu()
    await asyncio.sleep(lasting)
    end, after = await platform.report(), run.measure_cpu()
    last = end
    while True:
        calls = [seconds for asked_at, seconds in last.calls if begin.now <= asked_at < end.now]
        answered = [seconds for seconds in calls if seconds is not None]
        if len(answered) == len(calls) or last.now > end.now + RESULT_LIMIT:
            break
        await asyncio.sleep(LOOK_INTERVAL)
        last = await platform.report()
    return Watched(answered, len(calls) - len(answered) + last.ended, (after - before) / (end.now - begin.now))
