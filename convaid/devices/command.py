"""Programs in place of devices: any that writes, or reads, raw PCM (s16le, mono) in real time.

These work: ``arecord`` and ``aplay`` with ``-q -t raw -f S16_LE -c 1 -r 16000 --buffer-time=80000``, ``parec`` and
``pacat`` with ``--raw --format=s16le --channels=1 --rate=16000 --latency-msec=40``. The last option matters: without it
``arecord`` gives some 0.2 s at a time, and speech is late, by 0.4 s with ``aplay`` and 1.6 s with ``pacat``.
"""

from __future__ import annotations

import fcntl
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

import trio
from trio.lowlevel import FdStream

from convaid.audio import AudioFormat
from convaid.config import CommandConfig
from convaid.devices.converted import convert_sound
from convaid.devices.interfaces import HELD_LIMIT, STEP, Sound
from convaid.devices.programs import KeptProgram
from convaid.devices.wav import WavMicrophone, WavSpeaker

__all__ = ["CommandMicrophone", "CommandSpeaker", "open_command_sound"]


class CommandMicrophone:
    """Reads what a program records. Samples wait in the pipe, so who reads late loses none for a second or two."""

    MUTE_LIMIT = 5.0  # seconds: a recorder that gives nothing for so long, not even silence, has lost its device

    def __init__(self, command: Sequence[str], rate: int) -> None:
        self.format = AudioFormat("pcm", rate)
        self._program = KeptProgram("microphone", command, "stdout")
        self._give, self._take = trio.open_memory_channel[bytes](0)

    async def keep_recording(self) -> NoReturn:
        await self._program.keep_running(self._record)

    async def read(self) -> bytes:
        return await self._take.receive()

    async def _record(self, stream: FdStream) -> str:
        odd = b""  # the first half of a sample, if a chunk ends in one; it ends with its program
        while True:
            with trio.move_on_after(self.MUTE_LIMIT) as patience:
                chunk = await stream.receive_some()
            if patience.cancelled_caught:
                return f"gave nothing for {self.MUTE_LIMIT:g} s"
            if not chunk:
                return "ended"
            chunk = odd + chunk
            whole = len(chunk) & ~1
            chunk, odd = chunk[:whole], chunk[whole:]
            if chunk:
                await self._give.send(chunk)


class CommandSpeaker:
    """Plays through a program, which is fed at real-time pace and with silence where there is no speech.

    Silence, because players wait for their buffer to fill before they begin: the end of a sentence would not be heard
    until the next one. Pace, because nobody can be asked how much a player holds; a full pipe slows it further.
    """

    LEAD = 0.06  # seconds that the program is ahead of the clock: it must not run dry when our task is late
    PLAYER_BUFFER = 2.0  # seconds: the most that a player may hold by itself; pacat does by default, aplay 0.5
    STUCK_LIMIT = 2.0  # seconds: a player that takes nothing for so long is stuck
    PIPE_SIZE = 4096  # bytes, the least there is: 0.13 s at 16 kHz

    def __init__(self, command: Sequence[str], rate: int) -> None:
        self.format = AudioFormat("pcm", rate)
        self._program = KeptProgram("speaker", command, "stdin")
        self._held = bytearray()  # not yet given to the program
        self._fed = trio.lowlevel.ParkingLot()  # who waits for `_held` to become less, or for the program's end
        self._sounding_until = -math.inf
        self._finishing = False

    async def keep_playing(self) -> NoReturn:
        await self._program.keep_running(self._feed)

    @property
    def held(self) -> float:
        given = max(0.0, self._sounding_until - trio.current_time())
        return given + self.format.seconds_of(len(self._held))

    async def write(self, pcm: bytes) -> None:
        if self._program.lost:  # nobody hears it, but it takes its time
            self._held.clear()
            await trio.sleep(self.format.seconds_of(len(pcm)))
            return
        self._held += pcm
        await trio.lowlevel.checkpoint()
        while self._held and self.held > HELD_LIMIT and not self._program.lost:
            await self._wait_for_step()

    def drop(self) -> None:
        self._held.clear()
        if self._may_sound():
            self._sounding_until = -math.inf
            self._program.restart()

    async def drain(self) -> None:
        while self._held and not self._program.lost:
            await self._wait_for_step()
        if self._may_sound():
            self._finishing = True
            while self._finishing and not self._program.lost:
                await self._wait_for_step()

    def _may_sound(self) -> bool:
        return trio.current_time() < self._sounding_until + self.PLAYER_BUFFER

    async def _wait_for_step(self) -> None:
        with trio.move_on_after(STEP):  # also looks whether the program is lost, which unparks nobody
            await self._fed.park()

    async def _feed(self, stream: FdStream) -> str:
        self._finishing = False  # the last program has ended, and so has all that it held been heard
        fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, self.PIPE_SIZE)
        try:
            due = trio.current_time() - self.LEAD
            while not self._finishing:
                step = self._take_step()
                with trio.move_on_after(self.STUCK_LIMIT) as patience:
                    await stream.send_all(step)
                if patience.cancelled_caught:
                    return f"took nothing for {self.STUCK_LIMIT:g} s"
                due = max(due + STEP, trio.current_time() - self.LEAD)
                await trio.sleep_until(due)
        except trio.BrokenResourceError:
            return "ended"
        return ""

    def _take_step(self) -> bytes:
        size = self.format.bytes_for(STEP)
        speech = bytes(self._held[:size])
        del self._held[:size]
        if speech:
            self._sounding_until = trio.current_time() + STEP + self.LEAD
        self._fed.unpark_all()
        return speech.ljust(size, b"\0")


@asynccontextmanager
async def open_command_sound(
    settings: CommandConfig, user_input: AudioFormat, agent_output: AudioFormat
) -> AsyncIterator[Sound]:
    """See `open_sound`."""
    recorder = CommandMicrophone(settings.microphone, settings.rate) if settings.microphone else None
    player = CommandSpeaker(settings.speaker, settings.rate) if settings.speaker else None
    devices = Sound(recorder or WavMicrophone(None, user_input.rate), player or WavSpeaker(None, agent_output.rate))
    sound = convert_sound(devices, user_input, agent_output)
    async with trio.open_nursery() as nursery:
        if recorder:
            nursery.start_soon(recorder.keep_recording)
        if player:
            nursery.start_soon(player.keep_playing)
        yield sound
        nursery.cancel_scope.cancel()
