"""The control API, served on its socket for as long as the daemon lives (floor 6)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from convaid.asgi import BoundedStream, Connections, Serve, make_server, write_refusal
from convaid.control.listening import open_socket
from convaid.control.peers import PEER, Peer, read_peer

if TYPE_CHECKING:
    from convaid.calls.desk import Desk
    from convaid.control.feed import Feed
    from convaid.daemon import Daemon

__all__ = ["serve_control"]

log = logging.getLogger(__name__)

CONNECTIONS = 64  # at once, of all peers
IDLE_LIMIT = 10.0  # seconds that a connection may be open without a request
TOO_MANY = b'{"error":{"code":"too_many","message":"too many connections","remedy":"Try again.","problems":[]}}'


async def serve_control(daemon: Daemon, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve the control API until cancelled, if the configuration wants it; ready when it answers.

    Raises `ConfigurationError` where there cannot be a socket.
    """
    config = daemon.configuration.control
    if not config.enabled:
        task_status.started()
        return
    with open_socket(config) as socket, open_service(daemon) as serve:
        serve_stream = await trio.to_thread.run_sync(serve)
        log.info("the control API is at %s", socket.getsockname())
        task_status.started()
        connections = Connections(serve_stream, "control connection", CONNECTIONS, write_refusal(TOO_MANY))
        await connections.run(trio.SocketListener(trio.socket.from_stdlib_socket(socket)))


@contextmanager
def open_service(daemon: Daemon) -> Iterator[Callable[[], Serve]]:
    """Open the desk and the feed of events, and yield what makes that which serves one connection, in a thread."""
    from convaid.calls.desk import Desk
    from convaid.control.feed import Feed

    def find_redacted(tool: str) -> tuple[str, ...]:
        offer = daemon.tool_calls.find_offer(tool)
        return (offer.policy.redact or ()) if offer is not None else ()

    feed, desk = Feed(find_redacted), Desk(daemon.announcer.publish)
    observers, approvers = daemon.announcer.observers, daemon.tool_calls.approvals.approvers
    observers.append(feed.observe)
    approvers.append(desk)
    daemon.desk, daemon.feed = desk, feed
    try:
        yield lambda: prepare(daemon, feed, desk)
    finally:
        daemon.desk = daemon.feed = None
        approvers.remove(desk)
        observers.remove(feed.observe)


def prepare(daemon: Daemon, feed: Feed, desk: Desk) -> Serve:
    """Import what serves HTTP, a tenth of a second for which no conversation is to wait; return what serves one."""
    from convaid.control.application import make_application

    server = make_server(make_application(daemon, feed, desk), log, idle_limit=IDLE_LIMIT)

    async def serve(stream: BoundedStream) -> None:
        peer = read_peer(stream.socket)
        await trio.to_thread.run_sync(_name, peer)
        PEER.set(peer)
        await server.serve(stream)

    return serve


def _name(peer: Peer) -> str:
    return peer.user  # its name is remembered; where it comes from a server, that takes its time
