"""Speech on its way, from the microphone to the wire and from the wire to the speaker, as bytes (floor 2)."""

from __future__ import annotations

from collections import deque

import trio

__all__ = ["MicrophoneBuffer", "PlaybackBuffer"]


class MicrophoneBuffer:
    """Turns what a microphone delivers, in blocks of its own size and time, into chunks of one size, one per tick.

    It starts to give once one whole chunk is there, and starts anew after it ran dry, so that blocks which come a
    little late cause no gaps: that is the one chunk of latency it adds. What is missing is silence. Above ``limit``
    bytes only the newest block stays, so that what waits after a hiccup does not stay behind for good. ``padded`` and
    ``dropped`` count bytes.
    """

    def __init__(self, chunk: bytes, limit: int) -> None:
        """``chunk``: one chunk of silence, which gives the size; ``limit``: most bytes held."""
        self._silence = chunk
        self._limit = limit
        self._held = bytearray()
        self._is_primed = False
        self.padded = 0
        self.dropped = 0

    def put(self, samples: bytes) -> None:
        """Add what the microphone delivered."""
        self._held += samples
        if len(self._held) > self._limit:
            excess = len(self._held) - min(max(len(samples), len(self._silence)), self._limit)
            del self._held[:excess]
            self.dropped += excess

    def take(self) -> bytes:
        """The next chunk: samples, or silence where there are none."""
        size = len(self._silence)
        self._is_primed = self._is_primed or len(self._held) >= size
        if not self._is_primed:
            self.padded += size
            return self._silence
        chunk = bytes(self._held[:size])
        del self._held[:size]
        missing = size - len(chunk)
        if missing:
            self._is_primed = False
            self.padded += missing
            chunk += self._silence[len(chunk) :]
        return chunk


class PlaybackBuffer:
    """Agent speech that has arrived and waits to be heard, given out in small steps so that it can be cut off quickly.

    At most ``limit`` bytes wait; what comes on top is dropped and counted, because what was said first is heard first.
    """

    def __init__(self, step: int, limit: int) -> None:
        """``step``: bytes given out at a time, a whole number of samples; ``limit``: most bytes held."""
        self._step = step
        self._limit = limit
        self._chunks: deque[memoryview] = deque()
        self._filled = trio.Event()
        self._emptied = trio.Event()
        self._is_step_out = False
        self.size = 0
        self.dropped = 0

    def put(self, samples: bytes) -> None:
        """Add speech; returns at once."""
        if self.size + len(samples) > self._limit:
            self.dropped += len(samples)
            return
        if samples:
            self._chunks.append(memoryview(samples))
            self.size += len(samples)
            self._filled.set()

    def clear(self) -> None:
        """Forget all that waits."""
        self.size = 0
        self._chunks.clear()
        self._emptied.set()  # the step that is out comes back in its own time

    async def take(self) -> bytes:
        """Wait for the next step of speech; asking for it says that the one before is with the speaker."""
        self._is_step_out = False
        if not self.size:
            self._emptied.set()
        while not self.size:
            self._filled = trio.Event()
            await self._filled.wait()
        step = bytes(self._take(self._step))
        while len(step) < self._step and self.size:
            step += self._take(self._step - len(step))
        self._is_step_out = True
        return step

    def _take(self, most: int) -> memoryview:
        chunk = self._chunks.popleft()
        if len(chunk) > most:
            self._chunks.appendleft(chunk[most:])
            chunk = chunk[:most]
        self.size -= len(chunk)
        return chunk

    async def wait_empty(self) -> None:
        """Wait until nothing waits any more and the last step is with the speaker."""
        while self.size or self._is_step_out:
            self._emptied = trio.Event()
            await self._emptied.wait()
