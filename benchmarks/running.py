"""The contestants, each started as its user would, in a process of its own that is measured from outside."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, Protocol

from attrs import define, field
from neutral_platform import Conversation, Platform

__all__ = [
    "CALLED",
    "SDKS",
    "STACKS",
    "VOICES",
    "Contestant",
    "Run",
    "Sound",
    "make_environment",
    "read_cpu",
    "run_contestant",
    "run_contestants",
]

HERE = Path(__file__).parent
START_LIMIT = 60.0  # seconds for all conversations of a contestant to begin
PLUGINS = ("convaid_bench", "convaid_rude")
CPU_CLOCK = 2  # CPUCLOCK_SCHED: the part of a Linux clock id that asks for a process's CPU time in nanoseconds

Sound = Literal["none", "sink", "card", "device"]
"""none: a conversation in text; sink: speech is taken, and nobody listens; card: a sound card that is a clock plays it;
device: the sound server's devices, which is the one whose environment the contestant is given."""


class Contestant(Enum):
    """Who takes part. The value is the column's heading."""

    CONVAID = "convaid"
    SYNC = "SDK `Conversation`"
    ASYNC = "SDK `AsyncConversation`"
    LOOP = "SDK `AsyncConversation`, `ClientTools(loop)`"
    FLOOR = "floor: bare trio-websocket"
    COMMAND = 'convaid, `audio = "command"`'
    PROGRAMS = "floor: parec, pacat, raw socket"


SDKS = (Contestant.SYNC, Contestant.ASYNC, Contestant.LOOP)
STACKS = (Contestant.CONVAID, Contestant.SYNC, Contestant.ASYNC)
"""Convaid and the two kinds of conversation that the SDK has."""
CALLED = (Contestant.CONVAID, *SDKS, Contestant.FLOOR)
"""Who runs tools."""
VOICES = (Contestant.CONVAID, Contestant.COMMAND, Contestant.SYNC, Contestant.ASYNC, Contestant.PROGRAMS)
"""Who talks through a sound server."""


class Accepting(Protocol):
    """A platform, as far as it is seen from here."""

    @property
    def base_url(self) -> str: ...

    async def accept(self, agent_id: str) -> Any:
        """Wait for the next conversation with this agent."""


@define(eq=False)
class Run:
    """A contestant's process and its conversations, all of which have begun."""

    contestant: Contestant
    process: asyncio.subprocess.Process
    agent_id: str
    started: float
    """The perf_counter just before the process was made."""
    record: Path
    """Where the sound card notes when speech was last to be heard."""
    environment: Mapping[str, str]
    conversations: list[Conversation] = field(factory=list)

    @property
    def conversation(self) -> Conversation:
        """The only one, or the first."""
        return self.conversations[0]

    def measure_memory(self) -> float:
        """Resident memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def measure_cpu(self) -> float:
        """CPU seconds of the process so far, all threads, those that have ended included."""
        return read_cpu(self.process.pid)

    def measure_family_cpu(self) -> float:
        """The same with the programs that it has started and that still run."""
        return sum(map(read_cpu, find_family(self.process.pid)))


def read_cpu(pid: int) -> float:
    """CPU seconds of a process so far."""
    return time.clock_gettime(~pid << 3 | CPU_CLOCK)


def find_family(pid: int) -> list[int]:
    """A process and all that it and its children have started, as far as they are still its children."""
    family = [pid]
    for member in family:  # which grows meanwhile
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            family += map(int, children.read_text().split())
    return family


_numbers = itertools.count(1)


@asynccontextmanager
async def run_contestant(
    contestant: Contestant,
    platform: Accepting,
    *,
    count: int = 1,
    sound: Sound = "none",
    plugins: tuple[str, ...] = PLUGINS,
    variables: Mapping[str, str] | None = None,
) -> AsyncIterator[Run]:
    """Start a contestant that holds ``count`` conversations; at the end its process is killed.

    ``plugins`` are convaid's, modules of the folder `plugin`; ``variables`` are added to its environment.
    """
    with tempfile.TemporaryDirectory(prefix="convaid-bench-") as name:
        folder = Path(name)
        agent_id = f"agent_{next(_numbers)}"
        record = folder / "heard"
        record.write_bytes(bytes(8))
        if contestant in (Contestant.CONVAID, Contestant.COMMAND):
            table = find_sound(contestant, sound, folder)
            command = prepare_convaid(folder, platform.base_url, agent_id, count, table, plugins=plugins)
        else:
            command = find_command(contestant, platform.base_url, agent_id, count, sound)
        environment = make_environment(folder) | {"SOUND_CARD_RECORD": str(record)} | dict(variables or {})
        with (folder / "stderr").open("wb") as stderr:
            started = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, stdout=stderr, stderr=stderr, env=environment, cwd=folder
            )
        run = Run(contestant, process, agent_id, started, record, environment)
        try:
            async with asyncio.timeout(START_LIMIT):
                for _ in range(count):
                    run.conversations.append(await platform.accept(agent_id))
            yield run
        except BaseException:
            print((folder / "stderr").read_text()[-4000:], file=sys.stderr)
            raise
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()


@asynccontextmanager
async def run_contestants(
    contestants: Iterable[Contestant], platform: Platform, *, sound: Sound = "none"
) -> AsyncIterator[list[Run]]:
    """Start several contestants, in their order, with one conversation each."""
    async with AsyncExitStack() as stack:
        yield await asyncio.gather(
            *(stack.enter_async_context(run_contestant(each, platform, sound=sound)) for each in contestants)
        )


def make_environment(folder: Path) -> dict[str, str]:
    """The environment of convaid's programs: this source, the plugins, and no files but in ``folder``."""
    paths = (folder, HERE / "plugin", HERE.parent)
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "STATE_DIRECTORY": str(folder),
        "CONVAID_SOCKET": str(folder / "control.sock"),
        "NO_PROXY": "127.0.0.1",
    }


