"""An MCP server that is a program of ours: started, talked to over its stdin and stdout, and surely gone at the end.

Not the SDK's own: that one lets a program take longer to end than a plugin has, and its stderr goes where ours goes.
"""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from subprocess import PIPE
from typing import TYPE_CHECKING

import anyio
import mcp_types
import trio
from mcp.shared.message import SessionMessage

from convaid.config.secrets import MASK
from convaid_mcp.references import find_secrets, resolve_references

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.client._transport import TransportStreams

    from convaid_mcp.settings import ServerSettings

__all__ = ["Program"]

log = logging.getLogger("convaid.plugin.mcp")

Incoming = SessionMessage | Exception

KEPT_VARIABLES = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER")
"""All that programs get of our environment, which holds secrets. `env` adds to it."""
LONGEST_MESSAGE = 16 * 2**20  # bytes: what is longer is no message, but a program out of control
LONGEST_LINE = 400  # characters of a line of stderr
SHORTEST_SECRET = 6  # characters: masking a shorter one would hide ordinary words, and it protects nothing
LAST_LINES = 3  # of stderr, to say why a program has ended
# All three together take less than the time that a room has to close.
LEAVE_GRACE = 1.0  # seconds to end by itself, now that its stdin has
TERMINATE_GRACE = 0.5  # seconds for SIGTERM to work
KILL_GRACE = 0.5  # seconds for SIGKILL
LAST_WORDS_GRACE = 0.2  # seconds for a program that has closed its stdout to end and to say why


class Program:
    """One life of a program."""

    def __init__(self, name: str, server: ServerSettings) -> None:
        self.ended = trio.Event()
        """It says nothing more."""
        self._name = name
        self._server = server
        self._secrets: list[str] = []
        self._end = ""
        self._is_left = False
        """We have ended it: that needs no explanation."""
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)

    def describe_end(self) -> str:
        """Return why the program is of no use any more, and its last words; "" while it is."""
        return "; ".join([self._end, *self._last_lines]) if self._end else ""

    @asynccontextmanager
    async def open_transport(self) -> AsyncIterator[TransportStreams]:
        """Start the program and yield what the SDK talks to. At the end the whole process group is gone.

        Raises OSError or ValueError if it cannot be started.
        """
        self._secrets = [secret for secret in find_secrets(self._server.env.values()) if len(secret) >= SHORTEST_SECRET]
        environment = {name: value for name in KEPT_VARIABLES if (value := os.environ.get(name)) is not None}
        environment |= {name: resolve_references(value) for name, value in self._server.env.items()}
        process = await trio.lowlevel.open_process(
            list(self._server.command),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=environment,
            cwd=self._server.folder.expanduser() if self._server.folder else None,
            process_group=0,  # of its own: Ctrl+C is for us alone, and our signals reach what it has started itself
        )
        to_session, from_program = anyio.create_memory_object_stream[Incoming](0)
        to_program, from_session = anyio.create_memory_object_stream[SessionMessage](0)
        with to_session, from_program, to_program, from_session:
            async with trio.open_nursery() as nursery:
                silent = trio.Event()
                nursery.start_soon(self._read_messages, process, to_session, silent)
                nursery.start_soon(self._write_messages, process, from_session)
                nursery.start_soon(self._read_stderr, process, silent)
                try:
                    yield from_program, to_program
                finally:
                    self._is_left = True
                    from_program.close()  # what it still has to say is read and dropped: a full pipe would hold it up
                    with trio.CancelScope(shield=True):
                        await self._end_program(process)
                    nursery.cancel_scope.cancel()

    async def _read_messages(
        self, process: trio.Process, to_session: MemoryObjectSendStream[Incoming], silent: trio.Event
    ) -> None:
        assert process.stdout is not None
        held = bytearray()
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            async for chunk in process.stdout:
                held += chunk
                *lines, held = held.split(b"\n") if b"\n" in chunk else [held]
                for line in lines:
                    await self._pass_on(bytes(line), to_session)
                if len(held) > LONGEST_MESSAGE:
                    self._end = f"it sent a message of more than {LONGEST_MESSAGE} bytes"
                    break
        with trio.move_on_after(LAST_WORDS_GRACE):
            await process.wait()
            await silent.wait()
        if not self._is_left:
            self._end = self._end or _describe_status(process.returncode)
        to_session.close()
        self.ended.set()

    async def _pass_on(self, line: bytes, to_session: MemoryObjectSendStream[Incoming]) -> None:
        try:
            message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:  # not the protocol, but what a start-up script has to say
            if line.strip():
                log.debug("%s prints: %s", self._name, self._shorten(line))
            return
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # nobody listens any more
            await to_session.send(SessionMessage(message))

    async def _write_messages(
        self, process: trio.Process, from_session: MemoryObjectReceiveStream[SessionMessage]
    ) -> None:
        assert process.stdin is not None
        try:
            async for sent in from_session:
                text = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send_all(text.encode() + b"\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()

    async def _read_stderr(self, process: trio.Process, silent: trio.Event) -> None:
        assert process.stderr is not None
        held = b""
        with suppress(trio.ClosedResourceError):
            async for chunk in process.stderr:
                *lines, held = (held + chunk).split(b"\n")
                for line in filter(bytes.strip, lines):
                    text = self._shorten(line)
                    self._last_lines.append(text)
                    log.debug("%s says: %s", self._name, text)
                held = held[:LONGEST_LINE]
        silent.set()

    def _shorten(self, line: bytes) -> str:
        text = line.decode(errors="replace").strip()
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text[:LONGEST_LINE]

    async def _end_program(self, process: trio.Process) -> None:
        """End the program and whatever else runs in its group, asking first: by the end of its stdin."""
        assert process.stdin is not None
        await process.stdin.aclose()
        with trio.move_on_after(LEAVE_GRACE):
            await process.wait()
        for number, grace in ((signal.SIGTERM, TERMINATE_GRACE), (signal.SIGKILL, KILL_GRACE)):
            _signal_group(process, number)  # also where it has ended: it may have left others running
            with trio.move_on_after(grace):
                await process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                await stream.aclose()
        if process.returncode is None:
            log.error("%s, process %d, does not end even by SIGKILL; it is left behind", self._name, process.pid)


def _describe_status(status: int | None) -> str:
    if status is None:
        return "it has closed its stdout"
    return f"it ended ({f'exit status {status}' if status >= 0 else signal.Signals(-status).name})"


def _signal_group(process: trio.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # the latter: it has become another user's
        os.killpg(process.pid, number)
