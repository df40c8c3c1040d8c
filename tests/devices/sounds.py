"""What tests of devices share: both devices at once, speech in steps, and what was noted of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import trio
from attrs import define, field, frozen

from convaid.config import AudioConfig
from convaid.devices import DeviceNote, Microphone, Speaker, open_microphone, open_speaker
from convaid.devices.offered import PluginDevices


@define
class Notes:
    """Takes note of what becomes of devices."""

    all: list[DeviceNote] = field(factory=list)

    def __call__(self, note: DeviceNote) -> None:
        self.all.append(note)

    @property
    def states(self) -> list[str]:
        return [note.state for note in self.all]

    @property
    def details(self) -> str:
        return "\n".join(note.detail for note in self.all)

    async def wait(self, *states: str) -> None:
        """Until these have been noted, and nothing else."""
        await wait_until(lambda: len(self.all) >= len(states))
        assert tuple(self.states) == states


@frozen
class Pair:
    microphone: Microphone
    speaker: Speaker
    notes: Notes


@asynccontextmanager
async def open_both(settings: AudioConfig | PluginDevices, rate: int = 16000) -> AsyncIterator[Pair]:
    notes = Notes()
    async with open_microphone(settings, rate, notes) as microphone, open_speaker(settings, rate, notes) as speaker:
        yield Pair(microphone, speaker, notes)


async def speak(speaker: Speaker, speech: bytes, limit: float = 30.0) -> None:
    """In steps, as a session does."""
    step = speaker.format.bytes_for(0.02)
    with trio.fail_after(limit):
        for start in range(0, len(speech), step):
            await speaker.write(speech[start : start + step])


async def read_for(microphone: Microphone, size: int) -> bytes:
    heard = b""
    with trio.fail_after(10):
        while len(heard) < size:
            heard += await microphone.read()
    return heard


async def wait_until(is_so: Callable[[], object]) -> None:
    with trio.fail_after(10):
        while not is_so():
            await trio.sleep(0.01)


async def read_line(path: Path) -> str:
    """What another process writes there."""

    def read() -> str:
        return path.read_text() if path.exists() else ""

    await wait_until(lambda: read().endswith("\n"))
    return read()


def find_pitch(pcm: bytes, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(np.frombuffer(pcm, "<i2")))
    return float(np.argmax(spectrum)) * rate / (len(pcm) // 2)
