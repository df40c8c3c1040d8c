"""From nothing to a conversation."""

from __future__ import annotations

import asyncio

from neutral_platform import Platform
from running import STACKS, Contestant, run_contestant
from scale import Scale
from table import Row

__all__ = ["measure_start_up"]

MEMORY_DELAY = 0.3  # seconds after the connection, for what is loaded late


async def measure_start_up(platform: Platform, scale: Scale) -> list[Row]:
    """Start each contestant anew in each round; one round more, which is not counted, has Python compile everything."""
    contestants = (*STACKS, Contestant.FLOOR)
    seconds: dict[Contestant, list[float]] = {contestant: [] for contestant in contestants}
    memory: dict[Contestant, list[float]] = {contestant: [] for contestant in contestants}
    for number in range(scale.rounds + 1):
        for contestant in contestants:
            async with run_contestant(contestant, platform) as run:
                await asyncio.sleep(MEMORY_DELAY)
                if number:
                    seconds[contestant].append((run.conversation.began - run.started) * 1000)
                    memory[contestant].append(run.measure_memory())
    return [
        Row("process start to first metadata handled, ms", seconds),
        Row("resident memory after connecting, MB", memory),
    ]
