"""What systemd is told: by a socket of its own making, here the test's."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from convaid.config import parse_configuration
from convaid.daemon import Daemon, run_daemon
from convaid.errors import ConfigurationError
from convaid.plugins import Plugins
from convaid.reloading import reload
from convaid.service.notify import ServiceManager, find_service_manager, tell_service_manager

LIMIT = 20.0
NOBODY = '[platform]\nbase_url = "http://127.0.0.1:1"\n[conversations.main]\nagent_id = "agent_x"\n'


@pytest.fixture(params=["file", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify") if request.param == "file" else f"\0{tmp_path}")
        listener.setblocking(False)
        yield listener


def find_address(listener: socket.socket) -> str:
    """As systemd writes it in $NOTIFY_SOCKET."""
    name = listener.getsockname()
    return f"@{name[1:].decode()}" if isinstance(name, bytes) else name


async def hear(listener: socket.socket, part: str) -> list[str]:
    """Wait for a message with a line that contains this; returns all of its lines."""
    with trio.fail_after(LIMIT):
        while True:
            await trio.lowlevel.wait_readable(listener)
            lines = listener.recv(10_000).decode().split("\n")
            if any(part in line for line in lines):
                return lines


def test_the_environment_says_who_has_started_us_and_is_cleared(listener: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": find_address(listener), "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1", "HOME": "/"}
    manager = find_service_manager(environ)
    assert manager.address is not None
    assert manager.watchdog is None  # it watches another process
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize("microseconds", ["", "0", "soon"])
def test_no_watchdog_is_none(microseconds: str) -> None:
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": microseconds}
    assert find_service_manager(environ).watchdog is None
    assert find_service_manager({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "2000000"}).watchdog == 2.0
    assert find_service_manager({"NOTIFY_SOCKET": "vsock:1"}).address is None


async def test_ready_status_reload_and_stop_are_told(listener: socket.socket) -> None:
    manager = find_service_manager({"NOTIFY_SOCKET": find_address(listener)})
    texts = [NOBODY + "[log]\nlevl = 1\n", NOBODY + "[tools]\ntime_limit = 3.0\n"]
    daemon = Daemon(lambda: parse_configuration(texts.pop(0), "test"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, daemon, manager)
        ready = await hear(listener, "READY=1")
        assert any(line.startswith("STATUS=") for line in ready)
        # Ready is not to be connected: it says what it waits for.
        await hear(listener, "main waits")
        with pytest.raises(ConfigurationError):
            await reload(daemon)
        assert (await hear(listener, "RELOADING=1"))[1].startswith("MONOTONIC_USEC=")
        assert "not reloaded: test: log.levl" in "".join(await hear(listener, "READY=1"))
        await reload(daemon)
        await hear(listener, "RELOADING=1")
        assert "not reloaded" not in "".join(await hear(listener, "READY=1"))
        daemon.stop.set()
        stopping = await hear(listener, "STOPPING=1")
        assert "EXTEND_TIMEOUT_USEC=10000000" in stopping


async def run(daemon: Daemon, manager: ServiceManager) -> None:
    """Run a daemon that nobody answers."""
    await run_daemon(
        parse_configuration(NOBODY, "test"),
        Plugins(()),
        observe=lambda event: None,
        daemon=daemon,
        services=[partial(tell_service_manager, manager)],
    )


async def test_a_socket_that_is_gone_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manager = ServiceManager(str(tmp_path / "gone"))
    await manager.tell("READY=1")
    await manager.tell("WATCHDOG=1")
    (record,) = caplog.records
    assert "systemd cannot be told" in record.getMessage()


async def test_without_systemd_nothing_is_sent() -> None:
    await ServiceManager().tell("READY=1")