def find_command(contestant: Contestant, base_url: str, agent_id: str, count: int, sound: Sound) -> list[str]:
    """What Python has to run."""
    folder = HERE / "contestants"
    if contestant is Contestant.FLOOR:
        return [str(folder / "floor.py"), base_url, agent_id, str(count)]
    if contestant is Contestant.PROGRAMS:
        return [str(folder / "programs.py"), base_url, agent_id]
    kind = contestant.name.lower()
    options = ["-P"] if sound == "device" else []  # the folder has a `pyaudio` of its own, which is for the card
    return [*options, str(folder / "official_sdk.py"), kind, base_url, agent_id, str(count), sound]


def find_sound(contestant: Contestant, sound: Sound, folder: Path) -> str:
    """What the configuration of a conversation says about sound."""
    match sound:
        case "none":
            return "overrides.text_only = true"
        case "sink":
            return 'audio = "wav"\nwav.speaker = "speech.wav"'
        case "card":
            player = [sys.executable, str(HERE / "contestants/player.py"), str(folder / "heard")]
            return f'audio = "command"\ncommand.speaker = {player!r}'
        case "device":  # the SDK does nothing against an echo
            return f'audio = "{"command" if contestant is Contestant.COMMAND else "device"}"\necho = "none"'


def prepare_convaid(
    folder: Path, base_url: str, agent_id: str, count: int, sound: str, *, plugins: tuple[str, ...]
) -> list[str]:
    """Write a configuration, "install" plugins of the benchmark, and return what Python has to run.

    ``sound`` are lines of a conversation's table. Other installed plugins are disabled, so that the
    figures do not depend on them. Everything else is as it comes.
    """
    distribution = folder / "convaid_bench-1.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: convaid-bench\nVersion: 1\n")
    (distribution / "entry_points.txt").write_text(
        "[convaid]\n" + "".join(f"{module.removeprefix('convaid_')} = {module}\n" for module in plugins)
    )
    configuration = [f'[platform]\nbase_url = "{base_url}"', '[control]\npath = "control.sock"']
    configuration += [f"[plugins.{point.name}]\nenabled = false" for point in entry_points(group="convaid")]
    for number in range(count):
        table = f"conversations.c{number}"
        configuration.append(f'[{table}]\nagent_id = "{agent_id}"\n{sound}')
    path = folder / "config.toml"
    path.write_text("\n".join(configuration) + "\n")
    return ["-m", "convaid", "run", "--config", str(path)]
