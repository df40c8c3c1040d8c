"""Between a device, or its thread, and trio: sound waits here, bounded, and every frame of it is counted.

What the device's thread calls (`CaptureRing.put`, `PlaybackRing.take`) returns at once: a lock that nobody holds for
longer than it takes to move some hundred bytes, and one write to an eventfd, which is what wakes trio within 0.1 ms.
Going through trio's own `from_thread` would keep the device waiting for the loop, by up to 20 ms when it is busy.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import trio

from convaid.audio import AudioFormat, fade

__all__ = ["FADE", "CaptureRing", "PlaybackRing", "Tap"]

Tap = Callable[[bytes, int], None]

FADE = 0.01  # seconds in which speech that is dropped becomes silent: cut off at once, it would click
AT_ONCE = 0.004  # seconds between two blocks of one burst: less than the shortest block lasts


class CaptureRing:
    """Blocks on their way from a microphone's thread to trio. Above ``limit`` seconds the oldest goes, and is counted.

    Frames are conserved: what was put has been read, has been dropped, or waits. Close it when no thread puts any more.
    """

    def __init__(self, rate: int, limit: float = 2.0) -> None:
        self.format = AudioFormat("pcm", rate)
        self.blocks = 0
        """Blocks that were put so far: a device that gives nothing is seen by it."""
        self.dropped = 0
        """Frames that nobody read in time."""
        self.zeros = 0
        """Frames that were nothing but zeros, without a break up to now."""
        self.age = 0.0
        """Seconds that the block which was read last had waited."""
        self._limit = self.format.bytes_for(limit)
        self._held: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._odd = b""  # half a frame, the rest of which comes with the next block
        self._lock = threading.Lock()
        self._wakes = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """Frames that were put and not yet read."""
        return self._size // 2

    def put(self, block: bytes, age: float = 0.0) -> None:
        """Adds what was recorded ``age`` seconds ago; from any thread, at once. Once the ring is closed, it is lost."""
        with self._lock:
            if self._is_closed:
                return
            self.blocks += 1
            if self._odd or len(block) & 1:
                block = self._odd + block
                whole = len(block) & ~1
                block, self._odd = block[:whole], block[whole:]
            if not block:
                return
            self.zeros = 0 if block.strip(b"\0") else self.zeros + len(block) // 2
            self._held.append((time.monotonic() - age, block))
            self._size += len(block)
            while self._size > self._limit and len(self._held) > 1:
                oldest = len(self._held.popleft()[1])
                self._size -= oldest
                self.dropped += oldest // 2
            if len(self._held) == 1:
                os.eventfd_write(self._wakes, 1)

    def begin(self) -> None:
        """Another device comes: half a frame that the last one left, and its silence, are none of this one's."""
        with self._lock:
            self._odd = b""
            self.zeros = 0

    async def read(self) -> bytes:
        """The next block, as it was put; waits for it. For one task at a time."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while (block := self._take()) is None:
            await trio.lowlevel.wait_readable(self._wakes)
            with suppress(BlockingIOError):
                os.eventfd_read(self._wakes)
        return block

    def _take(self) -> bytes | None:
        with self._lock:
            if not self._held:
                return None
            came_at, block = self._held.popleft()
            self._size -= len(block)
            self.age = time.monotonic() - came_at
            return block

    def close(self) -> None:
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self._wakes)


class PlaybackRing:
    """Speech on its way from trio to a speaker's thread, which gets silence where there is none.

    Frames are conserved: what was put has been played, has been dropped, or waits.
    """

    def __init__(self, rate: int, buffer: float = 0.0, now: Callable[[], float] = time.monotonic) -> None:
        """``buffer``: seconds that the device takes ahead; ``now``: a clock, in seconds, that any thread may read."""
        self.format = AudioFormat("pcm", rate)
        self.buffer = buffer
        self.is_recalled = False
        """What the device holds is to be forgotten."""
        self.blocks = 0
        """Blocks that were taken so far: a device that takes nothing is seen by it."""
        self.played = self.padded = self.dropped = 0
        """Frames: of speech that was given out, of silence that was, of speech that never will be."""
        self._now = now
        self._taken_at = -math.inf
        self._run = 0  # bytes taken at once, up to now
        self._burst = 0.0  # and as a rule
        self._held = bytearray()
        self._silent_until = 0  # bytes of silence that come first
        self.sounding_until = -math.inf
        """When, on that clock, the last of the speech that the device has taken will have been heard."""
        self._lock = threading.Lock()
        self.filled: Callable[[], None] | None = None
        """Is called when there is something to take, or to forget, by whoever has put it there. A device on trio's loop
        sets it, and calls ``taken`` when it has taken something; None for a thread, which looks by itself."""
        self.taken: Callable[[], None] = lambda: None
        self._tap: Tap | None = None

    @property
    def waiting(self) -> int:
        """Frames of speech that the device has not taken yet."""
        return len(self._held) // 2

    @property
    def wanted(self) -> int:
        """Bytes that the device is to take: speech, and the silence before it."""
        return len(self._held) + self._silent_until

    @property
    def held(self) -> float:
        """Seconds until all speech has been heard, as far as the device knows."""
        with self._lock:
            seconds = self.format.seconds_of(len(self._held) + (self._silent_until if self._held else 0))
            return seconds + self.ahead

    @property
    def burst(self) -> float:
        """Seconds of sound that the device takes at once, as a rule: so much has to wait for it, or there are gaps."""
        return self.format.seconds_of(round(self._burst))

    @property
    def ahead(self) -> float:
        """Seconds of speech that the device has taken and that are not heard yet, as far as it knows."""
        return max(0.0, self.sounding_until - self._now())

    def tap(self, take: Tap | None) -> None:
        """From now on ``take``, if any, gets all that the device does."""
        self._tap = take

    @property
    def is_tapped(self) -> bool:
        """Whether somebody wants to know of every moment what is played in it."""
        return self._tap is not None

    def put(self, pcm: bytes) -> None:
        """Adds speech, whole frames of it."""
        with self._lock:
            self._held += pcm
        self._tell()

    def _tell(self) -> None:
        if self.filled is not None:
            self.filled()

    def recall(self) -> None:
        """As `drop`, and the device takes nothing more before it has forgotten what it holds, and begins anew."""
        with self._lock:
            self._drop()
            self.is_recalled = True
        self._tell()

    def begin(self, buffer: float) -> None:
        """The device has done with what was recalled, and takes ``buffer`` seconds ahead from now on."""
        with self._lock:
            self.buffer = buffer
            self.is_recalled = False

    def take(self, size: int, delay: float = 0.0) -> bytes:
        """The next ``size`` bytes for the device, which will be heard ``delay`` seconds from now; from any thread.

        None at all while something is recalled, if the device is one of those that can be asked to forget.
        """
        with self._lock:
            if self.is_recalled:
                return b""
            self.blocks += 1
            self._note_size(size)
            silence = min(self._silent_until, size)
            self._silent_until -= silence
            speech = bytes(self._held[: size - silence])
            del self._held[: len(speech)]
            self.played += len(speech) // 2
            self.padded += (size - len(speech)) // 2
            if speech:
                self.sounding_until = self._now() + delay + self.format.seconds_of(silence + len(speech))
            block = (bytes(silence) + speech).ljust(size, b"\0")
        if tap := self._tap:
            tap(block, self.format.rate)
        return block

    def _note_size(self, size: int) -> None:
        now = self._now()
        if now - self._taken_at < AT_ONCE:
            self._run += size
        else:  # what was taken before is complete; a device that begins takes more than it ever will again
            self._burst = max(self._run, self._burst + (self._run - self._burst) / 8)
            self._run = size
        self._taken_at = now

    def drop(self) -> None:
        """Forgets what waits, but for the `FADE` in which it becomes silent."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        size = min(self.format.bytes_for(FADE), len(self._held))
        self.dropped += (len(self._held) - size) // 2
        self._held[:] = fade(self._held[:size], 1, 0)

    def forget(self) -> None:
        """Drops all, and what the device itself has taken and not yet played: it is gone, or has forgotten it, too."""
        with self._lock:
            self.dropped += len(self._held) // 2
            self._held.clear()
            self.sounding_until = -math.inf

    def prime(self, seconds: float) -> None:
        """The device gets so much silence before any speech: what comes first through a sink that wakes up is lost."""
        with self._lock:
            self._silent_until = self.format.bytes_for(seconds)
        self._tell()
