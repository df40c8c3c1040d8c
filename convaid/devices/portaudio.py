"""PortAudio, by way of sounddevice: one stream, of a microphone or of a speaker. What is called here blocks.

sounddevice knows PortAudio's functions, and is used for that alone. Its own streams cannot be: their callbacks are made
by cffi, which needs memory that is both written and executed, and a hardened service has none
(``MemoryDenyWriteExecute=``); those of ctypes do not. They also know no device by its ALSA name, but only those that
were there when PortAudio was initialised: a microphone that is plugged in later is none.
"""

from __future__ import annotations

import atexit
import ctypes
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from convaid.devices.interfaces import DeviceError, Role, StreamError
from convaid.devices.quiet import silence_libraries
from convaid.devices.ring import PlaybackRing

__all__ = ["PlayingStream", "RecordingStream", "Stream", "load_portaudio"]

LONG_BUFFER = 0.05  # seconds of speech: a card that holds more forgets it, without a fade, rather than play it
SHORTEST_REST = 0.002  # seconds between two looks whether a speaker has room
END_LIMIT = 0.5  # seconds for PortAudio's thread to end by itself

CONTINUE, ABORT = 0, 2  # a callback's answers (portaudio.h, as all that follows)
S16 = 8
NAMED_DEVICE = -2  # "see hostApiSpecificStreamInfo"
ALSA = 8
CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.POINTER(ctypes.c_double),
    ctypes.c_ulong,
    ctypes.c_void_p,
)


class _NamedDevice(ctypes.Structure):
    """``PaAlsaStreamInfo``"""

    _fields_ = (
        ("size", ctypes.c_ulong),
        ("host_api", ctypes.c_int),
        ("version", ctypes.c_ulong),
        ("name", ctypes.c_char_p),
    )


@cache
def load_portaudio() -> Any:
    """Import sounddevice, which initialises PortAudio; takes some 0.2 s. `DeviceError` says what to install."""
    silence_libraries()
    try:
        import sounddevice
    except ImportError as error:
        raise DeviceError("audio devices need sounddevice: pip install 'convaid[audio]'") from error
    except OSError as error:
        raise DeviceError(f"audio devices need PortAudio ({error}): apt install libportaudio2") from error
    atexit.unregister(sounddevice._exit_handler)  # it would wait for a device that is stuck; the kernel does not
    return sounddevice


_opening = threading.Lock()  # PortAudio's functions that open and close are not for two threads at once


class Stream:
    """One open stream of s16le mono, already running."""

    def __init__(
        self, role: Role, address: str, *, rate: int, block: float, buffer: float, callback: Any = None
    ) -> None:
        """``address``: what ALSA calls the device; ``block`` and the device's ``buffer`` in seconds. Close it.

        Raises `StreamError`.
        """
        portaudio = load_portaudio()
        self._lib, self._ffi = portaudio._lib, portaudio._ffi
        self._device = _NamedDevice(ctypes.sizeof(_NamedDevice), ALSA, 1, address.encode())
        self._is_closed = False
        parameters = self._ffi.new(
            "PaStreamParameters*",
            {
                "device": NAMED_DEVICE,
                "channelCount": 1,
                "sampleFormat": S16,
                "suggestedLatency": buffer,
                "hostApiSpecificStreamInfo": self._ffi.cast("void*", ctypes.addressof(self._device)),
            },
        )
        null, place = self._ffi.NULL, self._ffi.new("PaStream**")
        call = self._ffi.cast("PaStreamCallback*", ctypes.cast(callback, ctypes.c_void_p).value) if callback else null
        ends = (null, parameters) if role == "speaker" else (parameters, null)
        with _opening:
            self._check(self._lib.Pa_OpenStream(place, *ends, rate, round(block * rate), 0, call, null))
            self._stream = place[0]
            try:
                self._check(self._lib.Pa_StartStream(self._stream))
            except StreamError:
                self._lib.Pa_CloseStream(self._stream)
                raise

    @property
    def is_active(self) -> bool:
        """Whether the device is still there; does not block. Not to be asked of a stream that is closed."""
        return bool(self._lib.Pa_IsStreamActive(self._stream) == 1)

    def close(self) -> None:
        """Waits for the stream's thread, which may be stuck in the sound system."""
        if not self._is_closed:
            self._is_closed = True
            self._end()
            with _opening:
                self._lib.Pa_CloseStream(self._stream)

    def _end(self) -> None:
        """Have the stream's thread end."""

    def _check(self, code: int) -> int:
        if code < 0:
            reason = self._ffi.string(self._lib.Pa_GetErrorText(code)).decode()
            if code == self._lib.paUnanticipatedHostError:
                host = self._lib.Pa_GetLastHostErrorInfo()
                reason = self._ffi.string(host.errorText).decode(errors="replace") or reason
            raise StreamError(reason)
        return code


