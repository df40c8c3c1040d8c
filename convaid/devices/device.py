"""Devices of this machine: found by pattern, opened, and left as soon as they are gone.

A sound server's are opened as streams of it. ALSA's own cards, for those without a server and those who name one, are
opened through PortAudio.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import ClassVar, Protocol

import trio
from attrs import frozen

from convaid.config import DeviceConfig
from convaid.devices.card import open_card
from convaid.devices.interfaces import DeviceError, Microphone, NoteDevice, Role, Speaker, StreamError
from convaid.devices.kept import KeptDevice, KeptSpeaker, Opened, keep_microphone
from convaid.devices.libpulse import load_libpulse
from convaid.devices.listing import list_devices, list_devices_of
from convaid.devices.names import ALSA, Device, choose_devices
from convaid.devices.portaudio import PlayingStream, RecordingStream
from convaid.devices.pulse_server import Connection, open_connection
from convaid.devices.pulse_streams import PulseMicrophone, PulseSpeaker
from convaid.devices.ring import CaptureRing, PlaybackRing
from convaid.devices.servers import find_socket, has_server

__all__ = ["open_device_microphone", "open_device_speaker"]

RECORDED_BLOCKS = 3  # in a card's buffer
PLAYED_BLOCK, PLAYED_BUFFER = 0.015, 0.045  # seconds, of a card's
PRIME = 0.15  # seconds of silence that wake a sink up, or the first words are lost in it
NO_LIBPULSE = "the sound server needs the library libpulse: apt install libpulse0"
BETTER_INTERVAL = 5.0  # seconds between two looks whether a device that is wanted more has come


class Stream(Protocol):
    """A device that is open."""

    async def wait_end(self) -> None:
        """Return when it is gone."""

    async def close(self) -> None:
        """Within some seconds, whatever hangs."""


OpenStream = Callable[[Device, Connection | None], Awaitable[Stream]]
"""Opens a device, by a connection to its server if it is not ALSA's. Raises `StreamError`."""


@frozen
class _Open:
    device: Device
    stream: Stream
    is_first_choice: bool
    known: frozenset[str]
    """The addresses of all that there were when it was chosen."""


class _Lives:
    """The lives of one device: which one is opened, and when it is left for another one."""

    has_seen_server: ClassVar = False
    """Of the whole process: a server that was there comes back."""

    def __init__(self, role: Role, patterns: list[str], open_stream: OpenStream) -> None:
        self._role: Role = role
        self._patterns = patterns
        self._open_stream = open_stream

    async def live(self, opened: Opened) -> str:
        """See `Life`."""
        async with open_connection() as connection:
            try:
                found = await self._open_first(connection)
            except StreamError as error:
                return str(error)
            try:
                opened(found.device.name)
                return await self._use(found)
            finally:
                with trio.CancelScope(shield=True):
                    await found.stream.close()

    async def _use(self, found: _Open) -> str:
        while True:
            with trio.move_on_after(BETTER_INTERVAL):
                await found.stream.wait_end()
                return "it is gone"
            if not found.is_first_choice and self._has_better(found, await list_devices()):
                return ""

    def _has_better(self, found: _Open, devices: list[Device]) -> bool:
        """Whether a device has come that is wanted more."""
        for device in self._choose(devices):
            if device.address == found.device.address:
                return False
            if device.address not in found.known:
                return True
        return False

    async def _open_first(self, connection: Connection | None) -> _Open:
        """Opens the first device that can be. Raises `StreamError`, or `DeviceError` where waiting would not help."""
        devices = await list_devices_of(connection)
        _Lives.has_seen_server = _Lives.has_seen_server or any(device.server != ALSA for device in devices)
        reasons = []
        for device in self._choose(devices):
            try:
                stream = await self._open_stream(device, connection)
            except DeviceError as error:
                if find_socket() is None and not self.has_seen_server:
                    raise
                reasons.append(f"{device.name}: {error}")
                continue
            except StreamError as error:
                reasons.append(f"{device.name}: {error}")
                continue
            firsts = {each.address for each in self._choose(devices, self._patterns[:1])}
            return _Open(device, stream, device.address in firsts, frozenset(each.address for each in devices))
        if not reasons and self._expects_server() and all(device.server == ALSA for device in devices):
            reasons.append("the sound server does not answer" if load_libpulse() is not None else NO_LIBPULSE)
        wanted = ", ".join(map(repr, self._patterns))
        raise StreamError("; ".join(reasons) or f"nothing fits {wanted}; `convaid audio list` shows what there is")

    def _choose(self, devices: list[Device], patterns: list[str] | None = None) -> Iterator[Device]:
        patterns = self._patterns if patterns is None else patterns
        return choose_devices(self._role, patterns, devices, expects_server=self._expects_server())

    def _expects_server(self) -> bool:
        return self.has_seen_server or has_server()


@asynccontextmanager
async def open_device_microphone(
    settings: DeviceConfig, rate: int, note: NoteDevice, block: float
) -> AsyncIterator[Microphone]:
    """See `open_microphone`."""
    ring = CaptureRing(rate)

    def open_card_stream(address: str) -> RecordingStream:
        return RecordingStream(address, ring.put, rate=rate, block=block, buffer=RECORDED_BLOCKS * block)

    async def open_stream(device: Device, connection: Connection | None) -> Stream:
        if device.server == ALSA or connection is None:
            return await open_card(device.name, lambda: open_card_stream(device.address))
        stream = PulseMicrophone(connection, ring, block)
        await stream.connect(device.address)
        return stream

    lives = _Lives("microphone", settings.microphone, open_stream)
    async with keep_microphone(ring, lives.live, note, settings.silence_limit) as microphone:
        yield microphone


@asynccontextmanager
async def open_device_speaker(settings: DeviceConfig, rate: int, note: NoteDevice) -> AsyncIterator[Speaker]:
    """See `open_speaker`."""
    ring = PlaybackRing(rate)

    def open_card_stream(address: str) -> PlayingStream:
        return PlayingStream(address, ring, rate=rate, block=PLAYED_BLOCK, buffer=PLAYED_BUFFER)

    async def open_stream(device: Device, connection: Connection | None) -> Stream:
        if device.server == ALSA or connection is None:
            return await open_card(device.name, lambda: open_card_stream(device.address))
        stream = PulseSpeaker(connection, ring)
        await stream.connect(device.address)
        return stream

    lives = _Lives("speaker", settings.speaker, open_stream)

    async def live(opened: Opened) -> str:
        ring.prime(PRIME)
        return await lives.live(opened)

    kept = KeptDevice("speaker", live, ring, note)
    async with kept.open():
        yield DeviceSpeaker(ring, kept)


class DeviceSpeaker(KeptSpeaker):
    """Plays through a device of this machine."""

    def _forget(self) -> None:
        self._ring.recall()
