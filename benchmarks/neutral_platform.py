"""The platform that every contestant talks to: a bare WebSocket server on loopback that plays the agent's part.

It favours nobody: `websockets` on asyncio, no compression, no pings of its own, nothing between a measurement and the
socket. Whoever measures holds a `Conversation` and plays the agent through it; nothing else runs here meanwhile.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import frozen
from websockets.asyncio.server import ServerConnection, serve

__all__ = ["Batch", "Conversation", "Platform", "open_platform"]

AUDIO_FORMAT = "pcm_16000"
SILENCE_LIMIT = 2.0  # seconds without a result after which calls that are still open count as lost


@frozen
class Batch:
    """What came of many calls."""

    seconds: float
    """Until the last result."""
    answered: int
    lost: int
    """Calls without a result when nothing had come for SILENCE_LIMIT."""


class Conversation:
    """One conversation, from the agent's side."""

    _numbers = itertools.count(1)

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._calls = itertools.count(1)
        self._events = itertools.count(1)
        self.conversation_id = f"conv_{next(self._numbers)}"
        self.began = 0.0
        """When (perf_counter) the metadata had been handled, as the answer to a ping right behind it shows."""

    async def begin(self) -> None:
        """Take the first frame, send the metadata, and wait until it has been handled."""
        await self._connection.recv()
        metadata = {
            "conversation_id": self.conversation_id,
            "agent_output_audio_format": AUDIO_FORMAT,
            "user_input_audio_format": AUDIO_FORMAT,
        }
        await self.send(
            {
                "type": "conversation_initiation_metadata",
                "conversation_initiation_metadata_event": metadata,
            }
        )
        await self.ping()
        self.began = perf_counter()

    async def send(self, message: dict[str, Any]) -> None:
        await self._connection.send(json.dumps(message))

    async def read(self, kind: str) -> dict[str, Any]:
        """The next frame of this type; others (microphone audio, mostly) are passed over."""
        while True:
            frame = json.loads(await self._connection.recv())
            if frame.get("type") == kind:
                return frame  # type: ignore[no-any-return]

    async def hear(self) -> bytes:
        """The next chunk of the microphone's; other frames are passed over."""
        while True:
            frame = json.loads(await self._connection.recv())
            if chunk := frame.get("user_audio_chunk"):
                return base64.b64decode(chunk)

    async def ping(self) -> float:
        """Send the protocol's ping; returns the seconds until its pong."""
        event_id = next(self._events)
        start = perf_counter()
        await self.send({"type": "ping", "ping_event": {"event_id": event_id, "ping_ms": None}})
        while (await self.read("pong"))["event_id"] != event_id:
            pass
        return perf_counter() - start

    async def call(self, tool: str) -> float:
        """Call a tool that takes no arguments; returns the seconds until its result."""
        call_id, frame = self._make_call(tool)
        start = perf_counter()
        await self._connection.send(frame)
        while (await self.read("client_tool_result"))["tool_call_id"] != call_id:
            pass
        return perf_counter() - start

    async def start_call(self, tool: str, seconds: float) -> None:
        """Call a tool that takes so many ``seconds``, and do not wait for its result."""
        await self._connection.send(self._make_call(tool, seconds)[1])

    async def call_many(self, tool: str, count: int, in_flight: int, seconds: float | None = None) -> Batch:
        """Call a tool ``count`` times, ``in_flight`` at once."""
        open_calls: set[str] = set()
        answered = 0
        left = count
        start = last = perf_counter()
        while left or open_calls:
            while left and len(open_calls) < in_flight:
                call_id, frame = self._make_call(tool, seconds)
                open_calls.add(call_id)
                left -= 1
                await self._connection.send(frame)
            try:
                async with asyncio.timeout(SILENCE_LIMIT):
                    result = await self.read("client_tool_result")
            except TimeoutError:
                break
            open_calls.remove(result["tool_call_id"])
            answered += 1
            last = perf_counter()
        return Batch(last - start, answered, len(open_calls))

    async def probe(self, tool: str, every: float, lasting: float, patience: float) -> tuple[list[float], list[float]]:
        """Send a ping and a tool call on a schedule, answered or not; returns how long each took, in seconds.

        ``patience`` is how long the last answers are waited for; what does not come by then took that long.
        """
        sent: dict[object, float] = {}
        took: dict[object, float] = {}

        async def note_answers() -> None:
            while not is_over or len(took) < len(sent):
                frame = json.loads(await self._connection.recv())
                key = frame.get("tool_call_id") or frame.get("event_id")
                if key in sent:
                    took[key] = perf_counter() - sent[key]

        reader = asyncio.create_task(note_answers())
        is_over = False
        start = perf_counter()
        pings, calls = [], []
        while perf_counter() < start + lasting:
            event_id = next(self._events)
            call_id, frame = self._make_call(tool)
            pings.append(event_id)
            calls.append(call_id)
            sent[event_id] = perf_counter()
            await self.send({"type": "ping", "ping_event": {"event_id": event_id, "ping_ms": None}})
            sent[call_id] = perf_counter()
            await self._connection.send(frame)
            await asyncio.sleep(max(0.0, start + len(pings) * every - perf_counter()))
        is_over = True
        await self.send({"type": "ping", "ping_event": {"event_id": 0, "ping_ms": None}})  # something to read, at least
        await asyncio.wait([reader], timeout=patience)
        reader.cancel()
        return [took.get(key, patience) for key in pings], [took.get(key, patience) for key in calls]

    async def say(self, chunks: list[str]) -> None:
        """Send agent speech, as fast as the contestant takes it; ``chunks`` are base64."""
        for chunk in chunks:
            event = f'{{"event_id":{next(self._events)},"audio_base_64":"{chunk}"}}'
            await self._connection.send(f'{{"type":"audio","audio_event":{event}}}')

    async def interrupt(self) -> None:
        """Tell the contestant that the user has cut in: all speech so far is stale."""
        await self.send({"type": "interruption", "interruption_event": {"event_id": next(self._events)}})

    def stop_hearing(self) -> None:
        """Leave the connection half-open: what comes is not read, and nothing is sent, not even a WebSocket pong."""
        self._connection.transport.pause_reading()

    async def wait_closed(self) -> int:
        """Wait until the contestant is gone; returns its close code, 1006 without one."""
        await self._connection.wait_closed()
        return self._connection.close_code or 1006

    async def read_to_end(self) -> list[dict[str, Any]]:
        """Everything that still comes, until the connection is closed."""
        return [json.loads(frame) async for frame in self._connection]

    def _make_call(self, tool: str, seconds: float | None = None) -> tuple[str, str]:
        call_id = f"call_{next(self._calls)}"
        parameters = "{}" if seconds is None else f'{{"seconds":{seconds}}}'
        body = f'{{"tool_name":"{tool}","tool_call_id":"{call_id}","parameters":{parameters},"event_id":1}}'
        return call_id, f'{{"type":"client_tool_call","client_tool_call":{body}}}'


