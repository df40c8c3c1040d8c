"""ASGI applications served by hypercorn, which is handed one connection after the other (floor 6).

So we know who is at the other end and how many there are, and none of them can hold up the end of the process.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from attrs import define, field

__all__ = ["BoundedStream", "Connections", "Serve", "Server", "make_server", "write_refusal"]

log = logging.getLogger(__name__)

SEND_LIMIT = 60.0  # seconds that a peer may take nothing: it has stopped for good
ACCEPT_PAUSE = 0.5  # seconds until connections are taken again, where the system had no room for another

Serve = Callable[["BoundedStream"], Awaitable[None]]


@define(eq=False)
class BoundedStream:
    """A connection whose peer may take its time, but not for ever; as much of a stream as hypercorn needs.

    hypercorn shields what it sends from being cancelled: a peer that does not read would keep the process from ending.
    """

    _stream: trio.SocketStream

    @property
    def socket(self) -> trio.socket.SocketType:
        return self._stream.socket

    async def send_all(self, content: bytes) -> None:
        """Send. Raises `trio.BrokenResourceError` where the peer takes nothing for too long."""
        with trio.move_on_after(SEND_LIMIT) as limit:
            await self._stream.send_all(content)
        if limit.cancelled_caught:
            self.cut_off()
            raise trio.BrokenResourceError

    async def receive_some(self, most: int) -> bytes:
        return await self._stream.receive_some(most)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def cut_off(self) -> None:
        """Close it at once, whoever is in the middle of sending."""
        self._stream.socket.close()


@define(eq=False)
class Connections:
    """Those that are open, each served by a task of its own: a fault in one touches no other.

    ``what`` is their name in the log; beyond ``most`` at once, a peer gets ``refusal``.
    """

    _serve: Serve
    _what: str
    _most: int
    _refusal: bytes = field(repr=False)
    _open: set[BoundedStream] = field(init=False, factory=set)

    async def run(self, listener: trio.SocketListener) -> None:
        """Take connections until cancelled, and cut all of them off then.

        Where the listener is closed, no more are taken, and those that are open are served to their end.
        """
        async with trio.open_nursery() as guard:
            guard.start_soon(self._cut_off_at_the_end)
            async with trio.open_nursery() as nursery:
                while True:
                    try:
                        stream = BoundedStream(await listener.accept())
                    except OSError as error:  # too many open files, say
                        log.error("no %s can be taken: %s", self._what, error)
                        await trio.sleep(ACCEPT_PAUSE)
                        continue
                    except trio.ClosedResourceError:
                        break
                    nursery.start_soon(self._see_to, stream, name=self._what)
            guard.cancel_scope.cancel()

    async def _see_to(self, stream: BoundedStream) -> None:
        is_admitted = len(self._open) < self._most
        self._open.add(stream)
        try:
            if is_admitted:
                await self._serve(stream)
            else:
                await stream.send_all(self._refusal)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the peer has gone
        except Exception as error:  # a fault there costs one connection, not the process
            log.error("a %s failed", self._what, exc_info=error)
        finally:
            self._open.discard(stream)
            stream.cut_off()

    async def _cut_off_at_the_end(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            for stream in self._open:
                stream.cut_off()


def write_refusal(content: bytes) -> bytes:
    """Return a whole answer, with this content in JSON, for a peer that comes when there are too many."""
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(content), content)
    )


@define(eq=False)
class Server:
    """Serves an application, one connection a call. Made by `make_server`."""

    _kind: Any
    _application: Any
    _config: Any
    _context: Any

    async def serve(self, stream: Any) -> None:
        """Serve a connection to its end."""
        await self._kind(self._application, self._config, self._context, {}, stream)

    async def finish(self) -> None:
        """Have every connection end: at once, or with the answer that is on its way."""
        await self._context.terminated.set()


def make_server(application: Any, logger: logging.Logger, *, idle_limit: float) -> Server:
    """Return what serves an application. Imports hypercorn, which takes a while.

    ``idle_limit``: seconds that a connection may be open without a request.
    """
    from hypercorn.config import Config
    from hypercorn.trio.tcp_server import TCPServer
    from hypercorn.trio.worker_context import WorkerContext
    from hypercorn.utils import wrap_app

    class PromptServer(TCPServer):
        """hypercorn's own keeps a connection that the peer has closed until that has been idle for long enough."""

        async def _read_data(self) -> None:
            await super()._read_data()
            await self.idle_task.stop()

    config = Config()
    config.errorlog = logger
    config.include_server_header = False
    config.keep_alive_timeout = idle_limit
    config.alpn_protocols = ["http/1.1"]
    return Server(PromptServer, wrap_app(application, 0, "asgi"), config, WorkerContext(None))
