"""Programs that record or play for us: started, started again when they end, and surely gone when we leave."""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from subprocess import DEVNULL, PIPE
from typing import Literal, NoReturn

import trio
from trio.lowlevel import FdStream

__all__ = ["KeptProgram", "Use"]

log = logging.getLogger(__name__)

Use = Callable[[FdStream], Awaitable[str]]

FIRST_DELAY = 0.25  # seconds before a program that failed is started again; doubled each time, up to the longest
LONGEST_DELAY = 10.0
STABLE_AFTER = 5.0  # seconds that a program must run to count as well again
LAST_WORDS_GRACE = 0.2  # seconds that a program which failed has to end by itself and to say why
FINISH_GRACE = 5.0  # seconds that a program which has done its work has to end by itself
END_GRACE = 0.5  # seconds for SIGTERM to work, and then for SIGKILL
LAST_LINES = 3  # of stderr, for the log
LONGEST_LINE = 200  # bytes of each


class KeptProgram:
    """Keeps ``command`` running in a process group of its own. ``role`` says in the log what it is for.

    ``pipe`` is the program's end that we talk to. ``lost`` is true from a failure until the program has been started
    again.
    """

    def __init__(self, role: str, command: Sequence[str], pipe: Literal["stdin", "stdout"]) -> None:
        self.lost = False
        self._name = f"{role} program {command[0]}"
        self._command = list(command)
        self._pipe = pipe
        self._process: trio.Process | None = None
        self._life = trio.CancelScope()  # of the talk with the program that runs
        self._troubled = False  # a failure was logged, and the program has not been stable since
        self._delay = FIRST_DELAY

    async def keep_running(self, use: Use) -> NoReturn:
        """Runs the program again and again until cancelled; then it is ended, within about a second, and reaped.

        ``use`` talks to it over the pipe and returns what went wrong, or "" where the program has done its work and may
        end in peace. A failure is logged once until the program is stable again, with the last lines of its stderr.
        """
        while True:
            loss = await self._run(use)
            if loss:
                self.lost = True
                level = logging.DEBUG if self._troubled else logging.WARNING
                log.log(level, "the %s %s; it will be started again", self._name, loss)
                self._troubled = True
                await trio.sleep(self._delay)
                self._delay = min(self._delay * 2, LONGEST_DELAY)

    def restart(self) -> None:
        """Kills the program at once, and with it all that it holds; the next one starts without delay."""
        if self._process is not None:
            _signal_group(self._process, signal.SIGKILL)
            self._life.cancel()

    async def _run(self, use: Use) -> str:
        """One life of the program; returns what went wrong, for the log."""
        try:
            # A group of its own: Ctrl+C in a terminal is for the daemon alone, and our signals reach a whole pipeline.
            process = await trio.lowlevel.open_process(
                self._command,
                stdin=PIPE if self._pipe == "stdin" else DEVNULL,
                stdout=PIPE if self._pipe == "stdout" else DEVNULL,
                stderr=PIPE,
                process_group=0,
            )
        except (OSError, ValueError) as error:  # ValueError: an argument that no program can be given
            return f"cannot be started: {error}"
        self.lost = False
        self._process = process
        last_lines: deque[str] = deque(maxlen=LAST_LINES)
        silent = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._note_recovery)
                nursery.start_soon(_read_lines, process.stderr, last_lines, silent)
                stream = process.stdin or process.stdout
                assert isinstance(stream, FdStream)
                loss = ""
                with trio.CancelScope() as self._life:
                    loss = await use(stream)
                await stream.aclose()  # the end for a player that still plays
                with trio.move_on_after(LAST_WORDS_GRACE if loss else FINISH_GRACE):
                    await process.wait()
                    await silent.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._process = None
            await _end_program(process, self._name)
        return " ".join([loss, _describe_status(process.returncode), *last_lines]) if loss else ""

    async def _note_recovery(self) -> None:
        await trio.sleep(STABLE_AFTER)
        self._delay = FIRST_DELAY
        if self._troubled:
            self._troubled = False
            log.info("the %s runs again", self._name)


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
