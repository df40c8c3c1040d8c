"""Programs that record or play for us: started, talked to, and surely gone when we leave."""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from subprocess import DEVNULL, PIPE
from typing import Literal

import trio
from trio.lowlevel import FdStream

__all__ = ["Program", "Use"]

log = logging.getLogger(__name__)

Use = Callable[[FdStream], Awaitable[str]]

LAST_WORDS_GRACE = 0.2  # seconds that a program which failed has to end by itself and to say why
FINISH_GRACE = 5.0  # seconds that a program which has done its work has to end by itself
END_GRACE = 0.5  # seconds for SIGTERM to work, and then for SIGKILL
LAST_LINES = 3  # of stderr, for the log
LONGEST_LINE = 200  # bytes of each


class Program:
    """Runs programs, one at a time, each in a process group of its own. ``pipe`` is the end that we talk to."""

    def __init__(self, role: str, pipe: Literal["stdin", "stdout"]) -> None:
        self._role = role
        self._pipe = pipe
        self._process: trio.Process | None = None

    async def run(self, command: Sequence[str], use: Use) -> str:
        """One life of a program; cancelled, it is ended within about a second, and reaped.

        ``use`` talks to it over the pipe and returns what went wrong, or "" where the program has done its work and may
        end in peace. Returns the same, with the last lines of its stderr.
        """
        try:
            # A group of its own: Ctrl+C in a terminal is for the daemon alone, and our signals reach a whole pipeline.
            process = await trio.lowlevel.open_process(
                list(command),
                stdin=PIPE if self._pipe == "stdin" else DEVNULL,
                stdout=PIPE if self._pipe == "stdout" else DEVNULL,
                stderr=PIPE,
                process_group=0,
            )
        except (OSError, ValueError) as error:  # ValueError: an argument that no program can be given
            return f"it cannot be started: {error}"
        self._process = process
        last_lines: deque[str] = deque(maxlen=LAST_LINES)
        silent = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_read_lines, process.stderr, last_lines, silent)
                stream = process.stdin or process.stdout
                assert isinstance(stream, FdStream)
                loss = await use(stream)
                await stream.aclose()  # the end for a player that still plays
                with trio.move_on_after(LAST_WORDS_GRACE if loss else FINISH_GRACE):
                    await process.wait()
                    await silent.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._process = None
            await _end_program(process, f"{self._role} program {command[0]}")
        return " ".join([loss, _describe_status(process.returncode), *last_lines]) if loss else ""

    def kill(self) -> None:
        """Kills the program that runs, at once, and with it all that it holds."""
        if self._process is not None:
            _signal_group(self._process, signal.SIGKILL)


async def _read_lines(stream: trio.abc.ReceiveStream | None, lines: deque[str], silent: trio.Event) -> None:
    assert stream is not None
    line = b""
    async for chunk in stream:
        *whole, line = (line + chunk).split(b"\n")
        lines.extend(text.decode(errors="replace") for part in whole if (text := part.strip()[:LONGEST_LINE]))
        line = line[:LONGEST_LINE]
    silent.set()


async def _end_program(process: trio.Process, name: str) -> None:
    """Ends the program, and whatever else runs in its group, asking first; in any case within two `END_GRACE`."""
    with trio.CancelScope(shield=True):
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                await stream.aclose()
        for number in (signal.SIGTERM, signal.SIGKILL):
            _signal_group(process, number)
            with trio.move_on_after(END_GRACE):
                await process.wait()
                break
        else:
            log.error("the %s, process %d, does not end even by SIGKILL; it is left behind", name, process.pid)
        _signal_group(process, signal.SIGKILL)  # what a program that has ended left running


def _signal_group(process: trio.Process, number: signal.Signals) -> None:
    # PermissionError: the program became another user (sudo); the end of its pipe is then all that we can tell it.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _describe_status(status: int | None) -> str:
    if status is None:
        return "(and did not end)"
    return f"(exit status {status})" if status >= 0 else f"({signal.Signals(-status).name})"
