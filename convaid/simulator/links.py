"""A peer's connection on the simulator: its TCP stream, which can be frozen, and the WebSocket over it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import trio
from attrs import evolve
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from convaid.transport import ABNORMAL, MESSAGE_QUEUE, READ_SIZE, SUBPROTOCOL, HeardStream, Link, LinkClosed, Reader

__all__ = ["PeerLink", "ServedStream", "accept_websocket"]

HANDSHAKE_LIMIT = 5.0  # seconds; the request has been read already
CLOSE = 8  # opcode (RFC 6455, 5.2)


class ServedStream(HeardStream):
    """A peer's TCP stream as trio-websocket sees it: begins with bytes that were read already, and can be frozen.

    Its closing closes nothing: the socket is the server's, which parts with the peer gently.
    """

    def __init__(self, stream: trio.abc.Stream, received: bytes) -> None:
        super().__init__(stream)
        self.has_said_goodbye = False
        """A close frame was sent: the library does that of its own accord where the peer closes as it should."""
        self._received = received
        self._one_at_a_time = trio.Lock()
        self._flows = trio.Event()
        self._flows.set()

    def freeze(self) -> None:
        """From now on nothing comes and nothing goes."""
        self._flows = trio.Event()

    def thaw(self) -> None:
        """Go on where it was frozen."""
        self._flows.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        received, self._received = self._received, b""
        chunk = received or await super().receive_some(max_bytes)
        await self._flows.wait()
        return chunk

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.has_said_goodbye |= data[:1] == bytes([0x80 | CLOSE])  # frames come one by one, and whole
        await self._flows.wait()
        try:  # frames of our own making do not go through the library, which has one sent at a time
            self._one_at_a_time.acquire_nowait()
        except trio.WouldBlock:
            await self._one_at_a_time.acquire()
        try:
            await super().send_all(data)
        finally:
            self._one_at_a_time.release()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class PeerLink(Link):
    """A connection to whoever talks to the agent."""

    def __init__(self, websocket: WebSocketConnection, stream: ServedStream, nursery: trio.Nursery) -> None:
        super().__init__(websocket, stream, nursery)
        self.freeze = stream.freeze
        self.thaw = stream.thaw
        self._served = stream

    async def receive(self) -> str | bytes | LinkClosed:
        """Wait for the next message; after the last one, what ended the connection.

        What is no frame ends it on our side: the library has then stopped reading, without a word to the peer.
        """
        frame = await super().receive()
        if isinstance(frame, LinkClosed) and frame.code != ABNORMAL and not self._served.has_said_goodbye:
            return evolve(frame, is_ours=True)
        return frame

    async def send_frame(self, opcode: int, payload: bytes) -> None:
        """Send a WebSocket frame past the library, which would not let every one pass."""
        size = len(payload)
        if size < 126:
            length = struct.pack("!B", size)
        elif size < 2**16:
            length = struct.pack("!BH", 126, size)
        else:
            length = struct.pack("!BQ", 127, size)
        with suppress(trio.BrokenResourceError):
            await self._stream.send_all(bytes([0x80 | opcode]) + length + payload)

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame and wait for the answer, which who breaks the protocol need not give."""
        if self._websocket.closed and not self._served.has_said_goodbye:
            await self.send_frame(CLOSE, struct.pack("!H", code) + reason.encode())
        await self._websocket.aclose(code, reason)


async def accept_websocket(
    nursery: trio.Nursery, stream: ServedStream, subprotocols: Sequence[str], max_message_size: int
) -> WebSocketConnection | None:
    """Complete the handshake; None where the peer is gone by then. The sub-protocol is selected only if offered."""
    reader = Reader(nursery)
    with reader.limit_wait(HANDSHAKE_LIMIT), suppress(ConnectionClosed):
        proposal = await wrap_server_stream(
            cast(trio.Nursery, reader),
            stream,
            message_queue_size=MESSAGE_QUEUE,
            max_message_size=max_message_size,
            receive_buffer_size=READ_SIZE,
        )
        return await proposal.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in subprotocols else None)
    return None