class Platform:
    """Hands out conversations by the agent id that the contestant asked for."""

    def __init__(self) -> None:
        self.port = 0
        self._waiting: defaultdict[str, asyncio.Queue[Conversation]] = defaultdict(asyncio.Queue)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def accept(self, agent_id: str) -> Conversation:
        """Wait for the next conversation with this agent, until the contestant has handled its metadata."""
        return await self._waiting[agent_id].get()

    async def attend(self, connection: ServerConnection) -> None:
        """Begin a conversation, and keep its connection for whoever plays the agent."""
        assert connection.request is not None
        (agent_id,) = parse_qs(urlsplit(connection.request.path).query)["agent_id"]
        conversation = Conversation(connection)
        await conversation.begin()
        self._waiting[agent_id].put_nowait(conversation)
        await connection.wait_closed()


@asynccontextmanager
async def open_platform() -> AsyncIterator[Platform]:
    """Serve on a free loopback port."""
    platform = Platform()
    make_connection: Callable[..., Any] = serve
    async with make_connection(
        platform.attend,
        "127.0.0.1",
        0,
        family=socket.AF_INET,
        subprotocols=["convai"],
        select_subprotocol=lambda _, offered: "convai" if "convai" in offered else None,
        compression=None,
        ping_interval=None,
        close_timeout=1,
        max_queue=None,  # what nobody reads right now must not hold up the contestant
    ) as server:
        platform.port = next(iter(server.sockets)).getsockname()[1]
        yield platform
