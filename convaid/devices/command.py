"""Programs in place of devices: any that writes, or reads, raw PCM (s16le, mono) in real time.

They run in processes of their own, so that nothing of theirs can take the daemon along. Which ones, and how they are
started where the configuration names none, stands in `convaid.devices.found_programs`.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.lowlevel import FdStream

from convaid.config import CommandConfig
from convaid.devices.found_programs import find_programs
from convaid.devices.interfaces import STEP, Microphone, NoteDevice, Role, Speaker
from convaid.devices.kept import KeptDevice, KeptSpeaker, Opened, keep_microphone
from convaid.devices.programs import Program
from convaid.devices.ring import CaptureRing, PlaybackRing

__all__ = ["open_command_microphone", "open_command_speaker"]

LEAD = 0.04  # seconds that a player is ahead of the clock, and more by its own buffer: it must not run dry
PLAYER_BUFFER = 2.0  # seconds: the most that a player may hold by itself; pacat does by default, aplay 0.5
PIPE_SIZE = 4096  # bytes, the least there is: 0.13 s at 16 kHz


class Commands:
    """Whose turn it is: the configured program, or else those that were found, each after one before it has failed."""

    def __init__(self, role: Role, command: tuple[str, ...] | None, rate: int) -> None:
        self._role: Role = role
        self._command = command
        self._rate = rate
        self._turn = 0

    async def choose(self) -> tuple[str, ...] | None:
        """The program for the next life, with its arguments; None where there is none on this machine."""
        if self._command:
            return self._command
        commands = await trio.to_thread.run_sync(find_programs, self._role, self._rate)
        return commands[self._turn % len(commands)] if commands else None

    def note_end(self, loss: str) -> str:
        """Have another one try where something was lost."""
        self._turn += bool(loss)
        return loss


MISSING = "no program was found for it (apt install pulseaudio-utils, or alsa-utils without a sound server)"


class CommandSpeaker(KeptSpeaker):
    """Plays through a program, which is fed at real-time pace and with silence where there is no speech.

    Silence, because players wait for their buffer to fill before they begin: the end of a sentence would not be heard
    until the next one. Pace, because nobody can be asked how much a player holds; a full pipe slows it further.
    """

    def __init__(self, settings: CommandConfig, note: NoteDevice) -> None:
        ring = PlaybackRing(settings.rate, LEAD + STEP)
        self.kept = KeptDevice("speaker", self._live, ring, note)
        super().__init__(ring, self.kept)
        self._commands = Commands("speaker", settings.speaker, settings.rate)
        self._program = Program("speaker", "stdin")
        self._is_finishing = False
        self._finished = trio.Event()

    def drop(self) -> None:
        may_sound = self._may_sound()
        self._ring.forget()
        super().drop()
        if may_sound:  # it has it, and there is no other way to make it forget
            self._program.kill()
            self._kept.restart()

    async def drain(self) -> None:
        await super().drain()
        if self._may_sound() and not self._kept.is_lost:
            self._is_finishing, self._finished = True, trio.Event()
            await self._finished.wait()

    def _may_sound(self) -> bool:
        return time.monotonic() < self._ring.sounding_until + PLAYER_BUFFER

    async def _live(self, opened: Opened) -> str:
        if (command := await self._commands.choose()) is None:
            return MISSING
        program = command[0]

        async def play(stream: FdStream) -> str:
            opened(program)
            return await self._feed(stream)

        try:
            return self._commands.note_end(await self._program.run(command, play))
        finally:
            self._is_finishing = False
            self._finished.set()  # with its end, all that it held has been heard

    async def _feed(self, stream: FdStream) -> str:
        fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        try:
            self._ring.prime(LEAD)  # what it is ahead is silence at first, or there would be some in the first words
            due = trio.current_time() - LEAD
            while not self._is_finishing:
                await stream.send_all(self._ring.take(self.format.bytes_for(STEP), LEAD))
                due = max(due + STEP, trio.current_time() - LEAD)
                await trio.sleep_until(due)
        except trio.BrokenResourceError:
            return "it ended"
        self._kept.rest()
        return ""


@asynccontextmanager
async def open_command_microphone(settings: CommandConfig, note: NoteDevice) -> AsyncIterator[Microphone]:
    """See `open_microphone`."""
    ring = CaptureRing(settings.rate)
    commands = Commands("microphone", settings.microphone, settings.rate)

    async def live(opened: Opened) -> str:
        if (command := await commands.choose()) is None:
            return MISSING
        program = command[0]

        async def record(stream: FdStream) -> str:
            opened(program)
            while chunk := await stream.receive_some():
                ring.put(chunk)
            return "it ended"

        return commands.note_end(await Program("microphone", "stdout").run(command, record))

    async with keep_microphone(ring, live, note) as microphone:
        yield microphone


@asynccontextmanager
async def open_command_speaker(settings: CommandConfig, note: NoteDevice) -> AsyncIterator[Speaker]:
    """See `open_speaker`."""
    speaker = CommandSpeaker(settings, note)
    async with speaker.kept.open():
        yield speaker
