"""One HTTP request, and its answer in the pieces in which it comes.

Not by httpx, which reads by generators within generators: one that is left early, as an answer is that somebody
interrupts, is only closed when Python comes across it, and that may be long after.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import h11
import trio
from attrs import define

from convaid.transport import load_trust_store

__all__ = ["ANSWER_PROBLEMS", "Exchange", "open_exchange"]

READ_SIZE = 65536  # bytes
# What goes wrong with a server that is there, and answers badly or not to the end.
ANSWER_PROBLEMS = (trio.BrokenResourceError, h11.RemoteProtocolError)


@define
class Exchange:
    """An answer: its status and headers, and the body as far as somebody reads it."""

    status: int
    headers: Mapping[str, str]
    _stream: trio.abc.Stream
    _connection: h11.Connection

    async def read(self) -> bytes:
        """The next piece of the body; nothing at its end. Raises what is in ``ANSWER_PROBLEMS``."""
        event = await _receive(self._stream, self._connection)
        return bytes(event.data) if isinstance(event, h11.Data) else b""


@asynccontextmanager
async def open_exchange(method: str, url: str, headers: Mapping[str, str], body: bytes) -> AsyncIterator[Exchange]:
    """Send a request, and wait for the head of its answer; leaving the context closes the connection.

    Raises OSError where no connection is to be had, and what is in ``ANSWER_PROBLEMS``.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    is_tls = parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    if is_tls:
        stream: trio.abc.Stream = await trio.open_ssl_over_tcp_stream(
            parts.hostname, port, ssl_context=load_trust_store(), https_compatible=True
        )
    else:
        stream = await trio.open_tcp_stream(parts.hostname, port)
    async with stream:
        connection = h11.Connection(h11.CLIENT)
        length = str(len(body))
        request = h11.Request(
            method=method,
            target=parts.path or "/",
            headers=[*{"Host": parts.netloc.rpartition("@")[2], "Content-Length": length, **headers}.items()],
        )
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            await stream.send_all(connection.send(event) or b"")
        answer = await _receive(stream, connection)
        while isinstance(answer, h11.InformationalResponse):
            answer = await _receive(stream, connection)
        if not isinstance(answer, h11.Response):
            raise h11.RemoteProtocolError("the connection was closed before the answer")
        answered = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
        yield Exchange(answer.status_code, answered, stream, connection)


async def _receive(stream: trio.abc.Stream, connection: h11.Connection) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(bytes(await stream.receive_some(READ_SIZE)))
    return event
