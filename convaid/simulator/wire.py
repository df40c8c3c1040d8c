"""A TCP proxy that does to connections what networks do: real sockets, so that what breaks, breaks for real.

`open_wire` stands between a simulator and whoever talks to it. What happens to a connection is a `WirePlan`: a value,
and the same each time. `open_full_port` is the place that nobody gets through to at all.
"""

from __future__ import annotations

import math
import random
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

import trio
from attrs import field, frozen

from convaid.simulator.fields import check_not_negative, check_positive

__all__ = ["Passage", "Trouble", "Wire", "WirePlan", "open_full_port", "open_wire"]

READ_SIZE = 65536  # bytes of one read
STEPS_PER_SECOND = 50  # of a slow drip
WATCH_INTERVAL = 0.05  # seconds between two looks whether the peer of a stalled connection is still there
GOODBYE_LIMIT = 1.0  # seconds for the peer of a closed connection to close it, too
TCP_ESTABLISHED = 1  # the kernel's number for it (include/net/tcp_states.h)

Trouble = Literal["none", "refuse", "stall", "mute", "deaf", "reset", "close", "drip"]


@frozen
class WirePlan:
    """What happens to one connection; left as it is, nothing does.

    ``trouble`` begins when the simulator has said ``at`` and then ``after`` bytes. It is "refuse" (a reset before
    anything is said, whatever ``at`` is), "stall" (nothing gets through any more, and nothing is closed), "mute"
    (nothing more comes from the simulator), "deaf" (nothing more is read of what it is sent), "reset", "close" (the end
    of the stream, without a close frame) or "drip" (``rate`` bytes a second come from the simulator). Those that are
    not for ever end after ``lasts`` seconds. ``answer`` stands in for everything that the simulator would say; then the
    connection is closed.
    """

    trouble: Trouble = "none"
    at: bytes = b""
    after: int = field(default=0, validator=check_not_negative)
    lasts: float = field(default=math.inf, validator=check_positive)
    rate: float = field(default=1000.0, validator=check_positive)
    latency: float = field(default=0.0, validator=check_not_negative)
    """Seconds that everything takes longer, either way."""
    jitter: float = field(default=0.0, validator=check_not_negative)
    """Up to so many seconds more, by chance; the same chance for the same ``seed``."""
    seed: int = 0
    answer: bytes | None = None


class Hurt(Exception):
    """The connection is to end now; never leaves this module."""

    def __init__(self, *, is_reset: bool) -> None:
        super().__init__("reset" if is_reset else "closed")
        self.is_reset = is_reset


