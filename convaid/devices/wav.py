"""WAV files in place of devices, at the pace of devices.

The files are read and written on trio's thread: a step is a few hundred bytes out of or into the page cache, which
takes less time than handing it to a worker thread.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO

import trio

from convaid.audio import AudioFormat, WavReader, WavWriter
from convaid.devices.interfaces import HELD_LIMIT, STEP, DeviceError, DeviceNote, NoteDevice

__all__ = ["WavMicrophone", "WavSpeaker", "open_wav_microphone", "open_wav_speaker"]

log = logging.getLogger(__name__)


class WavMicrophone:
    """Gives the samples of a file as if they were spoken now, then silence; nothing but silence without a file."""

    CATCH_UP = 0.1  # seconds: who reads later than this is not flooded with all that was missed; the file waits for him

    def __init__(self, reader: WavReader | None, rate: int) -> None:
        self.format = AudioFormat("pcm", reader.rate if reader else rate)
        self._reader = reader
        self._position = 0.0  # seconds since the start that have been given
        self._started = trio.current_time()

    @property
    def age(self) -> float:
        return max(0.0, trio.current_time() - self._started - self._position)

    async def read(self) -> bytes:
        self._started = max(self._started, trio.current_time() - self._position - self.CATCH_UP)
        await trio.sleep_until(self._started + self._position + STEP)
        size = self.format.bytes_for(self._position + STEP) - self.format.bytes_for(self._position)
        self._position += STEP
        return self._read_file(size).ljust(size, b"\0")

    def _read_file(self, size: int) -> bytes:
        try:
            return self._reader.read(size // self.format.frame_size) if self._reader else b""
        except OSError as error:
            log.error("the microphone's file ends here: %s", error)
            self._reader = None
            return b""


class WavSpeaker:
    """Writes what a listener would hear from now on, pauses and interruptions included; to nowhere without a writer.

    The recording follows the clock whenever it is touched, so silence costs neither time nor disk. If the disk fails,
    that is logged and speech goes on unheard.
    """

    def __init__(self, writer: WavWriter | None, rate: int) -> None:
        self.format = AudioFormat("pcm", rate)
        self._writer = writer
        self._started = trio.current_time()
        self._heard = 0  # bytes since the start, silence included
        self._held = bytearray()
        self._dropped = trio.Event()
        self._take: Callable[[bytes, int], None] | None = None

    @property
    def held(self) -> float:
        return self.format.seconds_of(max(0, len(self._held) - self._due()))

    async def write(self, pcm: bytes) -> None:
        self.play()
        self._held += pcm
        with trio.move_on_after(max(0.0, self.held - HELD_LIMIT)):
            await self._dropped.wait()
        self.play()

    def tap(self, take: Callable[[bytes, int], None] | None) -> None:
        self._take = take

    def drop(self) -> None:
        self.play()
        self._held.clear()
        self._dropped.set()
        self._dropped = trio.Event()

    async def drain(self) -> None:
        await trio.sleep(self.held)
        self.play()

    def play(self) -> None:
        """Lets the listener hear all that is due by now."""
        due = self._due()
        heard = bytes(self._held[:due])
        del self._held[:due]
        self._heard += due
        self._tell(heard, due)
        if self._writer and due:
            try:
                self._writer.write(heard, silence=due - len(heard))
            except OSError as error:
                log.error("the recording of the agent's speech ends here: %s", error)
                self._writer = None

    def _tell(self, heard: bytes, due: int) -> None:
        second = self.format.bytes_for(1.0)
        for start in range(0, due if self._take else 0, second):  # hours of silence are not to be held at once
            size = min(second, due - start)
            if self._take:
                self._take(heard[start : start + size].ljust(size, b"\0"), self.format.rate)

    def _due(self) -> int:
        return self.format.bytes_for(trio.current_time() - self._started) - self._heard


@asynccontextmanager
async def open_wav_microphone(path: Path | None, rate: int, note: NoteDevice) -> AsyncIterator[WavMicrophone]:
    """See `open_microphone`; the file is read from its beginning."""
    with ExitStack() as files:
        reader = None
        if path:
            with _blame(path, "microphone"):
                reader = WavReader(files.enter_context(_open_file(path)))
        note(DeviceNote("microphone", "open", str(path or "")))
        yield WavMicrophone(reader, rate)


@asynccontextmanager
async def open_wav_speaker(path: Path | None, rate: int, note: NoteDevice) -> AsyncIterator[WavSpeaker]:
    """See `open_speaker`; it overwrites nothing.

    Where its file is there already, a recording of an earlier session, it takes the next free name: ``out-2.wav``.
    """
    with ExitStack() as files:
        writer = None
        if path:
            with _blame(path, "speaker"):
                writer = WavWriter(files.enter_context(_open_next(path)), rate)
        speaker = WavSpeaker(writer, rate)
        files.callback(speaker.play)  # up to the end of the session
        note(DeviceNote("speaker", "open", str(path or "")))
        yield speaker


def _open_file(path: Path) -> BinaryIO:
    _refuse_odd(path)
    return path.open("rb")


def _open_next(path: Path) -> BinaryIO:
    """Create the file, or the first of ``name-2``, ``name-3``, … that is not there yet."""
    _refuse_odd(path)
    for number in count(1):
        free = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        with suppress(FileExistsError):
            file = free.open("xb", buffering=0)
            log.info("the agent's speech goes to %s", free)
            return file
    raise AssertionError("numbers do not end")


def _refuse_odd(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise ValueError("it is not a plain file")  # a FIFO would block


@contextmanager
def _blame(path: Path, role: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DeviceError(f"{path} cannot be the {role}: {reason}") from error
