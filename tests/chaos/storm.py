"""Thousands of conversations at random against convaid's supervisor and tools, and what must hold in each and for all.

``python -m tests.chaos.storm`` holds 10 000 of them in two processes (`make chaos`); ``--repeat SEED`` holds one, by
the seed that a failure names.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import logging
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from itertools import count as count_up
from pathlib import Path
from typing import Any

import trio
import trio._core._thread_cache as thread_cache
from attrs import define, field, frozen

from convaid import backoff
from convaid.calls import open_tool_calls
from convaid.config import ConversationConfig, LimitsConfig
from convaid.journal import open_journal
from convaid.simulator import Simulator
from convaid.simulator.chaos import Chaos, RandomConversation, derive_seed, open_chaos
from convaid.supervisor import Conversation, NotConnected, keep_conversing

from .playing import make_silent_sound
from .tools import CHAOS_TOOLS, CONFIG, PLUGINS, TOOL_LIMIT
from .watching import Watch, find_slips

__all__ = ["Report", "run_storm"]

LIMITS = LimitsConfig(
    connect=2, handshake=1.0, disconnect=0.2, link_silence=1.2, ping_interval=0.2, answer=1.0, chunk=0.1
)
LAG_INTERVAL = 0.05  # seconds between two measurements
SETTLE_LIMIT = 20.0  # seconds in which the simulator's side of a session is over when ours is
TIME_LIMIT = 570.0  # seconds for all
THREAD_IDLE = 0.5  # seconds that worker threads are kept for the next tool, instead of ten
WARM_UP = 0.2  # of the sessions, after which the memory is measured for the first time
MEMORY_MARGIN = 24.0  # MiB by which it may grow from then on: the allocator's, and the journal's pages
PROCESSES = 2
OPEN_ENTRIES = "SELECT conversation_id, tool_call_id, tool FROM calls WHERE outcome IS NULL"
REPEAT = "python -m tests.chaos.storm --repeat {}"


# --- the storm --------------------------------------------------------------------------------------------------------


@define
class Report:
    """What came of a storm."""

    seed: int
    sessions: int = 0
    calls: int = 0
    results: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(factory=Counter)
    causes: Counter[str] = field(factory=Counter)
    troubles: Counter[str] = field(factory=Counter)
    memory: list[float] = field(factory=list)
    """MiB after the warm-up, and at the end."""
    lag: float = 0.0
    """Seconds by which the loop was late, at worst."""
    slips: list[str] = field(factory=list)


@frozen
class Resources:
    """What must not grow."""

    tasks: int
    descriptors: int
    threads: int

    @classmethod
    def count(cls) -> Resources:
        """Count what there is now."""
        tasks = trio.lowlevel.current_statistics().tasks_living
        return cls(tasks, len(os.listdir("/proc/self/fd")), threading.active_count())


def measure_memory() -> float:
    """MiB of memory that the process has."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def run_storm(seed: int, sessions: int, conversations: int, *, is_voice: bool = False) -> Report:
    """Hold ``sessions`` sessions, ``conversations`` at once; changes how this process pauses and keeps threads.

    Every other conversation is by voice: the first one if ``is_voice``.
    """
    thread_cache.IDLE_TIMEOUT = THREAD_IDLE
    for retry in backoff.PACES:
        backoff.PACES[retry] = backoff.Pace(0.005, 0.02)
    report = Report(seed)
    before = Resources.count()
    began = trio.current_time()
    with trio.move_on_after(TIME_LIMIT) as limit:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(measure_lag, report)
            await hold_storm(report, sessions, conversations, is_voice=is_voice)
            nursery.cancel_scope.cancel()
    report.seconds = trio.current_time() - began
    if limit.cancelled_caught:
        report.slips.append(f"seed {seed}: after {TIME_LIMIT:g} s, {report.sessions} of {sessions} sessions were over")
        return report
    report.slips += [f"seed {seed}: left behind: {slip}" for slip in await find_leaks(before)]
    report.memory.append(measure_memory())
    if (grown := report.memory[-1] - report.memory[0]) > MEMORY_MARGIN:
        report.slips.append(f"seed {seed}: the memory has grown by {grown:.1f} MiB")
    return report


