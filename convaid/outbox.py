"""What waits to be sent on one connection (floor 2)."""

from __future__ import annotations

from collections import deque

import trio

__all__ = ["Outbox"]

AUDIO_LIMIT = 25  # chunks: one second at the default chunk of 40 ms; older speech is of no use to a conversation


class Outbox:
    """Frames on their way to the one task that writes: control frames first, microphone audio after them.

    Control frames are never dropped; they cannot pile up, because the writer gives a link up that does not take them.
    Of the audio the oldest goes when `AUDIO_LIMIT` chunks wait; ``audio_dropped`` counts.
    """

    def __init__(self) -> None:
        self._control: deque[str] = deque()
        self._audio: deque[str] = deque()
        self._filled = trio.Event()
        self._emptied = trio.Event()
        self._is_sending = False
        self._is_closed = False
        self.audio_dropped = 0

    def put(self, frame: str) -> None:
        """Queue a control frame: everything that is not microphone audio."""
        self._control.append(frame)
        self._filled.set()

    def put_audio(self, frame: str) -> None:
        """Queue a chunk of microphone audio."""
        if len(self._audio) == AUDIO_LIMIT:
            self._audio.popleft()
            self.audio_dropped += 1
        self._audio.append(frame)
        self._filled.set()

    async def take(self) -> str:
        """Wait for the next frame; asking for it says that the one before has been sent."""
        self._is_sending = False
        while not (self._control or self._audio):
            self._emptied.set()
            self._filled = trio.Event()
            await self._filled.wait()
        self._is_sending = True
        return (self._control or self._audio).popleft()

    def close(self) -> None:
        """Nobody sends any more: what waits, and what still comes, stays."""
        self._is_closed = True
        self._emptied.set()

    async def wait_sent(self) -> None:
        """Wait until everything queued so far has been handed to the socket, or nobody sends any more."""
        while (self._control or self._audio or self._is_sending) and not self._is_closed:
            self._emptied = trio.Event()
            await self._emptied.wait()
