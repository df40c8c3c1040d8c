"""Streams of a sound server's, between its devices and the rings: one of a microphone, or of a speaker.

All that happens in them happens at once, on trio's loop: a block that is fetched is in the ring before anything else is
done, and speech that is put into the other ring is with the server when `put` returns.
"""

from __future__ import annotations

import ctypes
import math

import trio

from convaid.audio import fade
from convaid.devices.interfaces import StreamError
from convaid.devices.libpulse import (
    ADJUST_LATENCY,
    DONT_MOVE,
    INTERPOLATE_TIMING,
    NOTIFY_CALL,
    S16LE,
    STREAM_FAILED,
    STREAM_READY,
    SUCCESS_CALL,
    TRANSFER_CALL,
    UNSET,
    BufferAttributes,
    SampleSpec,
)
from convaid.devices.names import DEFAULT
from convaid.devices.pulse_server import Connection
from convaid.devices.ring import FADE, CaptureRing, PlaybackRing

__all__ = ["PulseMicrophone", "PulseSpeaker", "PulseStream"]

PLAYED, ASKED = 0.1, 0.04  # seconds of speech that the server holds, device included, and that it asks for at once
SETTLED = 0.015  # seconds before they are heard from when on samples are not to be changed any more
RELATIVE = 0  # pa_seek_mode
FRAME = 2  # bytes
DRIFT = 0.001  # seconds in a second that a device's clock may be slower than ours
MOST = 1 << 24  # bytes: more is asked for by a stream that has failed
TAIL = 0.1  # seconds of silence after speech
LOOK_INTERVAL = 0.25  # seconds between two questions to the server, whether it is there and how late it is heard


class PulseStream:
    """One stream of s16le mono, connected to a device of the server's."""

    def __init__(self, connection: Connection, rate: int, words: bytes) -> None:
        self.ended = trio.Event()
        """The device is gone, or another one, or its server is gone."""
        self._connection = connection
        self._library = connection.library
        spec = SampleSpec(S16LE, rate, 1)
        self._stream = self._library.pa_stream_new(connection.context, words, ctypes.byref(spec), None)
        if not self._stream:
            raise StreamError(connection.describe_failure())
        self._library.pa_stream_set_state_callback(self._stream, connection.keep(NOTIFY_CALL(self._note_state)), None)
        # Elsewhere it may be what a speaker plays that is heard: whoever keeps the device chooses anew.
        end = connection.keep(NOTIFY_CALL(lambda *_: self.ended.set()))
        self._library.pa_stream_set_moved_callback(self._stream, end, None)

    async def connect(self, address: str) -> None:
        """``address`` is the device's. Raises `StreamError`, the stream being closed then."""
        flags = INTERPOLATE_TIMING | ADJUST_LATENCY | (DONT_MOVE if address != DEFAULT else 0)
        try:
            state = STREAM_FAILED
            if self._connect(address.encode() if address != DEFAULT else None, flags) == 0:
                state = await self._connection.wait_for(
                    lambda: self._library.pa_stream_get_state(self._stream), STREAM_READY
                )
            if state != STREAM_READY:
                raise StreamError(self._connection.describe_failure())
        except BaseException:  # cancelled, too: nobody else would close it
            self._disconnect()
            raise

    async def wait_end(self) -> None:
        """Return when the device is gone, or the stream is with another one, or the server is gone."""
        await self.ended.wait()

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()
        self._disconnect()

    def _disconnect(self) -> None:
        self._connection.forget_stream()
        self._library.pa_stream_disconnect(self._stream)
        self._library.pa_stream_unref(self._stream)
        self._connection.turn()

    def _connect(self, device: bytes | None, flags: int) -> int:
        """Ask the server for a stream of this kind; negative where that cannot be asked."""
        raise NotImplementedError

    def _note_state(self, stream: int, _: object) -> None:
        if self._library.pa_stream_get_state(stream) >= STREAM_FAILED:
            self.ended.set()


class PulseMicrophone(PulseStream):
    """Puts what is recorded into a ring."""

    def __init__(self, connection: Connection, ring: CaptureRing, block: float) -> None:
        """``block``: seconds of sound that are wanted at once."""
        super().__init__(connection, ring.format.rate, b"microphone")
        self._ring = ring
        self._block = ring.format.bytes_for(block)
        self._held = bytearray()
        self._given = 0.0  # seconds of sound, so far
        self._least_lateness = math.inf
        self._place, self._size = ctypes.c_void_p(), ctypes.c_size_t()
        self._place_at, self._size_at = ctypes.byref(self._place), ctypes.byref(self._size)
        connection.take_turn = self._read

    def _connect(self, device: bytes | None, flags: int) -> int:
        attributes = BufferAttributes(UNSET, UNSET, UNSET, UNSET, self._block)
        return int(self._library.pa_stream_connect_record(self._stream, device, ctypes.byref(attributes), flags))

    def _read(self) -> None:
        has_come = False
        while True:
            self._library.pa_stream_peek(self._stream, self._place_at, self._size_at)
            if not (size := self._size.value):
                break
            if size > MOST:  # nonsense
                self.ended.set()
                return
            place = self._place.value
            self._held += ctypes.string_at(place, size) if place else bytes(size)  # a hole is silence
            self._library.pa_stream_drop(self._stream)
            has_come = True
        while len(self._held) >= self._block:
            self._give(bytes(self._held[: self._block]))
            del self._held[: self._block]
        if has_come:  # some give a block in crumbs: they come as well together
            self._connection.pause(self._ring.format.seconds_of(self._block - len(self._held)))

    def _give(self, block: bytes) -> None:
        """Put a block into the ring, with its age: how much later it comes than if all had always come at once."""
        seconds = self._ring.format.seconds_of(len(block))
        self._given += seconds
        lateness = trio.current_time() - self._given
        self._least_lateness = min(lateness, self._least_lateness + DRIFT * seconds)
        self._ring.put(block, lateness - self._least_lateness)