async def measure_lag(report: Report) -> None:
    """Note how late the loop is: what is said about time can hold no closer than that."""
    while True:
        due = trio.current_time() + LAG_INTERVAL
        await trio.sleep_until(due)
        report.lag = max(report.lag, trio.current_time() - due)


async def find_leaks(before: Resources) -> list[str]:
    """What is there that was not before, when everything has had time to end."""
    with trio.move_on_after(SETTLE_LIMIT):
        while (now := Resources.count()) != before:
            if now.tasks <= before.tasks and now.descriptors <= before.descriptors and now.threads <= before.threads:
                break
            await trio.sleep(0.05)
    return [
        f"{getattr(now, name) - getattr(before, name)} {name}"
        for name in ("tasks", "descriptors", "threads")
        if getattr(now, name) > getattr(before, name)
    ]


async def hold_storm(report: Report, sessions: int, conversations: int, *, is_voice: bool) -> None:
    """Hold all conversations, and look at each session when it is over."""
    kept: dict[str, Conversation] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "journal.sqlite")
        with open_journal(path) as journal:
            async with open_tool_calls(
                PLUGINS, CONFIG, journal=journal, deliver=lambda name, late: kept[name].late_results.put(late)
            ) as tool_calls:
                async with trio.open_nursery() as nursery:
                    for number in range(conversations):
                        quota = sessions // conversations + (number < sessions % conversations)
                        if not quota:
                            continue
                        name = f"storm-{number}"
                        watch = Watch(trio.Event(), quota)
                        kept[name] = make_conversation(name, tool_calls, watch, is_voice=bool(number % 2) != is_voice)
                        nursery.start_soon(
                            hold_one, kept[name], watch, derive_seed(report.seed, number), report, sessions
                        )
                await wait_for_runs(tool_calls)
        report.slips += find_open_entries(path)


def make_conversation(name: str, tool_calls: Any, watch: Watch, *, is_voice: bool) -> Conversation:
    """A conversation as the daemon has it, but for where it leads."""
    settings = ConversationConfig(agent_id="agent_demo", start="always", limits=LIMITS)
    sound = make_silent_sound(settings) if is_voice else None
    return Conversation(name, settings, "", None, tool_calls, watch.note, sound, watch.stop, 0.3)


async def hold_one(conversation: Conversation, watch: Watch, seed: int, report: Report, sessions: int) -> None:
    """Keep one conversation going until it has had its sessions."""
    chaos = Chaos(seed, CHAOS_TOOLS)
    async with open_chaos(chaos) as (simulator, base_url), trio.open_nursery() as nursery:
        conversation.base_url = base_url
        nursery.start_soon(talk, conversation, seed)
        if conversation.sound is not None:
            nursery.start_soon(conversation.sound.run)
        nursery.start_soon(keep_conversing, conversation)
        for number in range(watch.quota):
            again = REPEAT.format(derive_seed(seed, number)) + " --voice" * (conversation.sound is not None)
            report.slips += [
                f"{slip}\n  {again}"
                for slip in await look_at(chaos.make_conversation(number), simulator, watch, number, report)
            ]
            if len(report.memory) == 0 and report.sessions >= WARM_UP * sessions:
                report.memory.append(measure_memory())
        nursery.cancel_scope.cancel()
    report.outcomes += watch.outcomes
    report.causes += watch.causes


