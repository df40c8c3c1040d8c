"""No tool holds up a conversation: pongs, interruptions and speech, beside plugins that do their worst.

The daemon is a process of its own, as users run it, and the platform is a bare WebSocket in this one: what a tool does
to the daemon's interpreter it does not do to whoever measures. The limits tell a conversation that is held up, for as
long as the tool lasts, from one that shares a busy machine; how quick it is stands in benchmarks/README.md.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from itertools import count, pairwise
from pathlib import Path
from shutil import copy
from statistics import quantiles
from typing import Any

import pytest
import trio
from attrs import define, field
from trio_websocket import ConnectionClosed, WebSocketConnection

from ..transport.servers import serve_websockets

LIMIT = 30.0  # seconds for anything that a test waits for
HELD_UP = 1.0  # seconds: 99 of 100 pongs, silence after an interruption and the next microphone audio are sooner there
WATCHED = 1.8  # seconds
PING_INTERVAL = 0.01  # seconds
BATCH, BATCH_INTERVAL = 4, 0.01  # calls, seconds: fast enough for all to run at once, slow enough for the wire
ATTEMPTS = 3  # a machine that stands still for a moment proves nothing about tools
RATE = 16000  # samples per second
SECOND = base64.b64encode(b"\x11" * 2 * RATE).decode()  # of speech
PLUGINS = ("worker", "blocker", "crowd", "glutton", "fool", "bomb", "squatter", "heckler", "deaf")


@define(eq=False)
class Platform:
    """The agent's side of one conversation, and what it sees of the other."""

    websocket: WebSocketConnection
    results: dict[str, list[dict[str, Any]]] = field(factory=dict)
    """For each call, by its id."""
    pongs: list[float] = field(factory=list)
    """How many seconds each took."""
    chunks: list[float] = field(factory=list)
    """When microphone audio came."""
    loud_at: float = 0.0
    """When speech was last heard from the speaker."""
    silent_before: float = 0.0
    """How many seconds before the interruption that was the last time."""
    silent_after: float = 0.0
    """How many seconds after the interruption that was."""
    _pinged: dict[int, float] = field(factory=dict)
    _numbers: count[int] = field(factory=lambda: count(1))

    async def send(self, kind: str, **event: Any) -> None:
        key = kind if kind == "client_tool_call" else f"{kind}_event"
        await self.websocket.send_message(json.dumps({"type": kind, key: {"event_id": next(self._numbers)} | event}))

    async def read(self) -> None:
        """Take note of what comes, until the connection is closed."""
        while True:
            try:
                frame = json.loads(await self.websocket.get_message())
            except ConnectionClosed:
                return
            if "user_audio_chunk" in frame:
                self.chunks.append(trio.current_time())
            elif frame["type"] == "pong":
                self.pongs.append(trio.current_time() - self._pinged.pop(frame["event_id"]))
            elif frame["type"] == "client_tool_result":
                self.results[frame["tool_call_id"]].append(frame)

    async def listen(self, speaker: Path) -> None:
        """Take what the speaker plays."""
        async with trio.lowlevel.FdStream(os.open(speaker, os.O_RDWR | os.O_NONBLOCK)) as stream:
            while True:
                samples = await stream.receive_some()
                if samples.count(0) < len(samples):
                    self.loud_at = trio.current_time()

    async def ping(self) -> None:
        """Send pings on a schedule, answered or not."""
        start = trio.current_time()
        for number in range(round(WATCHED / PING_INTERVAL)):
            await trio.sleep_until(start + number * PING_INTERVAL)
            event_id = next(self._numbers)
            self._pinged[event_id] = trio.current_time()
            await self.send("ping", event_id=event_id)

    async def talk(self) -> None:
        """Speak for longer than anybody listens, and be interrupted."""
        await trio.sleep(WATCHED / 2)
        sent_at = trio.current_time()
        for _ in range(3):
            await self.send("audio", audio_base_64=SECOND)
        while self.loud_at < sent_at:
            await trio.sleep(0.01)
        await trio.sleep(WATCHED / 4)
        interrupted_at = trio.current_time()
        self.silent_before = interrupted_at - self.loud_at
        await self.send("interruption")
        await trio.sleep(HELD_UP + 0.2)
        self.silent_after = self.loud_at - interrupted_at

    async def call(self, tool: str, times: int) -> None:
        for number in range(times):
            if number % BATCH == BATCH - 1:
                await trio.sleep(BATCH_INTERVAL)
            call_id = f"call_{next(self._numbers)}"
            self.results[call_id] = []
            await self.send("client_tool_call", tool_name=tool, tool_call_id=call_id, parameters={})

    async def watch(self, calls: dict[str, int]) -> None:
        """Call these tools, so many times each, and wait for everything that is owed."""
        self.results.clear()
        self.pongs.clear()
        self.chunks.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.ping)
            nursery.start_soon(self.talk)
            for tool, times in calls.items():
                nursery.start_soon(self.call, tool, times)
        while self._pinged or not all(self.results.values()):
            await trio.sleep(0.01)

    def find_lateness(self) -> str:
        """What came too late; "" if nothing did."""
        gap = max(later - earlier for earlier, later in pairwise(self.chunks))
        return ", ".join(
            f"{what} took {seconds:.3f} s"
            for what, seconds in (
                ("one pong in a hundred", quantiles(self.pongs, n=100)[-1]),
                ("speech before the interruption", self.silent_before),
                ("silence after the interruption", self.silent_after),
                ("microphone audio", gap),
            )
            if seconds > HELD_UP
        )


