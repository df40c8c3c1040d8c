"""Servers for tests of the transport floor."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio
from trio_websocket import WebSocketConnection, WebSocketRequest, serve_websocket
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request

Serve = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def serve_raw(serve: Serve) -> AsyncIterator[int]:
    """A TCP server that does as ``serve`` does with each connection; yields its port."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(partial(trio.serve_listeners, serve, [listener], handler_nursery=nursery))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serve_http(status: int, body: bytes, seen: list[bytes] | None = None) -> AsyncIterator[int]:
    """An HTTP server with one answer to everything; ``seen`` gets each request's head. Yields its port."""

    async def answer(stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        if seen is not None:
            seen.append(head)
        await stream.send_all(
            b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(body), body)
        )

    async with serve_raw(answer) as port:
        yield port


@asynccontextmanager
async def serve_websockets(
    converse: Callable[[WebSocketConnection], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A well-behaved WebSocket server; yields its port."""

    async def accept(request: WebSocketRequest) -> None:
        subprotocol = "convai" if "convai" in request.proposed_subprotocols else None
        await converse(await request.accept(subprotocol=subprotocol))

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, accept, "127.0.0.1", 0, ssl_context=tls))
        yield server.port
        nursery.cancel_scope.cancel()


async def accept_by_hand(stream: trio.SocketStream) -> WSConnection:
    """Do the server's part of the handshake and return the protocol state, for servers that then misbehave."""
    websocket = WSConnection(ConnectionType.SERVER)
    while True:
        websocket.receive_data(await stream.receive_some())
        for event in websocket.events():
            if isinstance(event, Request):
                await stream.send_all(websocket.send(AcceptConnection()))
                return websocket
