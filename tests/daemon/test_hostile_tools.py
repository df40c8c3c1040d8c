"""No tool holds up the conversation: pongs, interruptions and speech, beside plugins that do their worst.

The daemon is a process of its own, as users run it, and the platform a bare WebSocket in this one: whatever a tool does
to its interpreter, it does not do to whoever measures.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from itertools import count
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
import trio
from attrs import define, field
from trio_websocket import ConnectionClosed, WebSocketConnection

from ..transport.servers import serve_websockets

LIMIT = 30.0  # seconds for anything that a test waits for
PONG_LIMIT = 0.1  # seconds that 99 of 100 pongs take at most
SILENCE_LIMIT = 0.3  # seconds from an interruption to silence: what the pipe and a device hold, and a busy machine
PING_INTERVAL = 0.01
WATCHED = 2.5  # seconds
PLUGINS = ("worker", "blocker", "crowd", "glutton", "fool", "bomb", "squatter", "heckler", "deaf")
RATE = 16000  # samples per second
SPEECH = base64.b64encode(b"\x11" * 2 * RATE).decode()  # a second of it


@define(eq=False)
class Platform:
    """The agent's side of one conversation, and what it has seen."""

    websocket: WebSocketConnection
    pongs: dict[int, float] = field(factory=dict)
    """How many seconds each took."""
    results: dict[str, list[dict[str, Any]]] = field(factory=dict)
    chunks: list[float] = field(factory=list)
    """When each chunk of microphone audio came."""
    closed: trio.Event = field(factory=trio.Event)
    _sent: dict[int, float] = field(factory=dict)
    _numbers: count[int] = field(factory=lambda: count(1))

    async def send(self, kind: str, **event: Any) -> int:
        number = next(self._numbers)
        name = kind if kind == "client_tool_call" else f"{kind}_event"
        await self.websocket.send_message(json.dumps({"type": kind, name: {"event_id": number} | event}))
        return number

    async def call(self, tool: str, times: int = 1) -> None:
        for _ in range(times):
            call_id = f"call_{next(self._numbers)}"
            self.results[call_id] = []
            await self.send("client_tool_call", tool_name=tool, tool_call_id=call_id, parameters={})

    async def watch(self) -> None:
        """Take note of all that comes, until the connection is closed."""
        try:
            while True:
                frame = json.loads(await self.websocket.get_message())
                now = trio.current_time()
                match frame.get("type"):
                    case "pong":
                        self.pongs[frame["event_id"]] = now - self._sent[frame["event_id"]]
                    case "client_tool_result":
                        self.results[frame["tool_call_id"]].append(frame)
                    case None:  # microphone audio
                        self.chunks.append(now)
        except ConnectionClosed:
            self.closed.set()

    async def ping(self, seconds: float) -> None:
        """Send pings on a schedule, answered or not."""
        start = trio.current_time()
        for number in range(round(seconds / PING_INTERVAL)):
            await trio.sleep_until(start + number * PING_INTERVAL)
            now = trio.current_time()
            self._sent[await self.send("ping")] = now

    async def wait_for_answers(self) -> None:
        while not all(self.results.values()) or len(self.pongs) < len(self._sent):
            await trio.sleep(0.01)


def write_configuration(folder: Path, port: int, speaker: Path) -> None:
    """Install the hostile plugins in this folder, and configure a conversation by voice."""
    distribution = folder / "convaid_hostile-1.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: convaid-hostile\nVersion: 1\n")
    lines = [f"{name} = hostile_plugins:{name}" for name in PLUGINS]
    (distribution / "entry_points.txt").write_text("\n".join(["[convaid]", *lines, ""]))
    copy(Path(__file__).with_name("hostile_plugins.py"), folder)
    configuration = [f'[platform]\nbase_url = "http://127.0.0.1:{port}"']
    configuration += [f"[plugins.{point.name}]\nenabled = false" for point in entry_points(group="convaid")]
    configuration.append('[conversations.main]\nagent_id = "agent_test"\nstart = "once"\naudio = "command"')
    configuration.append(f'command.speaker = ["sh", "-c", "exec cat > {speaker}"]\ncommand.rate = {RATE}')
    (folder / "config.toml").write_text("\n".join(configuration) + "\n")


@asynccontextmanager
async def run_daemon(folder: Path) -> AsyncIterator[tuple[Platform, trio.Process, Path]]:
    """Run ``convaid run`` in a process of its own, until it has begun its conversation."""
    speaker = folder / "speaker"
    os.mkfifo(speaker)
    send, receive = trio.open_memory_channel[Platform](1)

    async def converse(websocket: WebSocketConnection) -> None:
        await websocket.get_message()
        formats = dict.fromkeys(("agent_output_audio_format", "user_input_audio_format"), f"pcm_{RATE}")
        metadata = {"conversation_id": "conv_1"} | formats
        kind = "conversation_initiation_metadata"
        await websocket.send_message(json.dumps({"type": kind, f"{kind}_event": metadata}))
        platform = Platform(websocket)
        send.send_nowait(platform)
        await platform.watch()

    async with serve_websockets(converse) as port:
        write_configuration(folder, port, speaker)
        command = [sys.executable, "-m", "convaid", "run"]
        environment = os.environ | {"PYTHONPATH": str(folder), "STATE_DIRECTORY": str(folder), "NO_PROXY": "127.0.0.1"}
        with (folder / "log").open("wb") as log:
            process = await trio.lowlevel.open_process(command, stdout=log, stderr=log, env=environment, cwd=folder)
        try:
            with trio.fail_after(LIMIT):
                yield await receive.receive(), process, speaker
        except BaseException:
            print((folder / "log").read_text()[-5000:])
            raise
        finally:
            process.kill()
            await process.wait()


def q(values, p):
    v = sorted(values)
    return v[min(len(v) - 1, int(len(v) * p))] * 1000


@pytest.mark.parametrize("tools", ["calm:0", "work:1", "work:4", "block:1", "linger:500", "return_text:1", "return_words:1", "return_list:1", "complain:1", "recurse:1", "leave:1 leave_async:1", "vanish:3", "work:1 block:1 linger:500 return_text:1 return_words:1 return_list:1 complain:1 recurse:1 leave:1 leave_async:1 vanish:3"])
async def test_explore(tools, tmp_path):
    async with run_daemon(tmp_path) as (platform, process, speaker):
        async with trio.open_nursery() as nursery:
            async def listen():
                async with trio.lowlevel.FdStream(os.open(speaker, os.O_RDWR | os.O_NONBLOCK)) as stream:
                    while True:
                        await stream.receive_some()
            nursery.start_soon(listen)
            await trio.sleep(0.5)
            nursery.start_soon(platform.ping, WATCHED)
            for each in tools.split():
                name, n = each.split(":")
                if int(n):
                    await platform.call(name, int(n))
            await trio.sleep(WATCHED)
            with trio.move_on_after(5):
                await platform.wait_for_answers()
            gaps = [b - a for a, b in zip(platform.chunks, platform.chunks[1:])]
            p = list(platform.pongs.values())
            print(f"\nEXP {tools[:40]:42} n {len(p)} median {q(p,.5):.1f} p99 {q(p,.99):.1f} max {q(p,1):.1f} | chunk gaps p99 {q(gaps,.99):.0f} max {q(gaps,1):.0f} | {Counter(len(r) for r in platform.results.values())} {Counter(x['result'][:60] for r in platform.results.values() for x in r).most_common(4)}")
            process.send_signal(signal.SIGTERM)
            t = trio.current_time()
            await process.wait()
            print("EXP stop", trio.current_time() - t, process.returncode)
            nursery.cancel_scope.cancel()
