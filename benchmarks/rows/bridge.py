"""How soon the conversations' loop has a block that a device's thread has given it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from running import HERE, Contestant, make_environment
from scale import Scale
from table import Latencies, Row

__all__ = ["measure_bridge"]

WAYS = {
    "ring": "ring and eventfd",
    "soon": "`run_sync_soon`",
    "from_thread": "`trio.from_thread.run_sync`",
}


async def measure_bridge(scale: Scale) -> list[Row]:
    """The ways take turns, a block of wake-ups each, in a process of their own; once at rest, once beside work."""
    with tempfile.TemporaryDirectory(prefix="convaid-bench-") as name:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "contestants/bridge.py"),
            str(scale.slow_rounds),
            str(scale.wake_ups),
            env=make_environment(Path(name)),
            stdout=asyncio.subprocess.PIPE,
        )
        written, _ = await process.communicate()
    assert process.returncode == os.EX_OK
    rows = []
    for condition, ways in json.loads(written).items():
        for way, rounds in ways.items():
            latencies = Latencies()
            for seconds in rounds:
                latencies.add(Contestant.CONVAID, seconds)
            titled = "beside a loop that is busy half of the time" if condition == "busy" else condition
            title = f"a block from a device's thread to trio, {titled}: {WAYS[way]}, µs (p99)"
            rows.append(latencies.make_row(title, 1e6))
    return rows
