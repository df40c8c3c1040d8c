"""Tool calls on one text conversation: how long one takes, how many there can be."""

from __future__ import annotations

import asyncio
from time import perf_counter

from neutral_platform import Conversation, Platform
from running import CALLED, SDKS, Contestant, Run, run_contestants
from scale import Scale
from table import Latencies, Row

__all__ = ["measure_tool_calls"]

PACE = 0.04  # seconds between calls: even that is far more than any agent makes
IN_FLIGHT = 100
WAIT = 0.1  # seconds that a tool of the parallel calls takes
UNKNOWN = "x"  # a tool that nobody has; convaid answers without running anything

SYNC, ASYNC = "do_nothing", "do_nothing_async"


async def measure_tool_calls(platform: Platform, scale: Scale) -> list[Row]:
    """All contestants are connected all the time and take turns, a block of calls each."""
    async with run_contestants(CALLED, platform) as runs:
        for run in runs:
            for tool in (SYNC, ASYNC):
                await run.conversation.call_many(tool, scale.calls // 2, 1)
        return [
            *await measure_single_calls(runs, scale),
            *await measure_paced_calls(runs, scale),
            *await measure_parallel_calls(runs, scale),
            *await measure_floods(runs, scale),
        ]


def take_turns(runs: list[Run], number: int) -> list[Run]:
    """The contestants in an order that is another one in each round."""
    start = number % len(runs)
    return runs[start:] + runs[:start]


async def measure_single_calls(runs: list[Run], scale: Scale) -> list[Row]:
    pongs, sync, async_, unknown = Latencies(), Latencies(), Latencies(), Latencies()
    for number in range(scale.rounds):
        for run in take_turns(runs, number):
            conversation = run.conversation
            pongs.add(run.contestant, [await conversation.ping() for _ in range(scale.calls)])
            sync.add(run.contestant, await call_again_and_again(conversation, SYNC, scale.calls))
            async_.add(run.contestant, await call_again_and_again(conversation, ASYNC, scale.calls))
            if run.contestant is Contestant.CONVAID:
                unknown.add(run.contestant, await call_again_and_again(conversation, UNKNOWN, scale.calls))
    return [
        pongs.make_row("protocol ping to pong, µs (p99)", 1e6),
        sync.make_row("sync no-op tool, one after the other, µs (p99)", 1e6),
        async_.make_row("async no-op tool, one after the other, µs (p99)", 1e6),
        *explain_time(sync, async_, unknown),
    ]


def explain_time(sync: Latencies, async_: Latencies, unknown: Latencies) -> list[Row]:
    """Where convaid's time goes: what the floor has too, what the session adds, what the wall around plugins adds."""
    floor, session = sync.get_rounds(Contestant.FLOOR), unknown.get_rounds(Contestant.CONVAID)
    thread, room = sync.get_rounds(Contestant.CONVAID), async_.get_rounds(Contestant.CONVAID)
    parts = [
        ("the wire and trio-websocket (the floor)", floor, [0.0] * len(floor)),
        ("session, log, call machinery (a call of an unknown tool, less the floor)", session, floor),
        ("hop into a worker thread and back (sync tool, less unknown tool)", thread, session),
        ("hop into the plugin's room and back (async tool, less unknown tool)", room, session),
    ]
    return [
        Row(f"of it: {title}, µs", {Contestant.CONVAID: [(a - b) * 1e6 for a, b in zip(whole, part, strict=True)]})
        for title, whole, part in parts
    ]


async def call_again_and_again(conversation: Conversation, tool: str, count: int) -> list[float]:
    return [await conversation.call(tool) for _ in range(count)]


async def measure_paced_calls(runs: list[Run], scale: Scale) -> list[Row]:
    rows = []
    for tool, kind in ((SYNC, "sync"), (ASYNC, "async")):
        latencies = Latencies()
        for number in range(scale.slow_rounds):
            for run in take_turns(runs, number):
                if tool == SYNC and run.contestant is Contestant.LOOP:
                    continue  # its sync tools run as those of AsyncConversation do
                latencies.add(run.contestant, await call_steadily(run.conversation, tool, scale.paced_calls))
        rows.append(latencies.make_row(f"{kind} no-op tool, one every 40 ms, µs", 1e6, has_tails=False))
    return rows


async def call_steadily(conversation: Conversation, tool: str, count: int) -> list[float]:
    seconds = []
    start = perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number * PACE - perf_counter()))
        seconds.append(await conversation.call(tool))
    return seconds


async def measure_parallel_calls(runs: list[Run], scale: Scale) -> list[Row]:
    rows = []
    for tool, kind in (("wait_async", "async"), ("wait", "sync")):
        rounds: dict[Contestant, list[float]] = {}
        lost: dict[Contestant, int] = {}
        for number in range(scale.slow_rounds):
            for run in take_turns(runs, number):
                is_slow = tool == "wait" and run.contestant in SDKS
                if run.contestant is Contestant.FLOOR or (is_slow and number):
                    continue  # eight seconds, of which nothing is chance
                if is_slow and run.contestant is Contestant.LOOP:
                    continue
                batch = await run.conversation.call_many(tool, scale.parallel, scale.parallel, WAIT)
                rounds.setdefault(run.contestant, []).append(batch.seconds * 1000)
                lost[run.contestant] = lost.get(run.contestant, 0) + batch.lost
        title = f"{scale.parallel} calls at once of a 100 ms {kind} tool, ms to the last result"
        rows.append(Row(title, rounds, remarks=describe_losses(lost)))
    return rows


async def measure_floods(runs: list[Run], scale: Scale) -> list[Row]:
    rows = []
    for tool, kind in ((SYNC, "sync"), (ASYNC, "async")):
        rounds: dict[Contestant, list[float]] = {}
        lost: dict[Contestant, int] = {}
        for number in range(scale.slow_rounds):
            for run in take_turns(runs, number):
                batch = await run.conversation.call_many(tool, scale.flood, IN_FLIGHT)
                rounds.setdefault(run.contestant, []).append(batch.answered / batch.seconds)
                lost[run.contestant] = lost.get(run.contestant, 0) + batch.lost
        title = f"{kind} no-op tool, {IN_FLIGHT} in flight, calls per second"
        rows.append(Row(title, rounds, remarks=describe_losses(lost), is_more_better=True))
    return rows


def describe_losses(lost: dict[Contestant, int]) -> dict[Contestant, str]:
    return {contestant: f"({count} lost)" for contestant, count in lost.items() if count}