class RecordingStream(Stream):
    """A microphone's. PortAudio's thread calls ``put`` with each block."""

    def __init__(self, address: str, put: Callable[[bytes], None], *, rate: int, block: float, buffer: float) -> None:
        self._put = put
        self._is_ending = False
        self._callback = CALLBACK(self._call)  # held here: PortAudio has its address
        super().__init__("microphone", address, rate=rate, block=block, buffer=buffer, callback=self._callback)

    def _end(self) -> None:
        # To abort would cancel the thread wherever it waits, and where that is for Python's lock, nobody ever gets that
        # again.
        self._is_ending = True
        deadline = time.monotonic() + END_LIMIT
        while self.is_active and time.monotonic() < deadline:
            time.sleep(0.002)

    def _call(self, source: int, _: int, frames: int, *__: object) -> int:
        if self._is_ending:
            return ABORT
        self._put(ctypes.string_at(source, 2 * frames))
        return CONTINUE


class PlayingStream(Stream):
    """A speaker's. A thread of ours takes blocks out of a ring, silence where there is no speech, and writes them."""

    def __init__(self, address: str, ring: PlaybackRing, *, rate: int, block: float, buffer: float) -> None:
        super().__init__("speaker", address, rate=rate, block=block, buffer=buffer)
        self._ring = ring
        self._rate = rate
        self._block = ring.format.bytes_for(block)
        self._is_ending = False
        try:
            self._size = self._check(self._lib.Pa_GetStreamWriteAvailable(self._stream))  # all of its buffer, in frames
        except StreamError:
            with _opening:
                self._lib.Pa_CloseStream(self._stream)
            raise
        ring.begin(self._size / rate)
        self._thread = threading.Thread(target=self._play, name=f"play to {address}", daemon=True)
        self._thread.start()

    @property
    def is_active(self) -> bool:
        return self._thread.is_alive()

    def _end(self) -> None:
        self._is_ending = True
        self._thread.join()

    def _play(self) -> None:
        with suppress(StreamError):  # the device is gone, which `is_active` says
            while not self._is_ending:
                self._play_on()

    def _play_on(self) -> None:
        if self._ring.is_recalled:
            if self._ring.ahead > LONG_BUFFER:
                self._lib.Pa_AbortStream(self._stream)
                self._check(self._lib.Pa_StartStream(self._stream))
                self._ring.forget()
            self._ring.begin(self._ring.buffer)
        free = self._check(self._lib.Pa_GetStreamWriteAvailable(self._stream))
        if 2 * free < self._block:  # PortAudio's own waiting never ends with some of ALSA's plugins
            # in this stream's own thread
            time.sleep(max(SHORTEST_REST, self._block / 2 / self._rate - free / self._rate))
        elif pcm := self._ring.take(self._block, max(0, self._size - free) / self._rate):  # none where it was recalled
            self._write(pcm)

    def _write(self, pcm: bytes) -> None:
        code = self._lib.Pa_WriteStream(self._stream, pcm, len(pcm) // 2)
        if code != self._lib.paOutputUnderflowed:
            self._check(code)
