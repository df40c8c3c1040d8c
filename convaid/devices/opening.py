"""A microphone or a speaker, whichever kind the configuration names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from convaid.config import AudioConfig, CommandConfig, WavConfig
from convaid.devices.command import open_command_microphone, open_command_speaker
from convaid.devices.interfaces import STEP, Microphone, NoteDevice, Speaker
from convaid.devices.kept import KeptDevice, KeptSpeaker, Opened, keep_microphone
from convaid.devices.offered import Give, PluginDevices, Take
from convaid.devices.ring import CaptureRing, PlaybackRing
from convaid.devices.wav import open_wav_microphone, open_wav_speaker

__all__ = ["open_microphone", "open_speaker"]

NOTHING: tuple[object, ...] = ((), [])  # as the configuration says that there is to be no device


def open_microphone(
    devices: AudioConfig | PluginDevices, rate: int, note: NoteDevice, block: float = STEP
) -> AbstractAsyncContextManager[Microphone]:
    """Opens the microphone that ``devices`` name; leaving closes it, within about a second.

    It is wanted at ``rate``, and has the rate that its format says, for as long as it is open. What is not there now is
    tried again for ever, and ``note`` is told of every change. A microphone that is left out is silent, in real time.
    ``block``: seconds of sound that are best given at once, where a device lets itself be asked.

    Raises `DeviceError`, with the remedy, for what waiting does not repair: a file or a package that is not there.
    """
    if isinstance(devices, WavConfig):
        return open_wav_microphone(devices.microphone, rate, note)
    if isinstance(devices, PluginDevices):
        if devices.record is None:
            return open_wav_microphone(None, rate, note)
        return _open_plugin_microphone(devices.name, devices.rate, devices.record, note)
    if devices.microphone in NOTHING:
        return open_wav_microphone(None, rate, note)
    if isinstance(devices, CommandConfig):
        return open_command_microphone(devices, note)
    from convaid.devices.device import open_device_microphone  # brings ctypes

    return open_device_microphone(devices, rate, note, block)


def open_speaker(
    devices: AudioConfig | PluginDevices, rate: int, note: NoteDevice
) -> AbstractAsyncContextManager[Speaker]:
    """Opens the speaker that ``devices`` name, in the same way; one that is left out plays to nobody, in real time."""
    if isinstance(devices, WavConfig):
        return open_wav_speaker(devices.speaker, rate, note)
    if isinstance(devices, PluginDevices):
        if devices.play is None:
            return open_wav_speaker(None, rate, note)
        return _open_plugin_speaker(devices.name, devices.rate, devices.play, note)
    if devices.speaker in NOTHING:
        return open_wav_speaker(None, rate, note)
    if isinstance(devices, CommandConfig):
        return open_command_speaker(devices, note)
    from convaid.devices.device import open_device_speaker

    return open_device_speaker(devices, rate, note)


@asynccontextmanager
async def _open_plugin_microphone(
    name: str, rate: int, record: Callable[[Give], Awaitable[str]], note: NoteDevice
) -> AsyncIterator[Microphone]:
    ring = CaptureRing(rate)

    async def live(opened: Opened) -> str:
        opened(name)
        return await record(lambda pcm: ring.put(bytes(pcm))) or "it ended"

    async with keep_microphone(ring, live, note) as microphone:
        yield microphone


@asynccontextmanager
async def _open_plugin_speaker(
    name: str, rate: int, play: Callable[[Take], Awaitable[str]], note: NoteDevice
) -> AsyncIterator[Speaker]:
    ring = PlaybackRing(rate)

    async def live(opened: Opened) -> str:
        opened(name)
        return await play(ring.take) or "it ended"

    kept = KeptDevice("speaker", live, ring, note)
    async with kept.open():
        yield KeptSpeaker(ring, kept)
