"""What it costs where a tool runs: the same no-op in each place, with and without the journal of tool calls."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from attrs import evolve
from neutral_platform import Platform
from running import Contestant, run_contestant
from scale import Scale
from table import Latencies, Row, format_number

from rows.tool_calls import call_again_and_again

__all__ = ["measure_places"]

PLUGINS = ("convaid_bench", "convaid_asyncio", "convaid_process")
PLACES = {
    "do_nothing": "in a worker thread",
    "do_nothing_async": "in a trio room",
    "do_nothing_asyncio": "in an asyncio room",
    "do_nothing_process": "in a process",
}


async def measure_places(platform: Platform, scale: Scale) -> list[Row]:
    """Two daemons, one of them without a journal, are connected all the time and take turns, a block of calls each."""
    recorded = {tool: Latencies() for tool in PLACES}
    unrecorded = {tool: Latencies() for tool in PLACES}
    async with (
        run_contestant(Contestant.CONVAID, platform, plugins=PLUGINS) as usual,
        run_contestant(Contestant.CONVAID, platform, plugins=(*PLUGINS, "convaid_unrecorded")) as without,
    ):
        daemons = [(usual.conversation, recorded), (without.conversation, unrecorded)]
        for conversation, _ in daemons:
            for tool in PLACES:
                await conversation.call_many(tool, scale.calls // 2, 1)
        for number in range(scale.rounds):
            for conversation, latencies in daemons[:: -1 if number % 2 else 1]:
                for tool in PLACES:
                    seconds = await call_again_and_again(conversation, tool, scale.calls)
                    latencies[tool].add(Contestant.CONVAID, seconds)
    thread = recorded["do_nothing"].get_rounds(Contestant.CONVAID)
    return [
        *make_rows(recorded, thread, ""),
        *make_rows(unrecorded, thread, ", without the journal"),
    ]


def make_rows(latencies: dict[str, Latencies], thread: list[float], condition: str) -> Iterable[Row]:
    """A row for each place, which also says how many times a call in a thread it costs, both of the same round."""
    for tool, place in PLACES.items():
        rounds = latencies[tool].get_rounds(Contestant.CONVAID)
        ratio = median(here / there for here, there in zip(rounds, thread, strict=True))
        row = latencies[tool].make_row(f"no-op tool {place}{condition}, µs (p99), in calls in a thread", 1e6)
        yield evolve(row, remarks={Contestant.CONVAID: f"= {format_number(ratio)}"})
