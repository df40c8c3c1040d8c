"""Those who talk to the simulator in its tests: a bare WebSocket over TCP, and a peer in memory for moved clocks."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import trio
from attrs import define
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from convaid.audio import AudioFormat
from convaid.protocol.codec import encode
from convaid.protocol.to_agent import (
    ClientToolResult,
    ConversationInitiationClientData,
    ToAgent,
)
from convaid.simulator import ConversationRecord, Scenario, Simulator
from convaid.simulator.acting import ScenarioActor
from convaid.simulator.admission import Place
from convaid.simulator.conversation import Conversation
from convaid.simulator.speech import make_speech
from convaid.simulator.tool_settings import ToolSettings
from convaid.transport import LinkClosed, Reader

INITIATION = ConversationInitiationClientData()


@define
class BarePeer:
    """A WebSocket without any protocol of ours on top."""

    websocket: WebSocketConnection
    stream: trio.SocketStream

    async def send(self, message: ToAgent | str | bytes) -> None:
        await self.websocket.send_message(encode(message) if isinstance(message, ToAgent) else message)

    async def receive(self) -> dict[str, Any] | LinkClosed:
        """The next frame, or how the connection was closed."""
        try:
            with trio.fail_after(5):
                frame = json.loads(await self.websocket.get_message())
        except ConnectionClosed:
            closed = self.websocket.closed
            return LinkClosed(closed.code, closed.reason or "") if closed else LinkClosed(1006)
        assert isinstance(frame, dict)
        return frame

    async def receive_type(self, wire_type: str) -> dict[str, Any]:
        """The next frame of this type; what comes before it is passed over."""
        while True:
            frame = await self.receive()
            assert not isinstance(frame, LinkClosed), frame
            if frame["type"] == wire_type:
                return frame

    async def receive_rest(self) -> list[dict[str, Any] | LinkClosed]:
        """Everything up to the close, which is the last item."""
        frames = [await self.receive()]
        while not isinstance(frames[-1], LinkClosed):
            frames.append(await self.receive())
        return frames

    async def receive_answer(self) -> tuple[list[str], str]:
        """What the agent says next in text: the words as they come, and the whole."""
        words: list[str] = []
        while (part := (await self.receive_type("agent_chat_response_part"))["text_response_part"])["type"] != "stop":
            words += [part["text"]] * (part["type"] == "delta")
        return words, (await self.receive_type("agent_response"))["agent_response_event"]["agent_response"]

    async def answer_call(self, result: str, *, is_error: bool = False) -> dict[str, Any]:
        """Wait for a tool call and answer it."""
        call = (await self.receive_type("client_tool_call"))["client_tool_call"]
        await self.send(ClientToolResult(call["tool_call_id"], result, is_error))
        return cast(dict[str, Any], call)


@asynccontextmanager
async def open_peer(
    simulator: Simulator,
    *,
    query: str = "agent_id=agent_demo",
    subprotocols: list[str] | None = None,
    initiation: ToAgent | None = INITIATION,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> AsyncIterator[BarePeer]:
    """Connect and send the initiation; leaving the context closes the socket without a goodbye."""
    host, port = simulator.base_url.removeprefix("http://").split(":")
    stream = await trio.open_tcp_stream(host, int(port))
    async with stream, trio.open_nursery() as nursery:
        with trio.fail_after(5):
            websocket = await wrap_client_stream(
                cast(trio.Nursery, Reader(nursery)),  # the library's reader may raise when the connection ends
                stream,
                host,
                f"/v1/convai/conversation?{query}",
                subprotocols=subprotocols,
                extra_headers=headers,
                message_queue_size=256,
            )
        peer = BarePeer(websocket, stream)
        if initiation is not None:
            await peer.send(initiation)
        yield peer
        nursery.cancel_scope.cancel()


class MemoryPeer:
    """A peer without a socket: what is put in is received, what was sent comes out, each with its time."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, dict[str, Any]]] = []
        self.closed: LinkClosed | None = None
        self._in, self._frames = trio.open_memory_channel[str | LinkClosed](math.inf)

    def put(self, message: ToAgent | str | LinkClosed) -> None:
        self._in.send_nowait(encode(message) if isinstance(message, ToAgent) else message)

    def types(self) -> list[str]:
        return [frame["type"] for _, frame in self.sent]

    def find(self, wire_type: str) -> list[dict[str, Any]]:
        return [frame for _, frame in self.sent if frame["type"] == wire_type]

    def when(self, wire_type: str) -> list[float]:
        return [at for at, frame in self.sent if frame["type"] == wire_type]

    # What a conversation sees of it:

    async def receive(self) -> str | bytes | LinkClosed:
        return await self._frames.receive()

    async def send(self, frame: str) -> bool:
        await trio.lowlevel.checkpoint()
        self.sent.append((trio.current_time(), json.loads(frame)))
        return True

    async def send_frame(self, opcode: int, payload: bytes) -> None:
        raise AssertionError("there are no frames without a socket")

    async def close(self, code: int, reason: str) -> None:
        await trio.lowlevel.checkpoint()
        self.closed = LinkClosed(code, reason)

    def freeze(self) -> None: ...
    def thaw(self) -> None: ...

    def discard(self) -> None:
        self._in.close()
        self._frames.close()


@asynccontextmanager
async def hold_conversation(
    scenario: Scenario,
    initiation: ToAgent | None = INITIATION,
    tools: Mapping[str, ToolSettings] | None = None,
    place: Place | None = None,
) -> AsyncIterator[tuple[MemoryPeer, ConversationRecord]]:
    """A conversation in memory that runs beside the test; leaving the context waits until it has ended."""
    peer = MemoryPeer()
    record = ConversationRecord("conv_test", "agent_demo", scenario.name)
    conversation = Conversation(peer, scenario.agent, record, tools, place)
    speech = make_speech(scenario.voice, AudioFormat.parse(scenario.agent.agent_output_audio_format))
    if initiation is not None:
        peer.put(initiation)
    with trio.fail_after(10_000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.hold, ScenarioActor(conversation, scenario, speech))
            yield peer, record
    peer.discard()
