"""The part of the control API that is about the daemon as a whole (floor 6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import attrs
import trio
from attrs import frozen
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from convaid.control.exchange import Exchange, Query, Route
from convaid.control.feed import Reader, write_message
from convaid.control.forms import Settings
from convaid.control.status import Status, describe_status
from convaid.reloading import Reload, reload

__all__ = ["DAEMON_ROUTES"]

HEARTBEAT_INTERVAL = 15.0  # seconds without an event after which a reader that is gone is noticed


async def show_status(exchange: Exchange) -> Status:
    return describe_status(exchange.daemon)


async def reload_configuration(exchange: Exchange) -> Reload:
    return await reload(exchange.daemon)


async def show_configuration(exchange: Exchange) -> Settings:
    tables: dict[str, Any] = write_infinity(exchange.daemon.configuration.masked())
    return Settings(tables)


def write_infinity(value: Any) -> Any:
    """Return plain values with what JSON has no number for as TOML writes it."""
    if isinstance(value, dict):
        return {name: write_infinity(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [write_infinity(inner) for inner in value]
    return "inf" if isinstance(value, float) and math.isinf(value) else value


async def stop_daemon(exchange: Exchange) -> Response:
    # The answer first: the daemon may be over in a moment.
    return JSONResponse({"state": "stopping"}, 202, background=BackgroundTask(set_event, exchange.daemon.stop))


async def set_event(event: trio.Event) -> None:
    event.set()


async def follow_events(exchange: Exchange) -> Response:
    conversations = exchange.query.get("conversation", [])
    for name in conversations:
        exchange.keeper.find(name)
    reader = Reader(frozenset(conversations), frozenset(exchange.query.get("tool", [])))
    exchange.feed.add(reader)
    return EventStream(exchange, reader)


class EventStream(Response):
    """The state of everything, and from then on what happens, until the reader has gone.

    Not starlette's StreamingResponse, which leaves the end of a generator to the garbage collector.
    """

    def __init__(self, exchange: Exchange, reader: Reader) -> None:
        super().__init__(media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._exchange, self._reader = exchange, reader
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def write(messages: Sequence[bytes]) -> None:
            await send({"type": "http.response.body", "body": b"".join(messages), "more_body": True})

        async def wait_for_disconnect(stream: trio.CancelScope) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            stream.cancel()

        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_for_disconnect, nursery.cancel_scope)
                self._exchange.daemon.announcer.tell()  # what is in the snapshot, and not yet told
                self._reader.begin()
                await write([write_message("snapshot", attrs.asdict(describe_status(self._exchange.daemon)))])
                while True:
                    messages = [b": still there\n\n"]
                    with trio.move_on_after(HEARTBEAT_INTERVAL):
                        messages = await self._reader.take()
                    await write(messages)
        finally:
            self._exchange.feed.remove(self._reader)


@frozen
class Stopping:
    """The daemon says goodbye to everybody, and ends."""

    state: str


DAEMON_ROUTES = (
    Route("GET", "/v1/status", "showStatus", "How everything is: what `convaid status` shows.", Status, show_status),
    Route(
        "GET",
        "/v1/configuration",
        "showConfiguration",
        "The configuration as it is in effect, secrets masked.",
        Settings,
        show_configuration,
    ),
    Route(
        "POST",
        "/v1/reload",
        "reload",
        "Read the configuration again and take it on; what did not change keeps its connection.",
        Reload,
        reload_configuration,
    ),
    Route(
        "GET",
        "/v1/events",
        "followEvents",
        "Server-sent events: first a `snapshot` (as the status), then what happens, as it happens. A reader that is "
        "too slow is told by `missed` how many it did not get.",
        None,
        follow_events,
        failures=(404,),
        query=(
            Query("conversation", "Only events of this one; may be repeated.", is_repeatable=True),
            Query("tool", "Only calls of this one; may be repeated.", is_repeatable=True),
        ),
    ),
    Route("POST", "/v1/stop", "stop", "Have the daemon end, with a goodbye to all.", Stopping, stop_daemon, status=202),
)