def configure(folder: Path, port: int, speaker: Path) -> None:
    """Install the hostile plugins in this folder, and configure a conversation by voice."""
    distribution = folder / "convaid_hostile-1.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: convaid-hostile\nVersion: 1\n")
    lines = [f"{name} = hostile_plugins:{name}" for name in PLUGINS]
    (distribution / "entry_points.txt").write_text("\n".join(["[convaid]", *lines, ""]))
    copy(Path(__file__).with_name("hostile_plugins.py"), folder)
    others = "\n".join(f"plugins.{point.name}.enabled = false" for point in entry_points(group="convaid"))
    (folder / "config.toml").write_text(f"""
{others}
[platform]
base_url = "http://127.0.0.1:{port}"
[conversations.main]
agent_id = "agent_test"
start = "once"
audio = "command"
command = {{speaker = ["sh", "-c", "exec cat > {speaker}"], rate = {RATE}}}
[daemon]
stop_grace = 3.0
""")


@asynccontextmanager
async def converse(folder: Path) -> AsyncIterator[tuple[Platform, trio.Process]]:
    """Run ``convaid run`` in a process of its own, and be the platform of its conversation."""
    speaker = folder / "speaker"
    os.mkfifo(speaker)
    arrivals, arrived = trio.open_memory_channel[Platform](1)

    async def serve(websocket: WebSocketConnection) -> None:
        await websocket.get_message()
        formats = {f"{who}_audio_format": f"pcm_{RATE}" for who in ("agent_output", "user_input")}
        platform = Platform(websocket)
        await platform.send("conversation_initiation_metadata", conversation_id="conv_1", **formats)
        arrivals.send_nowait(platform)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(platform.listen, speaker)
            await platform.read()
            nursery.cancel_scope.cancel()

    environment = os.environ | {"PYTHONPATH": str(folder), "STATE_DIRECTORY": str(folder), "NO_PROXY": "127.0.0.1"}
    async with serve_websockets(serve) as port:
        configure(folder, port, speaker)
        with (folder / "log").open("wb") as log:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "convaid", "run"], stdout=log, stderr=log, env=environment, cwd=folder
            )
        try:
            with trio.fail_after(LIMIT):
                yield await arrived.receive(), process
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            sys.stderr.write((folder / "log").read_text()[-5000:])  # shown where a test fails


@pytest.mark.parametrize(
    ("calls", "answers"),
    [
        ({"work": 1}, {"worked"}),
        ({"block": 1}, {'The tool "block" took longer than 1 s and was given up.'}),
        ({"gather": 500}, {"gathered"}),
        ({"return_text": 1, "return_words": 1, "return_list": 1}, {"xxxx", "öööö", '["nine char","nine'}),
        (
            {"recurse": 1, "leave": 1, "leave_async": 1, "vanish": 1},
            {
                'The tool "recurse" failed because of a fault in it (RecursionError)',
                'The tool "leave" failed because of a fault in it (SystemExit)',
                'The tool "leave_async" failed because of a fault in it (SystemExit)',
                'The tool "vanish" failed, with its process: it ended with exit status 3',
            },
        ),
    ],
    ids=["work", "block", "gather", "return", "end"],
)
async def test_a_hostile_tool_is_answered_for_once_and_holds_nothing_up(
    calls: dict[str, int], answers: set[str], tmp_path: Path
) -> None:
    lateness = []
    async with converse(tmp_path) as (platform, process):
        while len(lateness) < ATTEMPTS:
            await platform.watch(calls)
            assert len(platform.results) == sum(calls.values())
            results = [result for (result,) in platform.results.values()]  # exactly one each
            for answer in answers:
                assert any(result["result"].startswith(answer) for result in results), answer
            lateness.append(platform.find_lateness())
            if not lateness[-1]:
                break
        assert process.returncode is None
    assert not lateness[-1], lateness


async def test_neither_a_lifespan_nor_an_observer_nor_a_tool_that_does_not_end_keeps_the_daemon(tmp_path: Path) -> None:
    async with converse(tmp_path) as (platform, process):
        for tool in ("block", "work", "recurse"):
            await platform.call(tool, 1)
        *_, last = platform.results
        while not platform.results[last]:
            await trio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(8):
            assert await process.wait() == 0
        while not all(platform.results.values()):
            await trio.sleep(0.01)
        assert all(len(results) == 1 for results in platform.results.values())
    log = (tmp_path / "log").read_text()
    assert log.count('the observer of the plugin "heckler"') == 1
    assert 'the plugin "squatter" (convaid-hostile 1) does not end and is left behind' in log
    assert 'the plugin "deaf" (convaid-hostile 1) does not end and is left behind' in log
