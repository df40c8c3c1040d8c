"""One worker process of a plugin's, as the daemon sees it: started, given calls, read, and surely gone (floor 5).

What comes out of a process may be anything, because a plugin's code runs there: it is bounded and checked, and a
process that breaks the rules is ended.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson
import trio
from attrs import define, field

from convaid.calls.answers import Ending
from convaid.calls.frames import HEADER, write_frame
from convaid.calls.results import cut_text
from convaid.calls.run import Run
from convaid.plugins.loading import Plugin

__all__ = ["Process", "open_process"]

logger = logging.getLogger(__name__)

START_LIMIT = 30.0  # seconds for Python to start and the plugin to be imported; some libraries take long
END_LIMIT = 1.0  # seconds for the kernel to carry out a SIGKILL
LAST_WORDS_LIMIT = 0.2  # seconds to read what a process has written before its end
OPENING_SIZE = 65536  # bytes of a process's word that it is ready, or why not
FRAMES_LIMIT = 100  # in one call: it ends once, and puts the agent off once; threads of earlier calls may do so late
FRAME_OVERHEAD = 4096  # bytes of a frame beside its text
BYTES_PER_CHARACTER = 6  # of a text in JSON, at most: \uXXXX

CHUNK = 65536  # bytes of output that are read at once
CHUNK_PAUSE = 0.01  # seconds between two: who prints without end waits for us, and does not keep us busy
LINE_LENGTH = 2000  # bytes of a line of output
LINES = 100  # lines that are logged in a `LINES_PERIOD`; more are counted
LINES_PERIOD = 1.0  # seconds
LEVELS = {b"2": logging.CRITICAL, b"3": logging.ERROR, b"4": logging.WARNING, b"7": logging.DEBUG}


@define(eq=False)
class Process:
    """A running process. `open_process` makes one; `end` must follow."""

    plugin: Plugin
    _process: trio.Process
    _link: trio.SocketStream
    life: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    """Around whatever is done with the process: cancelled to end it, and when it has ended by itself."""
    run: Run | None = field(default=None, init=False)
    """The call that it is there for just now."""
    is_at_work: bool = field(default=True, init=False)
    """It is at work: on its start, or on a call that has not only been given to it."""
    given: trio.Event = field(factory=trio.Event, init=False)
    """Set when it is given a call while it is idle."""
    fault: str = field(default="", init=False)
    """How it has ended, or what it did that it is to be ended for."""
    _unread: bytearray = field(factory=bytearray, init=False)
    _number: int = field(default=0, init=False)
    _is_killed: bool = field(default=False, init=False)
    _is_silent: trio.Event = field(factory=trio.Event, init=False)

    @property
    def status(self) -> int | None:
        """As `subprocess.Popen.returncode`."""
        return self._process.returncode

    async def prepare(self) -> str:
        """Have the plugin loaded; returns why it cannot be, "" if it is."""
        opening = {
            "name": self.plugin.name,
            "module": self.plugin.module,
            "table": dict(self.plugin.table),
            "path": sys.path,
            "level": logging.getLogger(f"convaid.plugin.{self.plugin.name}").getEffectiveLevel(),
        }
        body = pickle.dumps(opening)
        frame = None
        with trio.move_on_after(START_LIMIT) as limit:
            await self._send(HEADER.pack(len(body)) + body)
            frame = await self._read_frame(OPENING_SIZE)
        self.is_at_work = False
        match frame:
            case {"failure": str(failure)}:
                return failure
            case None if limit.cancelled_caught:
                self.fault = f"it was not ready within {START_LIMIT:g} s"
            case None:
                await self._await_end()
            case _:
                self.fault = "it said what is not understood"
        return self.fault

    async def perform(self, run: Run) -> tuple[Ending, bool] | None:
        """Have a tool run; returns its ending, and whether the process may be used again.

        None where there is no ending; ``fault`` says why.
        """
        self._number += 1
        offer = run.offer
        call = {
            "call": self._number,
            "tool": offer.tool.name,
            "tool_call_id": run.call.tool_call_id,
            "parameters": run.call.parameters,
            "conversation": run.conversation,
            "conversation_id": run.conversation_id,
            "deadline": run.deadline,  # the clock is the machine's; infinity becomes null
            "result_size": offer.result_size,
            "memory_limit": offer.memory_limit,
            "cpu_limit": offer.cpu_limit,
        }
        try:
            frame = write_frame(call)
        except RecursionError:  # what can be read may be too deep to be written
            return ("invalid", f'The arguments of the tool "{offer.tool.name}" are nested too deeply.'), True
        await self._send(frame)
        for _ in range(FRAMES_LIMIT):
            if self.fault:
                return None
            match await self._read_frame(offer.result_size * BYTES_PER_CHARACTER + FRAME_OVERHEAD):
                case {"call": int(number)} if number < self._number:
                    pass  # of an earlier call's thread that has gone on
                case {"call": self._number, "defer": str(text)}:
                    run.defer(cut_text(text, offer.result_size))
                case {
                    "call": self._number,
                    "ending": ["ok" | "error" | "invalid" as outcome, str(text)],
                    "is_clean": bool(is_clean),
                }:
                    return (outcome, cut_text(text, offer.result_size)), is_clean
                case None:
                    await self._await_end()
                case _:
                    self.fault = "it said what is not understood"
        self.fault = self.fault or "it said too much"
        return None

    async def notice_end(self) -> None:
        """Wait until the process has ended, and say so by ``life``."""
        status = await self._process.wait()
        if self.is_at_work:
            await trio.sleep(LAST_WORDS_LIMIT)  # its last frame may not have been read yet
        if not self._is_killed:
            self.fault = self.fault or describe_status(status)
            self.life.cancel()

    async def end(self) -> None:
        """Kill the process, and whatever else is in its group; takes a limited time."""
        with trio.CancelScope(shield=True):
            if self._process.returncode is not None:
                self.fault = self.fault or describe_status(self._process.returncode)
            self._is_killed = True
            with suppress(ProcessLookupError, PermissionError):  # it is gone; it has become another user's
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._link.aclose()
            with trio.move_on_after(END_LIMIT):
                await self._process.wait()
            if self._process.returncode is None:
                logger.error("process %d of %s does not end even by SIGKILL", self._process.pid, self.plugin)
            with trio.move_on_after(LAST_WORDS_LIMIT):
                await self._is_silent.wait()
            assert self._process.stdout is not None
            await self._process.stdout.aclose()

    async def log_output(self) -> None:
        """Log what the process prints under the plugin's name, line by line; a flood only in part."""
        log = logging.getLogger(f"convaid.plugin.{self.plugin.name}")
        assert self._process.stdout is not None
        lines_left, lost, period_end, rest = LINES, 0, 0.0, b""
        try:
            while chunk := await self._process.stdout.receive_some(CHUNK):
                if trio.current_time() >= period_end:
                    _log_loss(log, lost)
                    lines_left, lost, period_end = LINES, 0, trio.current_time() + LINES_PERIOD
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines[:lines_left]:
                    _log_line(log, line)
                lost += len(lines[lines_left:])
                lines_left -= len(lines[:lines_left])
                rest = rest[:LINE_LENGTH]
                if len(chunk) == CHUNK:
                    await trio.sleep(CHUNK_PAUSE)
        except trio.ClosedResourceError:
            pass  # whatever it has started keeps it open
        finally:
            _log_line(log, rest)
            _log_loss(log, lost)
            self._is_silent.set()

    async def _send(self, frame: bytes) -> None:
        with suppress(trio.BrokenResourceError):  # it has ended, as will be read
            await self._link.send_all(frame)

    async def _read_frame(self, largest: int) -> Any:
        """Return what the next frame holds; None at the end, or where ``fault`` says that it is none."""
        head = await self._read(HEADER.size)
        if head is None:
            return None
        (length,) = HEADER.unpack(head)
        if length > largest:
            self.fault = f"it said more than {largest} bytes at once"
            return None
        body = await self._read(length)
        if body is None:
            return None
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            self.fault = "it said what is not JSON"
            return None

    async def _read(self, length: int) -> bytes | None:
        while len(self._unread) < length:
            try:
                chunk = await self._link.receive_some(CHUNK)
            except trio.BrokenResourceError:
                return None
            if not chunk:
                return None
            self._unread += chunk
        content = bytes(self._unread[:length])
        del self._unread[:length]
        return content

    async def _await_end(self) -> None:
        """Nothing more will be read: find out how it has ended, unless it goes on."""
        if not self.fault:
            with trio.move_on_after(LAST_WORDS_LIMIT):
                await self._process.wait()
            status = self._process.returncode
            self.fault = "it closed its connection" if status is None else describe_status(status)


