"""The proxy: what it does to connections it really does, on sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio

from convaid.simulator.wire import WirePlan, open_full_port, open_wire

LIMIT = 10.0  # seconds for anything here


async def echo(stream: trio.SocketStream) -> None:
    """Say hello, then everything back."""
    with suppress(trio.BrokenResourceError):
        await stream.send_all(b"hello world")
        async for chunk in stream:
            await stream.send_all(chunk)


@asynccontextmanager
async def call(*plans: WirePlan) -> AsyncIterator[trio.SocketStream]:
    """Call `echo` through the wire."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(partial(trio.serve_listeners, echo, [listener], handler_nursery=nursery))
        target = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        with trio.fail_after(LIMIT):
            async with open_wire(target, plans) as wire:
                port = int(wire.base_url.rpartition(":")[2])
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    yield stream
        nursery.cancel_scope.cancel()


async def read(stream: trio.SocketStream, least: int, seconds: float = LIMIT) -> bytes:
    """So many bytes at least, and all that comes until the end, or for so long after them."""
    came = b""
    with trio.CancelScope() as limit:
        async for chunk in stream:
            came += chunk
            if len(came) >= least:
                limit.deadline = min(limit.deadline, trio.current_time() + seconds)
    return came


async def gather(stream: trio.SocketStream, heard: list[bytes | bytearray]) -> None:
    """Take all that comes, until something happens."""
    async for chunk in stream:
        heard.append(chunk)


async def test_a_wire_without_a_plan_carries_everything() -> None:
    async with call() as stream, trio.open_nursery() as nursery:

        async def speak() -> None:
            await stream.send_all(b"x" * 1_000_000)
            await stream.send_eof()

        nursery.start_soon(speak)  # an echo that nobody reads would hold it up
        assert await read(stream, 1_000_011) == b"hello world" + b"x" * 1_000_000


@pytest.mark.parametrize(("at", "after", "came"), [(b"", 4, b"hell"), (b"lo", 0, b"hello"), (b"hello", 3, b"hello wo")])
async def test_a_reset_comes_at_its_byte(at: bytes, after: int, came: bytes) -> None:
    async with call(WirePlan("reset", at, after)) as stream:
        heard: list[bytes | bytearray] = []
        with pytest.raises(trio.BrokenResourceError) as broken:
            await gather(stream, heard)
    assert isinstance(broken.value.__cause__, ConnectionResetError)
    assert b"".join(heard) in (came, b"")  # a reset throws away what has not been read


async def test_what_begins_the_trouble_may_come_in_two_pieces() -> None:
    async with call(WirePlan("close", b"world42")) as stream:
        await stream.send_all(b"4")
        assert await read(stream, 12, 0.1) == b"hello world4"
        await stream.send_all(b"2 and nothing more")
        assert await read(stream, 1) == b"2"


async def test_a_close_is_the_end_of_the_stream() -> None:
    async with call(WirePlan("close", after=5)) as stream:
        assert await read(stream, 5) == b"hello"


async def test_a_refused_connection_is_reset_at_once() -> None:
    async with call(WirePlan("refuse")) as stream:
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()


async def test_a_stalled_connection_says_nothing_and_goes_on_later() -> None:
    async with call(WirePlan("stall", after=5, lasts=0.4)) as stream:
        await stream.send_all(b"!")
        assert await read(stream, 5, 0.2) == b"hello"
        assert await read(stream, 7, 0.2) == b" world!"


async def test_a_deaf_platform_reads_nothing() -> None:
    async with call(WirePlan("deaf")) as stream:
        assert await read(stream, 11, 0.1) == b"hello world"
        with trio.move_on_after(0.5) as limit:
            await stream.send_all(bytes(50_000_000))
        assert limit.cancelled_caught


async def test_a_mute_platform_goes_on_reading() -> None:
    async with call(WirePlan("mute", after=5)) as stream:
        await stream.send_all(bytes(1000))
        assert await read(stream, 5, 0.3) == b"hello"


async def test_a_drip_is_slow() -> None:
    begin = trio.current_time()
    async with call(WirePlan("drip", after=5, rate=20)) as stream:
        came = b""
        while len(came) < 11:
            came += await stream.receive_some()
        assert trio.current_time() - begin > 0.2


async def test_latency_and_the_chance_of_a_seed() -> None:
    begin = trio.current_time()
    async with call(WirePlan(latency=0.1, jitter=0.1, seed=7)) as stream:
        assert await stream.receive_some() == b"hello world"
        assert trio.current_time() - begin >= 0.1


async def test_an_answer_stands_in_for_the_simulators() -> None:
    async with call(WirePlan(answer=b"nonsense")) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert await read(stream, 8) == b"nonsense"


async def test_the_end_of_a_peer_that_nobody_reads_from_is_noticed() -> None:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(partial(trio.serve_listeners, echo, [listener], handler_nursery=nursery))
        target = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        with trio.fail_after(LIMIT):
            async with open_wire(target, [WirePlan("stall", after=1)]) as wire:
                stream = await trio.open_tcp_stream("127.0.0.1", int(wire.base_url.rpartition(":")[2]))
                assert await stream.receive_some() == b"h"
                assert len(wire.passages) == 1
                await stream.aclose()
                while wire.passages:
                    await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_a_wire_to_nobody_resets() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        async with (
            open_wire(f"http://127.0.0.1:{nobody.getsockname()[1]}") as wire,
            await trio.open_tcp_stream("127.0.0.1", int(wire.base_url.rpartition(":")[2])) as stream,
        ):
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()


async def test_nobody_gets_through_to_a_full_port() -> None:
    with open_full_port() as address:
        with trio.move_on_after(0.3) as limit:
            await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2]))
        assert limit.cancelled_caught
