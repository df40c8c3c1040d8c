"""Programs that are run when something happens in a conversation: for lights, buttons and scripts (floor 6).

Each ``[[event_commands]]`` runs its program once per event, one after the other, with the event as one line of JSON
(`convaid.event_json`) on its standard input. None of them holds a conversation up: what comes while too many wait is
lost, and counted in the log.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from convaid import events
from convaid.calls.processes import make_environment
from convaid.config import EventCommandConfig
from convaid.event_json import describe_event, list_names

if TYPE_CHECKING:
    from convaid.daemon import Daemon

__all__ = ["run_event_commands"]

log = logging.getLogger(__name__)

WAITING = 100  # events that wait for a program to be through with the one before
TERMINATION_GRACE = 1.0  # seconds between the request to end and the kill
OUTPUT_LENGTH = 500  # bytes of a failing program's last words
LAST_WORDS = 0.02  # seconds for them to be read
READ_SIZE = 65536  # bytes at once
READ_PAUSE = 0.005  # seconds between two of these: some ten megabytes a second


@define(eq=False)
class EventCommand:
    """One program, and the events that it has still to be told of."""

    config: EventCommandConfig
    environment: Mapping[str, str] = field(repr=False)
    _lost: int = field(init=False, default=0)
    _put: trio.MemorySendChannel[events.Event] = field(init=False, repr=False)
    _take: trio.MemoryReceiveChannel[events.Event] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._put, self._take = trio.open_memory_channel[events.Event](WAITING)

    def observe(self, event: events.Event) -> None:
        """Have the program run for an event, if it is one of its own."""
        config = self.config
        if config.conversation not in ("", event.conversation) or list_names(event).isdisjoint(config.on):
            return
        try:
            self._put.send_nowait(event)
        except trio.WouldBlock:
            if not self._lost:
                log.warning("%s is too slow: %d events wait, others are lost", config.run[0], WAITING)
            self._lost += 1

    async def work(self) -> None:
        """Run the program for one event after the other, until cancelled."""
        async for event in self._take:
            if self._lost and self._take.statistics().current_buffer_used < WAITING // 2:
                log.warning("%s follows again; it was not run for %d events", self.config.run[0], self._lost)
                self._lost = 0
            await self._run(event)

    async def _run(self, event: events.Event) -> None:
        line = json.dumps(describe_event(event), ensure_ascii=False).encode(errors="replace") + b"\n"
        name, said = self.config.run[0], bytearray()
        try:
            process = await trio.lowlevel.open_process(
                self.config.run,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                start_new_session=True,
            )
        except OSError as error:
            log.error("the event command %s cannot be run: %s", name, error.strerror or error)
            return
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with process.stdin, process.stdout:
                with trio.move_on_after(self.config.time_limit) as limit:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(give, process.stdin, line)
                        nursery.start_soon(listen, process.stdout, said)
                        await process.wait()
                        # What it leaves behind may have its output, and keep it; its own last words are there already.
                        await trio.sleep(LAST_WORDS)
                        nursery.cancel_scope.cancel()
        finally:
            if process.returncode is None:
                with trio.move_on_after(2 * TERMINATION_GRACE) as ending:  # one that cannot be killed is left alone
                    ending.shield = True
                    await end_group(process)
        if limit.cancelled_caught:
            log.warning("the event command %s was stopped: it ran for %g s", name, self.config.time_limit)
        elif process.returncode:
            words = bytes(said).decode(errors="replace").strip()
            log.warning("the event command %s failed with status %d: %s", name, process.returncode, words or "-")


async def give(stdin: trio.abc.SendStream, line: bytes) -> None:
    """Hand the event over; a program need not read it."""
    with suppress(trio.BrokenResourceError):
        await stdin.send_all(line)
    await stdin.aclose()


async def listen(stdout: trio.abc.ReceiveStream, said: bytearray) -> None:
    """Keep the end of what a program prints; one that prints without end has to wait for us, not we for it."""
    while chunk := await stdout.receive_some(READ_SIZE):
        said += chunk
        del said[:-OUTPUT_LENGTH]
        await trio.sleep(READ_PAUSE)


async def end_group(process: trio.Process) -> None:
    """End a program and what it has started: ask, wait, kill."""
    for number, grace in ((signal.SIGTERM, TERMINATION_GRACE), (signal.SIGKILL, math.inf)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with trio.move_on_after(grace):
            await process.wait()
            return


async def run_event_commands(daemon: Daemon, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Run the programs of ``[[event_commands]]``, until cancelled. A service of the daemon's."""
    configuration = daemon.configuration
    environment = make_environment([configuration.platform.api_key_env])
    commands = [EventCommand(config, environment) for config in configuration.event_commands]
    async with trio.open_nursery() as nursery:
        for command in commands:
            daemon.announcer.observers.append(command.observe)
            nursery.start_soon(command.work)
        task_status.started()
