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
    """Pongs and calls in calm, and then beside tools that do their worst; sent on a schedule, answered or not."""
    lasting, crowd = f"{scale.work:g} s", scale.parallel // 2  # convaid runs no more than 500 calls at once
    troubles = {
        "nothing blocks": ("", 0),
        f"beside an async tool that blocks for {lasting}": ("block", 1),
        f"beside a sync tool that computes for {lasting}": ("compute", 1),
        f"beside {crowd} sync tools that wait for {lasting}": ("wait", crowd),
    }
    pongs: dict[str, dict[Contestant, list[float]]] = {trouble: {} for trouble in troubles}
    calls: dict[str, dict[Contestant, list[float]]] = {trouble: {} for trouble in troubles}
    for contestant in (Contestant.CONVAID, *SDKS):
        for trouble, (tool, times) in troubles.items():
            async with run_contestant(contestant, platform) as run:
                await run.conversation.call_many(TOOL, scale.calls // 2, 1)
                for _ in range(times):
                    await run.conversation.start_call(tool, scale.work)
                of_pongs, of_calls = await run.conversation.probe(TOOL, PROBE_INTERVAL, scale.work, scale.work + MARGIN)
            pongs[trouble][contestant] = [quantiles(of_pongs, n=100)[-1] * 1000]
            calls[trouble][contestant] = [quantiles(of_calls, n=100)[-1] * 1000]
    return [
        row
        for trouble in troubles
        for row in (
            Row(f"{trouble}: pong, p99, ms", pongs[trouble]),
            Row(f"{trouble}: another async no-op tool, p99, ms", calls[trouble]),
        )
    ]
