"""Speech on its way, from the microphone to the wire and from the wire to the speaker, as bytes (floor 2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

__all__ = ["MicrophoneBuffer", "PlaybackBuffer", "Preroll"]


class Preroll:
    """What a microphone hears before there is somebody to hear it; the oldest goes where it is too long."""

    def __init__(self, limit: int) -> None:
        """``limit``: most bytes held."""
        self._limit = limit
        self._size = 0
        self._blocks: deque[bytes] = deque()
        self._take: Callable[[bytes], None] | None = None

    def put(self, block: bytes) -> None:
        """Add what the microphone delivers, or hand it on at once."""
        if self._take is not None:
            self._take(block)
            return
        self._blocks.append(block)
        self._size += len(block)
        while self._size > self._limit:
            self._size -= len(self._blocks.popleft())

    @contextmanager
    def hand_over(self, take: Callable[[bytes], None]) -> Iterator[None]:
        """While inside, ``take`` gets every block, those first that have been kept."""
        for block in self._blocks:
            take(block)
        self._blocks.clear()
        self._take = take
        try:
            yield
        finally:
            self._take = lambda block: None


class MicrophoneBuffer:
    """Turns what a microphone delivers, in blocks of its own size, into whole chunks, each as soon as it is there.

    Above ``limit`` bytes only the newest stay, so that what waits after a hiccup does not stay behind for good.
    ``padded`` and ``dropped`` count bytes.
    """

    def __init__(self, chunk: bytes, limit: int) -> None:
        """``chunk``: one chunk of silence, which gives the size; ``limit``: most bytes held."""
        self._silence = chunk
        self._limit = limit
        self._held = bytearray()
        self.padded = 0
        self.dropped = 0

    def put(self, samples: bytes) -> None:
        """Add what the microphone delivered."""
        self._held += samples
        excess = len(self._held) - self._limit
        if excess > 0:
            del self._held[:excess]
            self.dropped += excess

    def take(self) -> bytes | None:
        """The next chunk, if it is whole."""
        size = len(self._silence)
        if len(self._held) < size:
            return None
        chunk = bytes(self._held[:size])
        del self._held[:size]
        return chunk

    def pad(self) -> bytes:
        """The next chunk, with silence for what is missing."""
        held = bytes(self._held)
        self._held.clear()
        self.padded += len(self._silence) - len(held)
        return held + self._silence[len(held) :]


class PlaybackBuffer:
    """Agent speech that has arrived and waits to be heard, given out in small steps so that it can be cut off quickly.

    Each piece belongs to an event of the agent's; no step holds speech of two. At most ``limit`` bytes wait; what comes
    on top is dropped and counted, because what was said first is heard first.
    """

    def __init__(self, step: int, limit: int) -> None:
        """``step``: bytes given out at a time, a whole number of samples; ``limit``: most bytes held."""
        self._step = step
        self._limit = limit
        self._pieces: deque[tuple[int, memoryview]] = deque()
        self._filled = trio.Event()
        self._emptied = trio.Event()
        self._is_step_out = False
        self.event_id = 0
        """Of the step that was given out last."""
        self.size = 0
        self.dropped = 0

    def put(self, samples: bytes, event_id: int) -> bool:
        """Add speech, and return whether there was room for it."""
        if self.size + len(samples) > self._limit:
            self.dropped += len(samples)
            return False
        if samples:
            self._pieces.append((event_id, memoryview(samples)))
            self.size += len(samples)
            self._filled.set()
        return True

    def clear(self, event_id: int) -> None:
        """Forget what waits of the events up to and including this one."""
        self._pieces = deque(piece for piece in self._pieces if piece[0] > event_id)
        self.size = sum(len(samples) for _, samples in self._pieces)
        if not self.size:
            self._emptied.set()  # the step that is out comes back in its own time

    async def take(self) -> bytes:
        """Wait for the next step of speech; asking for it says that the one before is with the speaker."""
        self._is_step_out = False
        if not self.size:
            self._emptied.set()
        while not self.size:
            self._filled = trio.Event()
            await self._filled.wait()
        self.event_id = self._pieces[0][0]
        step = b""
        while len(step) < self._step and self._pieces and self._pieces[0][0] == self.event_id:
            step += self._take(self._step - len(step))
        self._is_step_out = True
        return step

    def _take(self, most: int) -> memoryview:
        event_id, samples = self._pieces.popleft()
        if len(samples) > most:
            self._pieces.appendleft((event_id, samples[most:]))
            samples = samples[:most]
        self.size -= len(samples)
        return samples

    async def wait_empty(self) -> None:
        """Wait until nothing waits any more and the last step is with the speaker."""
        while self.size or self._is_step_out:
            self._emptied = trio.Event()
            await self._emptied.wait()
