"""What waits to be sent on one connection (floor 2)."""

from __future__ import annotations

from collections import deque

import trio

__all__ = ["Outbox"]

AUDIO_LIMIT = 25  # chunks: one second at the default chunk of 40 ms; older speech is of no use to a conversation
AGES_KEPT = 1500  # chunks: a minute at 40 ms


class Outbox:
    """Frames on their way to the one task that writes: pongs first, then control frames and microphone audio in turn.

    Control frames are never dropped; they cannot pile up, because the writer gives a link up that does not take them.
    Of the audio the oldest goes when `AUDIO_LIMIT` chunks wait, not counting pre-roll; ``audio_dropped`` counts.
    ``audio_ages`` are those of the latest chunks when they were sent, in seconds.
    """

    def __init__(self) -> None:
        self._pongs: deque[str] = deque()
        self._control: deque[str] = deque()
        self._audio: deque[tuple[str, float | None, bool]] = deque()
        self._live = 0  # of the audio, what is no pre-roll
        self._filled = trio.Event()
        self._emptied = trio.Event()
        self._was_audio = False
        self._is_sending = False
        self._is_closed = False
        self.audio_dropped = 0
        self.audio_ages: deque[float] = deque(maxlen=AGES_KEPT)

    def put_pong(self, frame: str) -> None:
        """Queue a pong: the results of hundreds of tool calls are not to hold it up."""
        self._pongs.append(frame)
        self._filled.set()

    def put(self, frame: str) -> None:
        """Queue a control frame: everything else that is not microphone audio."""
        self._control.append(frame)
        self._filled.set()

    def put_audio(self, frame: str, came_at: float | None = None, *, is_preroll: bool = False) -> None:
        """Queue a chunk of microphone audio, whose newest sample came then, if that is of interest (trio's clock).

        ``is_preroll``: it comes at once with others, and is bounded by whoever kept it.
        """
        while self._live == AUDIO_LIMIT and not is_preroll:
            self._live -= not self._audio.popleft()[2]
            self.audio_dropped += 1
        self._audio.append((frame, came_at, is_preroll))
        self._live += not is_preroll
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
        if not self._was_audio:
            return self._control.popleft()
        frame, came_at, is_preroll = self._audio.popleft()
        self._live -= not is_preroll
        if came_at is not None:
            self.audio_ages.append(trio.current_time() - came_at)
        return frame

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
