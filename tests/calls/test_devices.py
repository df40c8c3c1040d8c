"""A plugin's devices run in its room, end when they are no longer needed, and say why they are lost."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from convaid import AudioDevice
from convaid.calls import open_tool_calls
from convaid.calls.devices import find_device
from convaid.config import ToolsConfig
from convaid.devices.offered import PluginDevices
from convaid.plugins import Plugin, Plugins

LIMIT = 10.0  # seconds for everything that a test waits for

Give = Callable[[bytes], None]
Take = Callable[[int], bytes]


@asynccontextmanager
async def open_device(device: AudioDevice, loop: str = "trio", **options: Any) -> AsyncIterator[PluginDevices]:
    plugin = attrs.evolve(Plugin("phone", "phone", "phone", "1", "ready", devices=(device,)), loop=loop, **options)  # type: ignore[arg-type]
    with trio.fail_after(LIMIT):
        async with open_tool_calls(Plugins((plugin,)), ToolsConfig()) as tool_calls:
            assert find_device(tool_calls.rooms, "phones") is None
            found = find_device(tool_calls.rooms, "phone")
            assert found is not None
            assert (found.name, found.rate) == ("phone", device.rate)
            yield found


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
async def test_it_runs_in_its_plugins_room(loop: str) -> None:
    if loop == "trio":
        sleep = trio.sleep
    else:
        from asyncio import sleep  # type: ignore[assignment]
    played, ended = [], []

    async def record(give: Give) -> None:
        try:
            while True:
                give(threading.current_thread().name.encode())
                await sleep(0.001)
        finally:
            ended.append("record")

    async def play(take: Take) -> None:
        while True:
            played.append(take(4))
            await sleep(0.001)

    async with open_device(AudioDevice("phone", record, play, 8000), loop) as device:
        heard: list[bytes] = []
        assert device.record
        assert device.play
        async with trio.open_nursery() as nursery:
            nursery.start_soon(device.record, heard.append)
            nursery.start_soon(device.play, lambda size: b"a" * size)
            while len(heard) < 3 or len(played) < 3:
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        count = len(heard)
        assert set(heard) == {b"room of phone"}
        assert played[0] == b"aaaa"
        while not ended:
            await trio.sleep(0.001)
        assert len(heard) == count


async def raise_fault(give: Give) -> None:
    raise OSError("no such socket")


async def return_at_once(give: Give) -> None:
    """There is nothing to be heard."""


async def raise_system_exit(give: Give) -> None:
    raise SystemExit("enough")


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (raise_fault, "OSError: no such socket ("),
        (return_at_once, "it has ended"),
        (raise_system_exit, "SystemExit: enough ("),
    ],
)
async def test_what_it_raises_is_why_it_is_lost(record: Callable[[Give], object], why: str) -> None:
    async with open_device(AudioDevice("phone", record)) as device:  # type: ignore[arg-type]
        assert device.play is None
        assert device.record
        for _ in range(2):
            assert (await device.record(print)).startswith(why)


async def test_a_run_that_is_slow_to_end_is_waited_for_and_no_longer_heard() -> None:
    running: list[int] = []
    go_on = threading.Event()

    async def record(give: Give) -> None:
        running.append(len(running))
        if len(running) == 1:
            go_on.wait(LIMIT)  # blocks its room: it is deaf to being cancelled
            give(b"late")
            await trio.lowlevel.checkpoint()
        give(b"ok")
        await trio.sleep_forever()

    heard: list[bytes] = []
    async with open_device(AudioDevice("phone", record)) as device:
        assert device.record
        async with trio.open_nursery() as nursery:
            nursery.start_soon(device.record, heard.append)
            while not running:
                await trio.sleep(0.001)
            ended = time.monotonic()
            nursery.cancel_scope.cancel()
        assert time.monotonic() - ended < LIMIT / 2
        with trio.move_on_after(0.1):
            await device.record(heard.append)
        assert running == [0]
        go_on.set()
        with trio.move_on_after(LIMIT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(device.record, heard.append)
                while not heard:
                    await trio.sleep(0.001)
                nursery.cancel_scope.cancel()
        assert running == [0, 1]
        assert heard == [b"ok"]


async def test_a_plugin_out_of_service_has_no_device() -> None:
    @asynccontextmanager
    async def fail() -> AsyncIterator[None]:
        raise RuntimeError("no line")
        yield

    async with open_device(AudioDevice("phone", return_at_once), lifespan=fail) as device:
        assert device.record
        assert await device.record(print) == "its lifespan failed (RuntimeError: no line)"
