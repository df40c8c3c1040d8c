"""The watchdog: fed while everything moves, and only then."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing

from convaid.daemon import Daemon
from convaid.pulse import Pulse
from convaid.service import watchdog
from convaid.service.notify import ServiceManager
from convaid.service.watchdog import describe_stack, feed_watchdog


class Watched:
    """As much of a daemon as the watchdog looks at."""

    def __init__(self) -> None:
        self.troubles: dict[str, str] = {}


async def hang(pulse: Pulse) -> None:
    pulse.attach()
    await trio.sleep_forever()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


def count(listener: socket.socket) -> int:
    """How many signs of life have come since the last look."""
    found = 0
    while True:
        try:
            assert listener.recv(100) == b"WATCHDOG=1"
        except BlockingIOError:
            return found
        found += 1


async def test_is_fed_until_something_hangs_and_again_when_it_moves(
    listener: socket.socket,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pulse, daemon = Pulse("the reader"), cast(Daemon, Watched())
    monkeypatch.setattr(watchdog, "list_pulses", lambda daemon: iter([("conversation main", pulse)]))
    manager = ServiceManager(listener.getsockname(), 30.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang, pulse)
        await trio.testing.wait_all_tasks_blocked()
        pulse.rest()  # it waits for what may never come
        await nursery.start(feed_watchdog, manager, daemon)
        await trio.sleep(61)
        assert count(listener) == 5  # every 15 s
        pulse.beat(5.0)
        await trio.sleep(30)
        assert count(listener) == 1  # it may be late by 10 s
        await trio.sleep(60)
        assert count(listener) == 0
        (record,) = caplog.records
        assert "the reader of conversation main has not moved for" in record.getMessage()
        assert "test_watchdog.py" in record.getMessage()
        assert "hang" in record.getMessage()
        assert daemon.troubles == {"watchdog": "the reader of conversation main hangs"}
        pulse.rest()
        await trio.sleep(60)
        assert count(listener) == 4
        assert daemon.troubles == {}
        nursery.cancel_scope.cancel()


async def test_a_hang_is_told_where_nobody_watches_too(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulse = Pulse("the announcer")
    monkeypatch.setattr(watchdog, "list_pulses", lambda daemon: iter([("the daemon", pulse)]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang, pulse)
        await nursery.start(feed_watchdog, ServiceManager(), cast(Daemon, Watched()))
        await trio.sleep(31)
        nursery.cancel_scope.cancel()
    assert len(caplog.records) == 1


async def test_a_stack_is_told_innermost_first() -> None:
    pulse = Pulse("it")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang, pulse)
        await trio.testing.wait_all_tasks_blocked()
        assert pulse.task is not None
        words = describe_stack(pulse.task)
        nursery.cancel_scope.cancel()
    assert words.index("sleep_forever") < words.index(f"{__file__}:") < words.rindex("hang")