async def look_at(
    planned: RandomConversation, simulator: Simulator, watch: Watch, number: int, report: Report
) -> list[str]:
    """Wait until both sides of a session are over, and return what does not hold in it."""
    session = await watch.wait_session(number)
    report.sessions += 1
    report.troubles[planned.wire.trouble] += 1
    with trio.move_on_after(SETTLE_LIMIT):
        record = await simulator.wait_conversation(number)
        report.calls += len(record.calls)
        report.results += record.received["client_tool_result"]
        simulator.conversations.popleft()  # it would keep a thousand, and the memory is measured
        return list(find_slips(planned, session, record, report.lag))
    return [f"the simulator's side was not over {SETTLE_LIMIT:g} s after ours ({session.end})"]


async def talk(conversation: Conversation, seed: int) -> None:
    """Say something now and then."""
    chance = random.Random(seed)
    for number in count_up():
        await trio.sleep(chance.uniform(0.1, 1.0))
        with suppress(NotConnected):
            conversation.say(f"This is my remark number {number}.")


async def wait_for_runs(tool_calls: Any) -> None:
    """Wait until no tool runs that was left to itself."""
    with trio.move_on_after(SETTLE_LIMIT):
        while tool_calls.aftermath.kept:
            await trio.sleep(0.05)
    await trio.sleep(TOOL_LIMIT * 2)  # threads cannot be stopped: those that were given up write their entries now


def find_open_entries(path: Path) -> list[str]:
    """What the journal does not know the end of."""
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute(
            "SELECT conversation_id, tool_call_id, tool FROM calls WHERE outcome IS NULL"
        ).fetchall()
    finally:
        connection.close()
    return [f"the journal does not know how {row} ended" for row in rows]


# --- the command line -----------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--conversations", type=int, default=16, help="at once, in each process")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeat", type=int, metavar="SEED", help="hold the one conversation of this seed instead")
    parser.add_argument("--voice", action="store_true", help="by voice")
    parser.add_argument("--json", action="store_true", help="one process, and what came of it as JSON")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL if options.repeat is None else logging.NOTSET)
    sys.setswitchinterval(0.0005)  # as the daemon
    if options.repeat is not None:
        logging.basicConfig(level=logging.INFO)
        run = functools.partial(run_storm, options.repeat, 1, 1, is_voice=options.voice)
        show([read_report(trio.run(run))])
    elif options.json:
        report = trio.run(run_storm, options.seed, options.sessions, options.conversations)
        print(json.dumps(read_report(report)))
    else:
        share = options.sessions // options.processes
        command = [sys.executable, "-m", "tests.chaos.storm", "--json", "--conversations", str(options.conversations)]
        running = [
            subprocess.Popen(
                [*command, "--sessions", str(share), "--seed", str(derive_seed(options.seed, number))],
                stdout=subprocess.PIPE,
            )
            for number in range(options.processes)
        ]
        show([json.loads(process.communicate()[0].splitlines()[-1]) for process in running])


def read_report(report: Report) -> Mapping[str, Any]:
    """A report as plain values."""
    return {name: getattr(report, name) for name in Report.__slots__ if not name.startswith("_")}


def show(reports: list[Mapping[str, Any]]) -> None:
    """Print what came of all, and leave with 1 where something did not hold."""
    for name in ("sessions", "calls", "results"):
        print(f"{name}: {sum(report[name] for report in reports)}")
    print(f"seconds: {max(report['seconds'] for report in reports):.0f}")
    print(f"lag: {max(report['lag'] for report in reports):.2f} s at worst")
    for report in reports:
        first, last = [*report["memory"], 0.0, 0.0][:2]
        print(f"memory: {first:.1f} MiB after the warm-up, {last:.1f} MiB at the end")
    for name in ("outcomes", "causes", "troubles"):
        total: Counter[str] = sum((Counter(report[name]) for report in reports), Counter())
        print(f"{name}: {', '.join(f'{what} {number}' for what, number in total.most_common())}")
    slips = [slip for report in reports for slip in report["slips"]]
    print("\n".join(slips[:50]) or "everything held")
    sys.exit(1 if slips else 0)


if __name__ == "__main__":
    main()
