"""Playing faults against the official Python SDK, several to a process, and what has come of each."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import trio
from attrs import define

from convaid.simulator import ConversationRecord
from convaid.simulator.faults import Fault
from convaid.simulator.scenario import Call
from convaid.transport import ABNORMAL

from .playing import is_complete, open_platform

__all__ = ["SdkObservation", "play_sdk_faults"]

PROGRAM = str(Path(__file__).parent / "sdk.py")
PATIENCE = 15.0  # seconds that it has: convaid's own limits for these are 10 s at most, as shipped, but for `answer`
START_LIMIT = 30.0  # seconds more for a process to begin and end
BATCH = 24  # faults to a process
PROCESSES = 3


@define(eq=False)
class SdkObservation:
    """What has come of a fault. ``told`` is what the program has said of it; None where the process was gone."""

    fault: Fault
    told: dict[str, Any] | None
    records: Sequence[ConversationRecord]

    def describe(self) -> str:
        """In words, for a table."""
        return "; ".join([self._describe_end(), *self._describe_answers()])

    def _describe_end(self) -> str:
        told, first = self.told, self.records[0] if self.records else None
        if told is None:
            return "**the process ends**"
        if is_complete(first):
            return "goes on"
        if is_complete(self.records[-1] if self.records else None):
            return "asks again, and goes on"
        if not told["is_over"]:
            return f"**still waits after {PATIENCE:g} s**"
        if told["raised"]:
            return f"`start_session` raises {told['raised']}"
        reason, code = told["ended"] or ("without a word", None)
        return f"ends: {reason}" + (f", {code}" if code not in (None, ABNORMAL) else "")

    def _describe_answers(self) -> Iterator[str]:
        for record in self.records[:1]:
            extra = record.counts["unexpected result"]
            if any(isinstance(step, Call) and step.copies > 1 for step in self.fault.steps) and extra:
                yield "**runs and answers a call more than once**"
            silent = sum(call.result is None for call in record.calls) - record.counts["late result"]
            if is_complete(record) and (silent > 0 or extra < self.fault.extra_results):
                yield "**a call stays without an answer**"


async def play_sdk_faults(faults: Sequence[Fault]) -> dict[str, SdkObservation]:
    """Play faults, and return what has come of each, by name."""
    seen: dict[str, SdkObservation] = {}
    places = trio.CapacityLimiter(PROCESSES)
    # Those that may take their time wait together.
    slow = [fault for fault in faults if is_slow(fault)]
    heavy = [fault for fault in faults if fault.is_heavy and not is_slow(fault)]
    quick = [fault for fault in faults if not (fault.is_heavy or is_slow(fault))]

    async def play(batch: Sequence[Fault]) -> None:
        async with places:
            seen.update({found.fault.name: found for found in await play_batch(batch)})

    async with trio.open_nursery() as nursery:
        for some in (slow, heavy, quick):
            for start in range(0, len(some), BATCH):
                nursery.start_soon(play, some[start : start + BATCH])
    for fault in faults:
        if seen[fault.name].told is None:  # with others in one process: whose fault was it?
            (seen[fault.name],) = await play_batch([fault])
    return seen


def is_slow(fault: Fault) -> bool:
    """Whether somebody without limits may wait here for long."""
    return fault.limit is not None or fault.stops


async def play_batch(faults: Sequence[Fault]) -> list[SdkObservation]:
    """Play faults in one process."""
    async with AsyncExitStack() as stack:
        platforms = [await stack.enter_async_context(open_platform(fault)) for fault in faults]
        cases = [
            {
                "name": fault.name,
                "base_url": base_url,
                "is_signed": fault.is_signed,
                "is_voice": fault.is_voice,
                "stops": fault.stops,
                "clock_steps": list(fault.clock_steps),
                "patience": PATIENCE,
            }
            for fault, (_, base_url) in zip(faults, platforms, strict=True)
        ]
        with trio.fail_after(PATIENCE + START_LIMIT):
            done = await trio.run_process(
                [sys.executable, PROGRAM, json.dumps(cases)], capture_stdout=True, capture_stderr=True, check=False
            )
        told = {each["name"]: each for each in map(json.loads, done.stdout.splitlines())}
        return [
            SdkObservation(fault, told.get(fault.name), tuple(simulator.conversations))
            for fault, (simulator, _) in zip(faults, platforms, strict=True)
        ]
