"""Ending, and what goes wrong."""

from __future__ import annotations

import asyncio
import signal
from statistics import quantiles
from time import perf_counter

from neutral_platform import Platform
from running import SDKS, STACKS, Contestant, run_contestant
from scale import Scale
from table import Row

__all__ = ["measure_trouble"]

HEAD_START = 0.8  # seconds that a tool has worked when its process is asked to stop
TOOL = "do_nothing_async"
PROBE_INTERVAL = 0.02  # seconds between the pings and calls beside a plugin that blocks
MARGIN = 3.0  # seconds for answers to come once the plugin blocks no more
EXIT_LIMIT = 30.0  # seconds for a process to end


async def measure_trouble(platform: Platform, scale: Scale) -> list[Row]:
    """Stops and dead links are waited for together, as nobody works meanwhile; plugins that block come one by one."""
    stops: dict[Contestant, list[float]] = {}
    seen: dict[Contestant, str] = {}
    noticed: dict[Contestant, list[float]] = {}
    too_late: dict[Contestant, str] = {}

    async def watch_stops(contestant: Contestant) -> None:
        for _ in range(min(2, scale.slow_rounds)):
            seconds, seen[contestant] = await stop_at_work(platform, contestant, scale.work)
            stops.setdefault(contestant, []).append(seconds * 1000)

    async def watch_dead_link(contestant: Contestant) -> None:
        seconds = await kill_link(platform, contestant, scale.patience)
        if seconds is None:
            too_late[contestant] = f"> {scale.patience:g}"
        else:
            noticed[contestant] = [seconds]

    async with asyncio.TaskGroup() as group:
        for contestant in STACKS:
            group.create_task(watch_stops(contestant))
            group.create_task(watch_dead_link(contestant))
    return [
        Row(f"SIGTERM while a {scale.work:g} s sync tool runs: process gone after, ms", stops, remarks=seen),
        Row("half-open link: given up, and connected anew, after, s", noticed, remarks=too_late),
        *await measure_blocking(platform, scale),
    ]


async def stop_at_work(platform: Platform, contestant: Contestant, work: float) -> tuple[float, str]:
    """Stop a process in the middle of a tool call; returns the seconds until it is gone, and what the agent saw."""
    async with run_contestant(contestant, platform) as run:
        await run.conversation.start_call("wait", work)
        await asyncio.sleep(min(HEAD_START, work / 2))
        asked = perf_counter()
        run.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(EXIT_LIMIT):
            frames = await run.conversation.read_to_end()
            code = await run.conversation.wait_closed()
            await run.process.wait()
        gone = perf_counter()
    is_answered = any(frame.get("type") == "client_tool_result" for frame in frames)
    return gone - asked, f"(agent sees {'an answer' if is_answered else 'no answer'}, {code})"


async def kill_link(platform: Platform, contestant: Contestant, patience: float) -> float | None:
    """Let a connection go half-open; returns the seconds until the contestant has done something about it."""
    async with run_contestant(contestant, platform) as run:
        start = perf_counter()
        run.conversation.stop_hearing()
        noticed = [
            asyncio.create_task(platform.accept(run.agent_id)),
            asyncio.create_task(run.process.wait()),
        ]
        done, open_tasks = await asyncio.wait(noticed, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        seconds = perf_counter() - start
        for task in open_tasks:
            task.cancel()
    return seconds if done else None


async def measure_blocking(platform: Platform, scale: Scale) -> list[Row]:
    """Pongs and calls in calm, and then beside an async tool that blocks; sent on a schedule, answered or not."""
    calm_pongs: dict[Contestant, list[float]] = {}
    calm_calls: dict[Contestant, list[float]] = {}
    pongs: dict[Contestant, list[float]] = {}
    calls: dict[Contestant, list[float]] = {}
    for contestant in (Contestant.CONVAID, *SDKS):
        async with run_contestant(contestant, platform) as run:
            await run.conversation.call_many(TOOL, scale.calls // 2, 1)
            for pong_row, call_row, lasting in (
                (calm_pongs, calm_calls, scale.work / 2),
                (pongs, calls, scale.work),
            ):
                if pong_row is pongs:
                    await run.conversation.start_call("block", scale.work)
                seconds, others = await run.conversation.probe(TOOL, PROBE_INTERVAL, lasting, lasting + MARGIN)
                pong_row[contestant] = [quantiles(seconds, n=100)[-1] * 1000]
                call_row[contestant] = [quantiles(others, n=100)[-1] * 1000]
    blocked = f"beside an async tool that blocks for {scale.work:g} s"
    return [
        Row("nothing blocks: pong, p99, ms", calm_pongs),
        Row(f"{blocked}: pong, p99, ms", pongs),
        Row("nothing blocks: async no-op tool, p99, ms", calm_calls),
        Row(f"{blocked}: another plugin's async no-op tool, p99, ms", calls),
    ]
