"""How soon a command ends and a daemon is ready, held against a Python that does nothing at all."""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from time import perf_counter

from neutral_platform import Platform
from running import Contestant, run_contestant
from scale import Scale
from table import Row, format_number

__all__ = ["measure_commands"]

NOTHING = "`python -c pass`"
COMMANDS = {
    NOTHING: ["-c", "pass"],
    "`convaid --version`": ["-m", "convaid", "--version"],
    "`convaid status`": ["-m", "convaid", "status"],
}
READY = "daemon: process start to READY for systemd, the control API answers"
READY_LIMIT = 30.0  # seconds


async def measure_commands(platform: Platform, scale: Scale) -> list[Row]:
    """In each round all of them, one after the other; a round more, which is not counted, has Python compile all."""
    taken: dict[str, list[float]] = {title: [] for title in (*COMMANDS, READY)}
    async with run_contestant(Contestant.CONVAID, platform) as daemon:
        for number in range(scale.rounds + 1):
            found = {title: await time_command(command, daemon.environment) for title, command in COMMANDS.items()}
            found[READY] = await time_daemon(platform)
            for title, seconds in found.items():
                if number:
                    taken[title].append(seconds * 1000)
    return [make_row(title, rounds, taken[NOTHING]) for title, rounds in taken.items()]


def make_row(title: str, rounds: list[float], nothing: list[float]) -> Row:
    """A row that also says how many times nothing it takes, both of the same round."""
    ratio = median(here / there for here, there in zip(rounds, nothing, strict=True))
    name = f"{title}, ms, in {NOTHING}"
    return Row(name, {Contestant.CONVAID: rounds}, remarks={Contestant.CONVAID: f"= {format_number(ratio)}"})


async def time_command(command: list[str], environment: Mapping[str, str]) -> float:
    """Seconds until a command has ended well."""
    start = perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.DEVNULL, env=environment
    )
    assert await process.wait() == 0, command
    return perf_counter() - start


async def time_daemon(platform: Platform) -> float:
    """Seconds until a daemon, with one conversation, has told systemd that it is ready."""
    with (
        tempfile.TemporaryDirectory(prefix="convaid-bench-") as name,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        path = Path(name, "notify")
        manager.bind(str(path))
        manager.setblocking(False)
        is_ready = asyncio.create_task(wait_ready(manager))
        async with run_contestant(Contestant.CONVAID, platform, variables={"NOTIFY_SOCKET": str(path)}) as run:
            async with asyncio.timeout(READY_LIMIT):
                return await is_ready - run.started


async def wait_ready(manager: socket.socket) -> float:
    """The perf_counter at which READY came."""
    loop = asyncio.get_running_loop()
    while b"READY=1" not in (await loop.sock_recv(manager, 4096)).split(b"\n"):
        pass
    return perf_counter()
