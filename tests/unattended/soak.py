"""A daemon and a simulator that is chaos, each a process, for as long as one likes: what the daemon uses stays flat.

``python -m tests.unattended.soak`` takes ten minutes (`make soak`), in rounds. In each there is chaos, a platform that
crashes, a reload, and readers of events that vanish; then all conversations are closed, and what the daemon has of
descriptors, threads and tasks must come back to what it was after the first round. So must its memory, nearly.
"""

from __future__ import annotations

import argparse
import functools
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from convaid.control.calling import RequestFailed

from ..cli.running import install_plugin
from .machine import Platform, Service, open_service, run_python

__all__ = ["Soak", "run_soak"]

ROUND = 60.0  # seconds
POKE_INTERVAL = 0.5  # seconds between two looks at the daemon while there is chaos
LONGEST_WAIT = 3.0  # seconds: a conversation that waits longer for the next attempt is opened anew
CLOSE_LIMIT = 30.0  # seconds for all conversations to be closed, and their tools to be over
SETTLE_LIMIT = 75.0  # seconds to come back: threads without work end after 10, tool processes too many after 60
MEMORY_MARGIN = 24.0  # MiB: the allocator's, and what is kept of the latest calls and warnings
MOST = ("descriptors", "threads", "tasks")
KINDS = {  # of conversations, by what they have for sound
    "text": "overrides.text_only = true",
    "file": 'audio = "wav"\nwav.speaker = "{name}.wav"',
    "program": 'audio = "command"\ncommand.speaker = ["cat"]\ncommand.microphone = ["sh", "-c", "{silence}"]',
}
SILENCE = "while sleep 0.1; do head -c 3200 /dev/zero; done"
CONVERSATION = """
[conversations.{name}]
agent_id = "agent_demo"
record = true
history.keep = "full"
recap.way = "context"
{sound}
[conversations.{name}.limits]
connect = 2
handshake = 1
disconnect = 0.2
link_silence = 1.2
ping_interval = 0.2
answer = 1
stable_after = 0.01
"""
PLUGIN = '''
import time
from typing import Annotated

import trio
from convaid import ToolContext, ToolError, hookimpl, tool

Number = Annotated[int, "a number"]

@tool
def soak_thread(a: Number) -> str:
    """Block for a moment."""
    time.sleep(0.01 * (abs(a) % 10))
    return "done"

@tool
async def soak_room(a: Number) -> str:
    """Wait for a moment."""
    await trio.sleep(0.02 * (abs(a) % 10))
    return "done"

@tool(runs="process")
def soak_process(a: Number) -> str:
    """Compute, elsewhere."""
    return str(a)

@tool(time_limit=0.5)
def soak_overrun() -> str:
    """Block for longer than it may."""
    time.sleep(0.75)
    return "too late"

@tool(time_limit=0.5)
async def soak_overrun_room() -> str:
    """Wait for longer than it may."""
    await trio.sleep(2)
    return "too late"

@tool
async def soak_later(context: ToolContext) -> str:
    """Answer at once, and go on for a while."""
    context.defer("I am looking.")
    await trio.sleep(0.1)
    return "found"

@tool
def soak_refuse() -> str:
    """Fail, in words."""
    raise ToolError("No, not today.")

@hookimpl
def convaid_tools():
    return [soak_thread, soak_room, soak_process, soak_overrun, soak_overrun_room, soak_later, soak_refuse]

@hookimpl
async def convaid_observe(event):
    await trio.lowlevel.checkpoint()
'''