class PulseSpeaker(PulseStream):
    """Plays what is put into a ring, as soon as it is there. Nothing is played where there is nothing.

    A speaker that is tapped is given silence all the same, so that the tap knows of every moment in which this loop was
    not late.
    """

    def __init__(self, connection: Connection, ring: PlaybackRing) -> None:
        super().__init__(connection, ring.format.rate, b"speech")
        self._ring = ring
        self._is_speaking = False
        self._recent = bytearray()  # what was written last
        self._padding = 0  # bytes of silence at its end, which speech may take the place of
        self._ends_at = -math.inf  # when the last of it will have been heard
        self._most_recent = ring.format.bytes_for(PLAYED + 2 * TAIL)
        self._delay, self._is_early = ctypes.c_uint64(), ctypes.c_int()
        self._note_answer_call = connection.keep(SUCCESS_CALL(self._note_answer))
        self._library.pa_stream_set_write_callback(
            self._stream, connection.keep(TRANSFER_CALL(lambda *_: self._answer())), None
        )
        self._library.pa_stream_set_underflow_callback(
            self._stream, connection.keep(NOTIFY_CALL(lambda *_: self._answer())), None
        )

    async def connect(self, address: str) -> None:
        await super().connect(address)
        self._ring.begin(PLAYED)
        self._ring.filled = self._play_and_turn
        self._play_and_turn()

    async def wait_end(self) -> None:
        while not self.ended.is_set():
            with trio.move_on_after(LOOK_INTERVAL):
                await self.ended.wait()
            self._connection.release(
                self._library.pa_stream_update_timing_info(self._stream, self._note_answer_call, None)
            )
            self._play()
            self._connection.turn()

    async def close(self) -> None:
        self._ring.filled = None
        await super().close()

    def _connect(self, device: bytes | None, flags: int) -> int:
        size = self._ring.format.bytes_for
        attributes = BufferAttributes(UNSET, size(PLAYED), FRAME, size(ASKED), UNSET)
        return int(
            self._library.pa_stream_connect_playback(self._stream, device, ctypes.byref(attributes), flags, None, None)
        )

    def _play_and_turn(self) -> None:
        if self._play():
            self._connection.turn()

    def _play(self) -> bool:
        """Give the server what there is, as far as it takes it; whether there was anything to be done."""
        ring = self._ring
        if is_recalled := ring.is_recalled:
            self._recall()
        free = self._library.pa_stream_writable_size(self._stream)
        if free > MOST:
            return is_recalled
        unheard = self._count_unheard()
        back = min(self._padding, max(0, unheard - ring.format.bytes_for(SETTLED)))
        free = max(free, ring.format.bytes_for(PLAYED) - unheard + back if back else 0) & ~1
        if size := free if ring.is_tapped else min(free, ring.wanted):
            self._write(ring.take(size, self._find_delay() - ring.format.seconds_of(back)), back)
            self._padding, self._is_speaking = 0, True
            ring.taken()
        return is_recalled or size > 0

    def _answer(self) -> None:
        """The server wants more. Where there is no more, it gets silence, before the last of the speech is heard.

        It would keep the end of a stream until there is more of it: PipeWire what is less than a period, PulseAudio
        what is in its resampler. Speech that comes after all takes the place of the silence.
        """
        self._play()
        if self._is_speaking and not self._ring.wanted and not self._ring.is_tapped:
            self._is_speaking = False
            silence = self._ring.format.silence(TAIL)
            self._write(silence, 0)
            self._padding = len(silence)

    def _recall(self) -> None:
        """Have the server forget what it has, but for what is as good as heard, and the fade after that."""
        ring = self._ring
        settled, fading = ring.format.bytes_for(SETTLED), ring.format.bytes_for(FADE)
        unheard = self._count_unheard()
        if unheard > settled + fading:
            size = unheard - settled
            pcm = fade(bytes(self._recent[-size:][:fading]), 1, 0).ljust(size, b"\0")
            self._write(pcm, size)
            self._padding = 0 if ring.is_tapped else size - fading  # what was tapped has had its time
            ring.forget()
        ring.begin(PLAYED)

    def _write(self, pcm: bytes, back: int) -> None:
        """Write so many bytes before the end of what was written."""
        self._library.pa_stream_write(self._stream, pcm, len(pcm), None, -back, RELATIVE)
        if back:
            del self._recent[-back:]
        self._recent += pcm
        self._ends_at = trio.current_time() + self._find_delay()
        del self._recent[: -self._most_recent]

    def _count_unheard(self) -> int:
        """Bytes of what was written last that will still be heard."""
        return min(self._ring.format.bytes_for(self._find_delay()), len(self._recent))

    def _find_delay(self) -> float:
        """Seconds until what is written now will be heard."""
        failed = self._library.pa_stream_get_latency(
            self._stream, ctypes.byref(self._delay), ctypes.byref(self._is_early)
        )
        if failed:
            return PLAYED
        return 0.0 if self._is_early.value else self._delay.value / 1e6

    def _note_answer(self, _: int, is_well: int, __: object) -> None:
        """The server is there. That it plays is told by what it takes, unless it has had nothing to play."""
        has_room = self._library.pa_stream_writable_size(self._stream) > 0
        if is_well and not self._ring.wanted and (has_room or trio.current_time() < self._ends_at):
            self._ring.blocks += 1