class Passage:
    """One connection through the wire, from the ``near`` side, the peer's, to the ``far`` one, the simulator's."""

    def __init__(self, near: trio.SocketStream, plan: WirePlan) -> None:
        self._near = near
        self.follow(plan)

    def follow(self, plan: WirePlan) -> None:
        """Go by this plan from now on: its bytes are counted from here."""
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._tail = b""  # the end of what was said, for an `at` that comes in two pieces
        self._left = -1  # bytes until the trouble begins, once `at` has been said
        self._is_over = plan.trouble == "none"
        self._slow_until = -math.inf
        self._deaf_until = -math.inf

    async def carry(self, far: trio.SocketStream) -> None:
        """Carry both directions until both sides have closed; the sockets are the caller's. Raises `Hurt`."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry_up, far)
                nursery.start_soon(self._carry_down, far)
        except* Hurt as group:
            raise find_hurt(group) from None

    async def _carry_up(self, far: trio.SocketStream) -> None:
        while chunk := await receive(self._near):
            await self._delay()
            await self._wait(self._deaf_until)
            await send(far, chunk)
        with suppress(trio.BrokenResourceError):
            await far.send_eof()

    async def _carry_down(self, far: trio.SocketStream) -> None:
        while chunk := await receive(far):
            await self._delay()
            before = self._find_trouble(chunk)
            if before is not None:
                await self._say(chunk[:before])
                chunk = chunk[before:]
                await self._make_trouble()
            await self._say(chunk)
        with suppress(trio.BrokenResourceError):
            await self._near.send_eof()

    def _find_trouble(self, chunk: bytes) -> int | None:
        """How many bytes of this chunk pass before the trouble; None where it does not begin in it."""
        if self._is_over:
            return None
        begin = 0
        if self._left < 0:
            said = self._tail + chunk
            place = said.find(self._plan.at)
            if place < 0:
                self._tail = said[max(0, len(said) - len(self._plan.at) + 1) :]
                return None
            begin = place + len(self._plan.at) - len(self._tail)
            self._left = self._plan.after
        if len(chunk) - begin < self._left:
            self._left -= len(chunk) - begin
            return None
        self._is_over = True
        return begin + self._left

    async def _make_trouble(self) -> None:
        until = trio.current_time() + self._plan.lasts
        match self._plan.trouble:
            case "reset" | "close" as end:
                raise Hurt(is_reset=end == "reset")
            case "drip":
                self._slow_until = until
            case "deaf":
                self._deaf_until = until
            case "mute":
                await self._wait(until)
            case "stall":
                self._deaf_until = until
                await self._wait(until)

    async def _wait(self, until: float) -> None:
        """Let nothing through until then, unless the peer goes: who reads nothing hears nothing of that."""
        while trio.current_time() < until:
            await trio.sleep(min(WATCH_INTERVAL, until - trio.current_time()))
            if self._near.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != TCP_ESTABLISHED:
                raise Hurt(is_reset=True)

    async def _say(self, chunk: bytes) -> None:
        while chunk and trio.current_time() < self._slow_until:
            size = max(1, int(self._plan.rate / STEPS_PER_SECOND))
            await send(self._near, chunk[:size])
            chunk = chunk[size:]
            await trio.sleep(size / self._plan.rate)
        if chunk:
            await send(self._near, chunk)

    async def _delay(self) -> None:
        if self._plan.latency or self._plan.jitter:
            await trio.sleep(self._plan.latency + self._plan.jitter * self._chance.random())


class Wire:
    """A running proxy, made by `open_wire`. ``passages`` are the open connections, by the port that the simulator sees
    as its peer's."""

    def __init__(self, base_url: str, target: str, plans: Iterable[WirePlan]) -> None:
        self.base_url = base_url
        self.passages: dict[int, Passage] = {}
        self.connections = 0
        """How many there have been."""
        self._target = urlsplit(target)
        self._plans = iter(plans)

    async def serve(self, near: trio.SocketStream) -> None:
        """Serve one connection; the stream is the caller's to close."""
        self.connections += 1
        plan = next(self._plans, WirePlan())
        try:
            if plan.trouble == "refuse":
                raise Hurt(is_reset=True)
            if plan.answer is not None:
                await receive(near)
                await send(near, plan.answer)
                raise Hurt(is_reset=False)
            await self._connect(near, Passage(near, plan))
        except Hurt as hurt:
            if hurt.is_reset:
                near.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            with trio.move_on_after(GOODBYE_LIMIT), suppress(trio.BrokenResourceError):
                await near.send_eof()
                while await near.receive_some(READ_SIZE):
                    pass

    async def _connect(self, near: trio.SocketStream, passage: Passage) -> None:
        assert self._target.hostname is not None
        assert self._target.port is not None
        try:
            far = await trio.open_tcp_stream(self._target.hostname, self._target.port)
        except OSError:
            raise Hurt(is_reset=True) from None
        port = far.socket.getsockname()[1]
        self.passages[port] = passage
        try:
            await passage.carry(far)
        finally:
            del self.passages[port]
            await trio.aclose_forcefully(far)


@asynccontextmanager
async def open_wire(target: str, plans: Iterable[WirePlan] = (), *, port: int = 0) -> AsyncIterator[Wire]:
    """Stand between a simulator, ``target`` as its ``base_url``, and whoever connects to the `Wire`'s.

    The first connection goes by the first plan, and so on; nothing happens to those for which there is none. Leaving
    the context ends all at once. Port 0 takes a free one; OSError where the port is taken.
    """
    (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
    address, port = listener.socket.getsockname()
    wire = Wire(f"http://{address}:{port}", target, plans)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, wire.serve, [listener], handler_nursery=nursery))
        yield wire
        nursery.cancel_scope.cancel()


@contextmanager
def open_full_port() -> Iterator[str]:
    """Yield the address of a port at which nobody gets through: its queue is full, and the kernel answers no more."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for caller in (first, second):
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        address, port = listener.getsockname()
        yield f"http://{address}:{port}"


async def receive(stream: trio.SocketStream) -> bytes:
    """The next bytes, empty at the end. Raises `Hurt` where the other side has reset the connection."""
    try:
        return bytes(await stream.receive_some(READ_SIZE))
    except trio.BrokenResourceError:
        raise Hurt(is_reset=True) from None


async def send(stream: trio.SocketStream, chunk: bytes) -> None:
    """Send bytes. Raises `Hurt` where the other side is gone."""
    try:
        await stream.send_all(chunk)
    except trio.BrokenResourceError:
        raise Hurt(is_reset=True) from None


def find_hurt(group: BaseExceptionGroup[Hurt]) -> Hurt:
    """The first of those that ended a connection."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Hurt)
    return error