async def open_process(plugin: Plugin, environment: Mapping[str, str]) -> Process:
    """Start a process for a plugin's tools. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        with theirs, trio.CancelScope(shield=True):  # it starts in a thread, within milliseconds
            process = await trio.lowlevel.open_process(
                [sys.executable, "-P", "-m", "convaid.calls.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                env=dict(environment),
                process_group=0,  # Ctrl+C in a terminal is for the daemon alone, and SIGKILL for all that it starts
            )
    except BaseException:
        ours.close()
        raise
    return Process(plugin, process, trio.SocketStream(trio.socket.from_stdlib_socket(ours)))


def describe_status(status: int) -> str:
    """Return how a process has ended, in a few words."""
    if status >= 0:
        return f"it ended with exit status {status}"
    names = [number.name for number in signal.Signals if number == -status]
    return f"it ended with {names[0] if names else f'signal {-status}'}"


def _log_line(log: logging.Logger, line: bytes) -> None:
    if not line:
        return
    level, text = logging.INFO, line
    if found := re.match(rb"<([2-7])>", line):
        level, text = LEVELS.get(found[1], logging.INFO), line[found.end() :]
    log.log(level, "%s", text[:LINE_LENGTH].decode(errors="replace"))


def _log_loss(log: logging.Logger, lines: int) -> None:
    if lines:
        log.warning("%d more lines of output are left out", lines)
