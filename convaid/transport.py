"""One WebSocket connection to the platform, over a TCP stream that we open and own (floor 2).

trio-websocket does the framing. Opening and closing are ours, because its own opener leaves sockets behind on refused
handshakes, does not bound the HTTP upgrade, hides TLS errors behind a time-out, and can leak its reader's errors.
"""

from __future__ import annotations

import functools
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import cast
from urllib.parse import urlsplit

import trio
from attrs import frozen
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from convaid.config.checks import is_loopback
from convaid.errors import LinkError, LinkRefused
from convaid.protocol.refusal import read_detail

__all__ = ["Address", "Link", "LinkClosed", "load_trust_store", "open_link", "split_url"]

log = logging.getLogger(__name__)

SUBPROTOCOL = "convai"  # what the official JavaScript client offers
MESSAGE_LIMIT = 16 * 2**20  # bytes of one message, as in the official SDKs; a larger one ends the link with 1009
MESSAGE_QUEUE = 256  # messages between the socket and us; a full queue would hold up WebSocket pongs
READ_SIZE = 256 * 2**10  # bytes of one read: four times the throughput of the library's 4 KiB
PONG_LIMIT = 10.0  # seconds that a ping waits for its pong; by then the link has been given up, or was never quiet
ABNORMAL = 1006  # close code of a connection that ended without a close frame (RFC 6455, 7.1.5)


@frozen
class LinkClosed:
    """The connection is over: the peer's close code and reason, or 1006 where no close frame came.

    ``is_ours``: the peer broke the protocol, and this is what it is to be told (RFC 6455, 7.1.7).
    """

    code: int
    reason: str = ""
    is_ours: bool = False


@frozen
class Address:
    """Where a WebSocket URL leads; ``resource`` is path and query, and may hold a secret."""

    host: str
    port: int
    resource: str
    is_tls: bool

    @property
    def netloc(self) -> str:
        """Host and port as an HTTP ``Host`` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port in (80, 443) else f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"<{'wss' if self.is_tls else 'ws'} {self.netloc}>"


def split_url(url: str) -> Address:
    """Take a WebSocket URL apart. Raises `LinkError` for anything but ``wss://``, or ``ws://`` on loopback."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise LinkError(f"the platform's WebSocket URL cannot be read: {error}") from None
    try:
        (host or "").encode("idna")
    except UnicodeError:
        raise LinkError("the platform's WebSocket URL has a host name that cannot be one") from None
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise LinkError("the platform's WebSocket URL has characters that must be percent-encoded")
    if not host or parts.scheme not in ("ws", "wss"):
        raise LinkError(f"the platform's WebSocket URL must begin with wss://, not {parts.scheme or 'nothing'}://")
    is_tls = parts.scheme == "wss"
    if not is_tls and not is_loopback(host):
        raise LinkError(f"refusing an unencrypted connection to {host}: use wss:// (ws:// is for this machine alone)")
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(host, port or (443 if is_tls else 80), resource, is_tls)


@functools.cache
def load_trust_store() -> ssl.SSLContext:
    """The machine's trusted certificates (``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are honoured), loaded once."""
    return ssl.create_default_context()


