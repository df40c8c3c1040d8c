"""What waits to be sent on one connection (floor 2)."""

from __future__ import annotations

from collections import deque

import trio

__all__ = ["Outbox"]

AUDIO_LIMIT = 25  # chunks: one second at the default chunk of 40 ms; older speech is of no use to a conversation


class Outbox:
    """Frames on their way to the one task that writes: pongs first, then control frames and microphone audio in turn.

    Control frames are never dropped; they cannot pile up, because the writer gives a link up that does not take them.
    Of the audio the oldest goes when `AUDIO_LIMIT` chunks wait; ``audio_dropped`` counts.
    """

    def __init__(self) -> None:
        self._pongs: deque[str] = deque()
        self._control: deque[str] = deque()
        self._audio: deque[str] = deque()
        self._filled = trio.Event()
        self._emptied = trio.Event()
        self._was_audio = False
        self._is_sending = False
        self._is_closed = False
        self.audio_dropped = 0

    def put_pong(self, frame: str) -> None:
        """Queue a pong: the results of hundreds of tool calls are not to hold it up."""
        self._pongs.append(frame)
        self._filled.set()

    def put(self, frame: str) -> None:
        """Queue a control frame: everything else that is not microphone audio."""
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
        while not self._waits():
            self._emptied.set()
            self._filled = trio.Event()
            await self._filled.wait()
        self._is_sending = True
        if self._pongs:
            return self._pongs.popleft()
        self._was_audio = bool(self._audio) and not (self._control and self._was_audio)
        return (self._audio if self._was_audio else self._control).popleft()

    def close(self) -> None:
        """Nobody sends any more: what waits, and what still comes, stays."""
        self._is_closed = True
        self._emptied.set()

    async def wait_sent(self) -> None:
        """Wait until everything queued so far has been handed to the socket, or nobody sends any more."""
        while (self._waits() or self._is_sending) and not self._is_closed:
            self._emptied = trio.Event()
            await self._emptied.wait()

    def _waits(self) -> bool:
        return bool(self._pongs or self._control or self._audio)
