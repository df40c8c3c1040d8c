"""Many text conversations in one process."""

from __future__ import annotations

import asyncio
from time import perf_counter

from neutral_platform import Platform
from running import STACKS, Contestant, Run, run_contestant
from scale import Scale
from table import Row

__all__ = ["measure_crowd"]

PING_INTERVAL = 2.0  # seconds between the platform's pings, as the real one has them
ANSWER_LIMIT = 15.0  # seconds for one call on each conversation


async def measure_crowd(platform: Platform, scale: Scale) -> list[Row]:
    """One process after the other; what a conversation takes is the difference to a process with a single one."""
    memory: dict[Contestant, list[float]] = {}
    living: dict[Contestant, list[float]] = {}
    answering: dict[Contestant, list[float]] = {}
    for contestant in (*STACKS, Contestant.FLOOR):
        async with run_contestant(contestant, platform) as run:
            await asyncio.sleep(scale.settling)
            one = run.measure_memory()
        async with run_contestant(contestant, platform, count=scale.crowd) as run:
            await asyncio.sleep(scale.settling)
            memory[contestant] = [(run.measure_memory() - one) * 1024 / (scale.crowd - 1)]
            living[contestant] = [await watch_life(run, scale.listening) * 1000 * 60 / scale.crowd]
            answering[contestant] = [await call_everybody(run) * 1000 for _ in range(scale.slow_rounds)]
    crowd = f"{scale.crowd} text conversations in one process"
    return [
        Row(f"{crowd}: memory for each, KB", memory),
        Row(f"{crowd}: CPU of each, a ping every 2 s, ms per minute", living),
        Row(f"{crowd}: one sync call on each at once, ms to the last result", answering),
    ]


async def watch_life(run: Run, lasting: float) -> float:
    """CPU seconds per second of a process whose conversations are pinged, evenly spread over the interval."""
    start, before = perf_counter(), run.measure_cpu()
    pause = PING_INTERVAL / len(run.conversations)
    number = 0
    while (now := perf_counter()) < start + lasting:
        await run.conversations[number % len(run.conversations)].ping()
        number += 1
        await asyncio.sleep(max(0.0, start + number * pause - now))
    return (run.measure_cpu() - before) / (perf_counter() - start)


async def call_everybody(run: Run) -> float:
    start = perf_counter()
    async with asyncio.timeout(ANSWER_LIMIT):
        await asyncio.gather(*(conversation.call("do_nothing") for conversation in run.conversations))
    return perf_counter() - start
