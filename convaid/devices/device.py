"""Devices of this machine, through PortAudio: found by pattern, opened, and left as soon as they are gone."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import trio
from attrs import frozen

from convaid.config import DeviceConfig
from convaid.devices.interfaces import Microphone, NoteDevice, Role, Speaker
from convaid.devices.kept import KeptDevice, KeptSpeaker, Opened, keep_microphone
from convaid.devices.listing import list_devices
from convaid.devices.names import ALSA, Device, choose_devices
from convaid.devices.portaudio import PlayingStream, RecordingStream, Stream, StreamError, load_portaudio
from convaid.devices.ring import CaptureRing, PlaybackRing
from convaid.devices.servers import find_socket

__all__ = ["open_device_microphone", "open_device_speaker"]

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Stream)


class _Call:
    """A call into the sound system, which may never return."""

    given_up: ClassVar[set[_Call]] = set()
    """Those that nobody waits for any more and that have not returned; of the whole process, which they hang in."""
    _lock: ClassVar = threading.Lock()

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self.is_running = False

    def run(self) -> None:
        self.is_running = True
        try:
            self._function()
        finally:
            with self._lock:
                self.is_running = False
                self.given_up.discard(self)

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            if self.is_running:
                self.given_up.add(self)


_unlimited = trio.CapacityLimiter(math.inf)  # a sound system that hangs is not to take threads from anybody else

# Seconds in one block, and in a device's buffer. A sound server asks for a third of the speaker's at a time.
CAPTURE_BLOCK, CAPTURE_BUFFER = 0.02, 0.06
PLAYBACK_BLOCK, PLAYBACK_BUFFER = 0.015, 0.045
LONG_BUFFER = 0.05  # seconds of speech: a device that holds more forgets it, without a fade, rather than play it
PRIME = 0.15  # seconds of silence that wake a sink up, or the first words are lost in it

OPEN_LIMIT = 5.0  # seconds
HANGING_LIMIT = 4  # calls that do not return: no more is begun, as none would
CLOSE_LIMIT = 2.0
LOOK_INTERVAL = 0.25  # seconds between two looks whether the device is still there
BETTER_INTERVAL = 5.0  # seconds between two looks whether one that is wanted more has come


@frozen
class _Open(Generic[S]):
    device: Device
    stream: S
    is_first_choice: bool
    known: frozenset[str]
    """The addresses of all that there were when it was chosen."""


class _Lives(Generic[S]):
    """The lives of one device: which one is opened, how, and when it is left for another one."""

    def __init__(self, role: Role, patterns: list[str], open_stream: Callable[[Device], S]) -> None:
        """``open_stream`` blocks, and raises `StreamError`."""
        self.stream: S | None = None
        """The one that is open."""
        self._role: Role = role
        self._patterns = patterns
        self._open_stream = open_stream
        self._has_seen_server = False
        self._last_call: _Call | None = None

    async def live(self, opened: Opened) -> str:
        """See `Life`."""
        if (self._last_call is not None and self._last_call.is_running) or len(_Call.given_up) >= HANGING_LIMIT:
            return "the sound system does not answer"
        try:
            found = await self._open()
        except StreamError as error:
            return str(error)
        if found is None:
            return f"it cannot be opened within {OPEN_LIMIT:g} s"
        self.stream = found.stream
        try:
            opened(found.device.name)
            return await self._use(found)
        except StreamError as error:
            return str(error)
        finally:
            self.stream = None
            with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_LIMIT) as patience:
                await self._call(found.stream.close)
            if patience.cancelled_caught:
                log.warning("the %s %s hangs: it will be closed when that ends", self._role, found.device.name)

    async def _use(self, found: _Open[S]) -> str:
        better_at = trio.current_time() + BETTER_INTERVAL
        while found.stream.is_active:
            await trio.sleep(LOOK_INTERVAL)
            if trio.current_time() >= better_at and not found.is_first_choice:
                better_at = trio.current_time() + BETTER_INTERVAL
                if await trio.to_thread.run_sync(self._has_better, found, abandon_on_cancel=True, limiter=_unlimited):
                    return ""
        return "it is gone"

    def _has_better(self, found: _Open[S]) -> bool:
        """Whether a device has come that is wanted more. Blocks."""
        for device in self._choose(list_devices()):
            if device.address == found.device.address:
                return False
            if device.address not in found.known:
                return True
        return False

    async def _open(self) -> _Open[S] | None:
        """Opens the first device that can be; None where that takes too long. Raises `StreamError`."""
        opened: list[_Open[S]] = []
        is_wanted = True

        def open_first() -> None:
            opened.append(self._open_first())
            if not is_wanted:
                close_opened()

        def close_opened() -> None:
            with suppress(IndexError):  # whoever takes it out closes it
                opened.pop().stream.close()

        try:
            with trio.move_on_after(OPEN_LIMIT):
                await self._call(open_first)
                return opened.pop()
        finally:
            is_wanted = False
            if opened:
                with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_LIMIT):
                    await self._call(close_opened)
        return None

    def _open_first(self) -> _Open[S]:
        """Blocks. Raises `StreamError`."""
        devices = list_devices()
        self._has_seen_server = self._has_seen_server or any(device.server != ALSA for device in devices)
        reasons = []
        for device in self._choose(devices):
            try:
                stream = self._open_stream(device)
            except StreamError as error:
                reasons.append(f"{device.name}: {error}")
                continue
            firsts = {each.address for each in self._choose(devices, self._patterns[:1])}
            return _Open(device, stream, device.address in firsts, frozenset(each.address for each in devices))
        if not reasons and self._expects_server() and all(device.server == ALSA for device in devices):
            reasons.append("the sound server does not answer")
        wanted = ", ".join(map(repr, self._patterns))
        raise StreamError("; ".join(reasons) or f"nothing fits {wanted}; `convaid audio list` shows what there is")

    def _choose(self, devices: list[Device], patterns: list[str] | None = None) -> Iterator[Device]:
        patterns = self._patterns if patterns is None else patterns
        return choose_devices(self._role, patterns, devices, expects_server=self._expects_server())

    def _expects_server(self) -> bool:
        socket = find_socket()
        return self._has_seen_server or (socket.exists() if isinstance(socket, Path) else socket is not None)

    async def _call(self, function: Callable[[], None]) -> None:
        """Calls what may block; given up, nothing else is called until it has returned."""
        call = _Call(function)
        self._last_call = call
        try:
            await trio.to_thread.run_sync(call.run, abandon_on_cancel=True, limiter=_unlimited)
        finally:
            call.give_up()


@asynccontextmanager
async def open_device_microphone(settings: DeviceConfig, rate: int, note: NoteDevice) -> AsyncIterator[Microphone]:
    """See `open_microphone`."""
    await trio.to_thread.run_sync(load_portaudio)
    ring = CaptureRing(rate)

    def open_stream(device: Device) -> RecordingStream:
        return RecordingStream(device.address, ring.put, rate=rate, block=CAPTURE_BLOCK, buffer=CAPTURE_BUFFER)

    lives = _Lives("microphone", settings.microphone, open_stream)
    async with keep_microphone(ring, lives.live, note, settings.silence_limit) as microphone:
        yield microphone


@asynccontextmanager
async def open_device_speaker(settings: DeviceConfig, rate: int, note: NoteDevice) -> AsyncIterator[Speaker]:
    """See `open_speaker`."""
    await trio.to_thread.run_sync(load_portaudio)
    ring = PlaybackRing(rate)

    def open_stream(device: Device) -> PlayingStream:
        is_steady = device.server == ALSA  # a card of ours that runs dry may have to be started anew, with a click
        return PlayingStream(
            device.address, ring, rate=rate, block=PLAYBACK_BLOCK, buffer=PLAYBACK_BUFFER, steady=is_steady
        )

    lives = _Lives("speaker", settings.speaker, open_stream)

    async def live(opened: Opened) -> str:
        ring.prime(PRIME)
        return await lives.live(opened)

    kept = KeptDevice("speaker", live, ring, note)
    async with kept.open():
        yield DeviceSpeaker(ring, kept, lives)


class DeviceSpeaker(KeptSpeaker):
    """Plays through a device of this machine."""

    def __init__(self, ring: PlaybackRing, kept: KeptDevice, lives: _Lives[PlayingStream]) -> None:
        super().__init__(ring, kept)
        self._lives = lives

    def drop(self) -> None:
        if self._lives.stream is not None and self._ring.ahead > LONG_BUFFER:
            self._ring.recall()
        super().drop()