class HeardStream(trio.abc.Stream):
    """A stream that notes when the peer was last heard, whatever it said: half a frame and a pong count too."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.heard_at = trio.current_time()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        chunk = await self.stream.receive_some(max_bytes)
        self.heard_at = trio.current_time()
        return chunk

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.stream.aclose()


class Link:
    """An open connection. Opened and closed by `open_link`; one task receives, one sends."""

    is_given_up = False
    """Set it where the peer is known not to listen: the connection is closed without a goodbye that nobody answers."""

    def __init__(self, websocket: WebSocketConnection, stream: HeardStream, nursery: trio.Nursery) -> None:
        self._websocket = websocket
        self._stream = stream
        self._nursery = nursery

    @property
    def heard_at(self) -> float:
        """When (trio's clock) the peer was last heard, be it half a frame."""
        return self._stream.heard_at

    async def receive(self) -> str | bytes | LinkClosed:
        """Wait for the next message; after the last one, what ended the connection."""
        try:
            return await self._websocket.get_message()
        except ConnectionClosed:
            closed = self._websocket.closed
            return LinkClosed(int(closed.code), closed.reason or "") if closed else LinkClosed(ABNORMAL)

    async def send(self, frame: str) -> bool:
        """Send one text message. False where the connection is over; `receive` says why.

        Cancelling it in the middle breaks the connection.
        """
        try:
            await self._websocket.send_message(frame)
        except ConnectionClosed:
            return False
        return True

    def ping(self) -> None:
        """Send a WebSocket ping, in a task that ends with the connection. Its pong shows in `heard_at`."""
        self._nursery.start_soon(self._ping, name="websocket ping")

    async def _ping(self) -> None:
        with suppress(ConnectionClosed), trio.move_on_after(PONG_LIMIT):
            await self._websocket.ping()


class Reader:
    """Stands in for the nursery that trio-websocket starts its reader in, so that the reader's errors become values."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._has_ended = False
        self._wait = trio.CancelScope()
        self.refusal: ConnectionRejected | None = None
        self.failure: Exception | None = None

    def start_soon(self, reader: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._read, reader, name="websocket reader")

    async def _read(self, reader: Callable[[], Awaitable[None]]) -> None:
        try:
            await reader()
        except ConnectionRejected as refusal:
            self.refusal = refusal
        except Exception as error:  # noqa: BLE001 - the libraries below raise what they like at what a peer sends
            self.failure = error
            log.debug("the WebSocket reader ended: %r", error)  # a ping after our close frame, say
        finally:
            self._has_ended = True
            self._wait.cancel()

    def limit_wait(self, seconds: float) -> trio.CancelScope:
        """A scope for a wait for something that only the reader can bring: it ends with the reader, or in time."""
        self._wait = trio.CancelScope(deadline=trio.current_time() + seconds)
        if self._has_ended:
            self._wait.cancel()
        return self._wait


@asynccontextmanager
async def open_link(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    connect: float = 10.0,
    handshake: float = 10.0,
    disconnect: float = 3.0,
) -> AsyncIterator[Link]:
    """Open a connection; leaving the context says goodbye with code 1000 and closes the socket.

    ``connect`` bounds name look-up, TCP and TLS, ``handshake`` the HTTP upgrade, ``disconnect`` the exchange of close
    frames, in seconds. Raises `LinkError` where no connection comes about, `LinkRefused` where the platform answers
    with an HTTP status. A cancelled context closes the socket at once, without goodbye: the peer sees 1006.
    """
    address = split_url(url)
    stream = HeardStream(await open_stream(address, connect))
    failure: LinkError | None = None
    try:
        async with trio.open_nursery() as nursery:
            reader = Reader(nursery)
            try:
                websocket = await shake_hands(reader, stream, address, headers or {}, handshake)
            except LinkError as error:
                failure = error
            else:
                link = Link(websocket, stream, nursery)
                yield link
                with reader.limit_wait(0 if link.is_given_up else disconnect):
                    await websocket.aclose(1000)
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)
    if failure is not None:
        raise failure


async def open_stream(address: Address, time_limit: float) -> trio.abc.Stream:
    """Connect by TCP, and TLS where the URL says so. Raises `LinkError` after at most ``time_limit`` seconds."""
    try:
        with trio.fail_after(time_limit):
            stream = await trio.open_tcp_stream(address.host, address.port)
            return await start_tls(stream, address.host) if address.is_tls else stream
    except (OSError, trio.BrokenResourceError) as error:
        raise LinkError(f"cannot connect to {address.netloc}: {describe_failure(error)}") from error
    except trio.TooSlowError:
        raise LinkError(f"cannot connect to {address.netloc}: no answer in {time_limit:g} s") from None


def describe_failure(error: BaseException) -> str:
    """What went wrong, from the innermost cause: the first of several attempts stands for all."""
    while isinstance(cause := error.__cause__ or error, BaseExceptionGroup) or error.__cause__ is not None:
        error = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause
    return str(error) or type(error).__name__


async def start_tls(stream: trio.SocketStream, host: str) -> trio.abc.Stream:
    """Begin TLS on a connected stream; closes it where that fails."""
    tls = trio.SSLStream(stream, load_trust_store(), server_hostname=host, https_compatible=True)
    try:
        await tls.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return tls


async def shake_hands(
    reader: Reader, stream: trio.abc.Stream, address: Address, headers: Mapping[str, str], time_limit: float
) -> WebSocketConnection:
    """Upgrade the stream to a WebSocket. Raises `LinkError` or `LinkRefused`."""
    give_up_at = trio.current_time() + time_limit
    with reader.limit_wait(time_limit):
        return await wrap_client_stream(
            cast(trio.Nursery, reader),
            cast(trio.SocketStream, stream),
            address.netloc,
            address.resource,
            subprotocols=[SUBPROTOCOL],
            extra_headers=[(name.encode(), value.encode()) for name, value in headers.items()],
            message_queue_size=MESSAGE_QUEUE,
            max_message_size=MESSAGE_LIMIT,
            receive_buffer_size=READ_SIZE,
        )
    if reader.refusal is not None:
        raise LinkRefused(reader.refusal.status_code, read_detail(bytes(reader.refusal.body or b"")))
    if trio.current_time() >= give_up_at:
        raise LinkError(f"{address.netloc} did not answer the WebSocket handshake in {time_limit:g} s")
    if reader.failure is not None:
        raise LinkError(f"{address.netloc} did not answer the handshake as a WebSocket does: {reader.failure!r:.200}")
    raise LinkError(f"{address.netloc} hung up during the WebSocket handshake")