@define(eq=False)
class Soak:
    """What came of it so far."""

    service: Service
    platform: Platform
    seed: int
    slips: list[str] = field(factory=list)
    quiet: list[dict[str, float]] = field(factory=list)
    """What the daemon used at the end of each round."""
    sessions: int = 0
    readers: list[subprocess.Popen[bytes]] = field(factory=list)

    def hold_round(self, seconds: float) -> None:
        """Have chaos for so long, then quiet, and look what is left."""
        self.service.process.send_signal(signal.SIGHUP)
        self._say_to_all("start")
        over = time.monotonic() + seconds
        crash = time.monotonic() + seconds / 2
        while (now := time.monotonic()) < over:
            self._poke()
            if now > crash:
                crash = over
                self.platform.kill()
                self.start_platform()
            time.sleep(POKE_INTERVAL)
        self._end_readers()
        self._say_to_all("stop")
        self.service.wait(is_quiet, CLOSE_LIMIT)
        self._look()

    def start_platform(self) -> None:
        """Have the next chaos of this seed."""
        self.seed += 1
        self.platform.arguments = ["--chaos", str(self.seed), "--file", "simulator.json"]
        self.platform.start()

    def end(self) -> None:
        """Have the daemon end, and look how."""
        self._end_readers()
        if (code := self.service.end()) != 0:
            self.slips.append(f"the daemon ended with {code}")
        log = self.service.log
        self.slips += [
            f"in the log: {line}" for line in log.splitlines() if "a fault of convaid's" in line or " hangs" in line
        ]

    def _poke(self) -> None:
        """Look at the daemon, as people and their programs do, and open what waits for long."""
        found = self.service.ask("GET", "/v1/status")
        if self.platform.has_died:
            log = (self.platform.folder / "simulator.log").read_text()
            raise AssertionError(f"the simulator has ended by itself: {log[-4000:]}")
        for conversation in found["conversations"]:
            if (conversation["retry_in"] or 0) > LONGEST_WAIT:
                self._say("stop", conversation["name"])
                self._say("start", conversation["name"])
        if len(self.readers) > 2:
            self._end_readers()
        self.readers.append(self.service.start_convaid("tail", "--json"))

    def _end_readers(self) -> None:
        for reader in self.readers:
            reader.kill()
            reader.communicate()
        self.readers.clear()

    def _say_to_all(self, deed: str) -> None:
        for conversation in self.service.ask("GET", "/v1/conversations"):
            self._say(deed, conversation["name"])

    def _say(self, deed: str, name: str) -> None:
        with suppress(RequestFailed):  # it is just being closed
            self.service.ask("POST", f"/v1/conversations/{name}/{deed}", {"wait": 5 if deed == "stop" else 0})

    def _look(self) -> None:
        """Note what the daemon uses, once it has come back to what it used after the first round."""
        first = self.quiet[0] if self.quiet else dict.fromkeys(MOST, float("inf"))
        with suppress(AssertionError):
            self.service.wait(lambda found: all(found["resources"][name] <= first[name] for name in MOST), SETTLE_LIMIT)
        found = self.service.ask("GET", "/v1/status")
        self.quiet.append(found["resources"])
        self.sessions = int(found["budget"]["all"]["starts_of_hour"])
        number, now = len(self.quiet), found["resources"]
        self.slips += [
            f"after round {number}: {now[name]} {name}, {first[name]} after the first"
            for name in MOST
            if now[name] > first[name]
        ]
        early = self.quiet[min(1, number - 1)]["memory"]
        if now["memory"] > early + MEMORY_MARGIN:
            self.slips.append(f"after round {number}: {now['memory']} MiB of memory, {early} after the second")
        self.slips += [f"after round {number}: {trouble}" for trouble in found["troubles"]]


def is_quiet(found: Any) -> bool:
    """Whether everything is closed, and no tool goes on."""
    is_closed = all(conversation["state"] == "closed" for conversation in found["conversations"])
    return is_closed and not (found["calls_running"] or found["left_behind_count"] or found["readers"])


def run_soak(
    folder: Path, seed: int, rounds: Sequence[float], conversations: int, tell: Callable[[str], None] = lambda _: None
) -> Soak:
    """Hold so many conversations for ``rounds``, each of so many seconds of chaos; ``tell`` is told of each."""
    install_plugin(folder, "soak", PLUGIN)
    platform = Platform(folder, ["--file", "simulator.json"])
    configuration = f'[platform]\nbase_url = "http://127.0.0.1:{platform.port}"\n' + "".join(
        make_conversation(number) for number in range(conversations)
    )
    try:
        platform.start()
        with open_service(folder, configuration) as service:
            push_tools(folder)
            platform.kill()
            soak = Soak(service, platform, seed)
            soak.start_platform()
            for number, seconds in enumerate(rounds, 1):
                soak.hold_round(seconds)
                tell(f"round {number}: {soak.sessions} sessions in an hour, {json.dumps(soak.quiet[-1])}")
            soak.end()
            return soak
    finally:
        platform.kill()


def make_conversation(number: int) -> str:
    """A conversation's tables: every kind in its turn."""
    name = f"c{number}"
    sound = list(KINDS.values())[number % len(KINDS)]
    return CONVERSATION.format(name=name, sound=sound.format(name=name, silence=SILENCE))


def push_tools(folder: Path) -> None:
    """Let the simulator know which tools there are."""
    command, environment = run_python(folder)
    environment = {**environment, "ELEVENLABS_API_KEY": "any", "CONVAID_CONFIG": "config.toml"}
    done = subprocess.run(
        [*command, "tools", "push"], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--conversations", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    count = max(2, round(options.seconds / ROUND))
    # What follows the chaos in a round takes the rest of it: until threads without work have ended.
    seconds = max(1.0, options.seconds / count - 12.0)
    with tempfile.TemporaryDirectory() as name:
        began = time.monotonic()
        tell = functools.partial(print, flush=True)
        soak = run_soak(Path(name), options.seed, [seconds] * count, options.conversations, tell)
    print(f"{time.monotonic() - began:.0f} s")
    print("\n".join(soak.slips) or "everything is flat")
    sys.exit(1 if soak.slips else 0)


if __name__ == "__main__":
    main()
