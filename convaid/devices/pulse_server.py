"""A connection to PulseAudio, or to PipeWire behind its PulseAudio socket. No thread: trio turns libpulse's loop.

A thread of its own would have to be woken for every block, and wake trio for it, each of which costs more than all that
is to be done.
"""

from __future__ import annotations

import ctypes
import math
import re
import select
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn

import trio

from convaid.devices.interfaces import Role, StreamError
from convaid.devices.libpulse import (
    FAILED,
    NO_AUTOSPAWN,
    NO_INDEX,
    NOTIFY_CALL,
    POLL_CALL,
    PORT_CALL,
    READY,
    SERVER_CALL,
    load_libpulse,
)
from convaid.devices.names import Device

__all__ = ["Connection", "open_connection"]

ANSWER_LIMIT = 2.0  # seconds that a server has for its answers; it takes some 5 ms
MOST_STEPS = 500
SHORTEST_PAUSE = 0.005  # seconds
NO_CALL = POLL_CALL()  # the library calls poll(2) itself
POLL = struct.Struct("ihh")  # struct pollfd: descriptor, events, what has come of them


class Connection:
    """`open_connection` makes and closes it."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.ended = trio.Event()
        """The server is gone."""
        self.calls: list[Any] = []
        """What the library may call, as long as there is a connection."""
        self._loop = library.pa_mainloop_new()
        self._watched: set[int] = set()
        self._epoll = select.epoll()  # of all that the library waits for, so that trio has one thing to wait for
        self.take_turn: Callable[[], None] = _do_nothing
        """What a stream does when the library has done its part: it may ask for a `pause`."""
        self._wake = trio.CancelScope()
        self._timeout = -1
        self._pause = 0.0
        self._is_pausing = False
        self._turned = trio.lowlevel.ParkingLot()
        self._poll_call = POLL_CALL(self._poll)
        self.context = library.pa_context_new(library.pa_mainloop_get_api(self._loop), b"convaid")
        library.pa_context_set_state_callback(self.context, self.keep(NOTIFY_CALL(self._note_state)), None)

    def keep(self, call: Any) -> Any:
        """Keep a function that the library is given."""
        self.calls.append(call)
        return call

    def turn(self) -> None:
        """Have the library do all that is to be done now. To be called after anything that was asked of it."""
        self._pause = 0.0
        for _ in range(MOST_STEPS):
            if self.library.pa_mainloop_iterate(self._loop, 0, None) > 0:
                continue
            self.take_turn()
            if self._pause or not self._look():
                break
        else:  # whoever floods us is not to keep the others waiting
            self.take_turn()
            self._pause = SHORTEST_PAUSE
        if self._pause:
            self._wake.deadline = trio.current_time() + self._pause
        elif self._is_pausing:
            self._wake.cancel()
        self._turned.unpark_all()

    def _look(self) -> bool:
        """See what the library waits for, and for how long; whether that was over already."""
        self.library.pa_mainloop_set_poll_func(self._loop, self._poll_call, None)
        is_over: bool = self.library.pa_mainloop_iterate(self._loop, 1, None) > 0
        self.library.pa_mainloop_set_poll_func(self._loop, NO_CALL, None)
        self._wake.deadline = trio.current_time() + self._timeout / 1000 if self._timeout >= 0 else math.inf
        return is_over

    def pause(self, seconds: float) -> None:
        """Nothing new is to be done for so long: what comes by then may wait, and costs no wake-up."""
        if seconds >= SHORTEST_PAUSE:
            self._pause = seconds

    def forget_stream(self) -> None:
        """There is no stream any more that would take its turn."""
        self.take_turn = _do_nothing

    async def serve(self) -> NoReturn:
        """Turn it whenever there is something to be done, until cancelled."""
        while True:
            with trio.CancelScope() as self._wake:
                self._is_pausing = False
                self.turn()
                self._is_pausing = self._pause > 0
                if self._is_pausing:
                    await trio.sleep_forever()
                await trio.lowlevel.wait_readable(self._epoll)

    async def connect(self) -> bool:
        """Whether there is a server."""
        if self.library.pa_context_connect(self.context, None, NO_AUTOSPAWN, None) < 0:
            return False
        try:
            return await self.wait_for(lambda: self.library.pa_context_get_state(self.context), READY) == READY
        except StreamError:
            return False

    async def wait_for(self, find_state: Callable[[], int], least: int) -> int:
        """Wait until a state is the ``least`` one or beyond. Raises `StreamError` where that takes too long."""
        with trio.move_on_after(ANSWER_LIMIT):
            self.turn()
            while (state := find_state()) < least:
                await self._turned.park()
            return state
        raise StreamError("the sound server does not answer")

    def release(self, operation: Any) -> None:
        """Forget what was asked for; it is done all the same."""
        if operation:  # none, where the connection is lost already
            self.library.pa_operation_unref(operation)

    def describe_failure(self) -> str:
        """What the library says of its last fault."""
        words: bytes = self.library.pa_strerror(self.library.pa_context_errno(self.context))
        return words.decode(errors="replace")

    def close(self) -> None:
        """Its stream is closed."""
        self.library.pa_context_disconnect(self.context)
        self.library.pa_context_unref(self.context)
        self.library.pa_mainloop_free(self._loop)
        self._epoll.close()

    def _note_state(self, context: int, _: object) -> None:
        if self.library.pa_context_get_state(context) >= FAILED:
            self.ended.set()

    def _poll(self, place: int, count: int, timeout: int, _: object) -> int:
        """What the library takes for poll(2); nothing is waited for in here, and nothing is there."""
        self._timeout = timeout
        wanted = {fd: events for fd, events, _ in POLL.iter_unpack(ctypes.string_at(place, POLL.size * count))}
        for fd in self._watched - wanted.keys():
            with suppress(OSError):  # it is closed, and thereby forgotten
                self._epoll.unregister(fd)
        for fd, events in wanted.items():
            try:
                self._epoll.modify(fd, events)
            except FileNotFoundError:  # it is new, even if its number is not
                self._epoll.register(fd, events)
        self._watched = set(wanted)
        return 0

    async def list_devices(self) -> list[Device]:
        """The server's devices. Raises `StreamError`."""
        found: list[tuple[Role, str, str, int, int, bool]] = []
        server: list[tuple[str, str, str]] = []
        ends: list[int] = []

        def note_server(_: int, about: Any, __: object) -> None:
            texts = (about[0].name, about[0].version, about[0].default_source, about[0].default_sink)
            name, version, source, sink = [(text or b"").decode(errors="replace") for text in texts]
            server.append((_name_server(name, version), source, sink))

        def make_noting(role: Role) -> Any:
            def note_port(_: int, port: Any, end: int, __: object) -> None:
                if end:
                    ends.append(end)
                    return
                each = port[0]
                name, words = each.name.decode(errors="replace"), (each.description or b"").decode(errors="replace")
                is_monitor = role == "microphone" and each.monitored != NO_INDEX
                found.append((role, name, words, each.spec.rate, each.spec.channels, is_monitor))

            return self.keep(PORT_CALL(note_port))

        for operation in (
            self.library.pa_context_get_server_info(self.context, self.keep(SERVER_CALL(note_server)), None),
            self.library.pa_context_get_source_info_list(self.context, make_noting("microphone"), None),
            self.library.pa_context_get_sink_info_list(self.context, make_noting("speaker"), None),
        ):
            self.release(operation)
        await self.wait_for(lambda: len(server) + len(ends) + 3 * self.ended.is_set(), 3)
        if not server:
            return []
        words, source, sink = server[0]
        return [
            Device(
                role,
                name,
                description,
                words,
                name,
                rate,
                channels,
                name == (source if role == "microphone" else sink),
                is_monitor,
            )
            for role, name, description, rate, channels, is_monitor in found
        ]


def _do_nothing() -> None:
    pass


@asynccontextmanager
async def open_connection() -> AsyncIterator[Connection | None]:
    """A connection to the sound server, while inside; None where there is no server, or none that answers."""
    if (library := load_libpulse()) is None:
        yield None
        return
    connection = Connection(library)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.serve, name="turn libpulse's loop")
            yield connection if await connection.connect() else None
            nursery.cancel_scope.cancel()
    finally:
        connection.close()


def _name_server(name: str, version: str) -> str:
    inside = re.search(r"PipeWire ([\w.]+)", name)
    return f"PipeWire {inside[1]}" if inside else f"PulseAudio {version}"
