"""Telling systemd how the daemon is: `sd_notify(3)`, spoken here, as a service of `convaid.daemon.run_daemon`.

What it tells: READY, when all services before it are (the control API, say); STATUS, one sentence, kept current;
RELOADING and READY around each reload; STOPPING, with the time that it may take; the watchdog's signs of life.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from convaid.control.status import describe_status
from convaid.events import Event

if TYPE_CHECKING:
    from convaid.daemon import Daemon

__all__ = ["ServiceManager", "find_service_manager", "tell_service_manager"]

log = logging.getLogger(__name__)

SEND_LIMIT = 5.0  # seconds for systemd to take a message: it does not read while it reloads itself
STATUS_INTERVAL = 1.0  # seconds between two sentences at least: nobody reads faster
STATUS_LIMIT = 10.0  # seconds after which the sentence is looked at, even if no event came: a retry's time passes
STOP_MARGIN = 5.0  # seconds beyond ``stop_grace``, for the process to leave


@define(eq=False)
class ServiceManager:
    """The systemd that has started this process, or nobody: then all that is told is lost."""

    address: str | bytes | None = None
    """Of its socket; an abstract one begins with a zero byte."""
    watchdog: float | None = None
    """Seconds after which it takes a silent process for dead."""
    _is_silent: bool = field(init=False, default=False)
    """It did not take the last message."""

    async def tell(self, *lines: str) -> None:
        """Send one message of such assignments as ``READY=1``; waits a limited time, and raises nothing."""
        if self.address is None:
            return
        message = "\n".join(lines).encode()
        reason = f"it took nothing for {SEND_LIMIT:g} s"
        with trio.move_on_after(SEND_LIMIT), trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            try:
                await link.connect(self.address)  # only so does the kernel say when there is room for a message
                await link.send(message)
                reason = ""
            except OSError as error:
                reason = str(error)
        if reason and not self._is_silent:
            log.warning("systemd cannot be told how the daemon is: %s", reason)
        self._is_silent = bool(reason)


def find_service_manager(environ: MutableMapping[str, str] = os.environ) -> ServiceManager:
    """Return who started this process, as systemd says in the environment; takes it out there.

    No program that a tool starts is to speak in the daemon's name.
    """
    path = environ.pop("NOTIFY_SOCKET", "")
    microseconds = environ.pop("WATCHDOG_USEC", "")
    whose = environ.pop("WATCHDOG_PID", "") or str(os.getpid())
    if path[:1] not in ("/", "@"):
        return ServiceManager()
    address = path if path.startswith("/") else b"\0" + os.fsencode(path[1:])
    is_watched = microseconds.isdecimal() and int(microseconds) > 0 and whose == str(os.getpid())
    return ServiceManager(address, int(microseconds) / 1e6 if is_watched else None)


async def tell_service_manager(
    manager: ServiceManager, daemon: Daemon, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Tell ``manager`` of the daemon until cancelled. A service; to be the last, as ready is what comes after it."""
    await manager.tell("READY=1", f"STATUS={write_status(daemon)}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_status_current, manager, daemon)
        nursery.start_soon(tell_reloads, manager, daemon)
        nursery.start_soon(tell_stop, manager, daemon)
        task_status.started()


async def keep_status_current(manager: ServiceManager, daemon: Daemon) -> None:
    """Send the sentence whenever it has changed."""
    happened = trio.Event()

    def note(event: Event) -> None:
        happened.set()

    daemon.announcer.observers.append(note)
    told = ""
    while True:
        sentence = write_status(daemon)
        if sentence != told:
            await manager.tell(f"STATUS={sentence}")
            told = sentence
        await trio.sleep(STATUS_INTERVAL)
        with trio.move_on_after(STATUS_LIMIT):
            await happened.wait()
        happened = trio.Event()


def write_status(daemon: Daemon) -> str:
    """The state of the daemon as one line."""
    return " ".join(describe_status(daemon).sentence.split())


async def tell_reloads(manager: ServiceManager, daemon: Daemon) -> None:
    """Say when another configuration is being taken on, and when that is over."""
    send, receive = trio.open_memory_channel[bool](math.inf)  # two for each reload, each taken in `SEND_LIMIT`

    def note(is_reloading: bool) -> None:
        send.send_nowait(is_reloading)

    daemon.reload_observers.append(note)
    async for is_reloading in receive:
        if is_reloading:
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            await manager.tell("RELOADING=1", f"MONOTONIC_USEC={now}")
        else:
            await manager.tell("READY=1", f"STATUS={write_status(daemon)}")


async def tell_stop(manager: ServiceManager, daemon: Daemon) -> None:
    """Say when the daemon is asked to stop, and how long it may take: the unit need not know the configuration."""
    await daemon.stop.wait()
    lines = ["STOPPING=1", f"STATUS={write_status(daemon)}"]
    if math.isfinite(grace := daemon.configuration.daemon.stop_grace):
        lines.append(f"EXTEND_TIMEOUT_USEC={(grace + STOP_MARGIN) * 1e6:.0f}")
    await manager.tell(*lines)
