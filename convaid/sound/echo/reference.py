"""What the speaker plays, laid beside what the microphone hears."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from convaid.audio import AudioFormat, Converter

__all__ = ["Reference"]

LAG = 0.01  # seconds by which the reference is late, as blocks are not there on the dot
LONGEST_LAG = 0.06  # seconds up to which it learns to be later where they are not; echoes are later than that
SLIP = 0.02  # seconds by which clocks may run apart before they are put right: a canceller then has to learn anew
WINDOW = 5.0  # seconds in which one block at least is prompt
PAUSE = 0.1  # seconds without anything from the speaker that are a pause; a late block is none
BREAK = 0.5  # seconds without anything from the microphone that are one; some deliver four times a second
KEPT = 2.0  # seconds of what was played
BLOCK_LIMIT = 256  # blocks of the speaker's between two of the microphone's


class Reference:
    """Takes blocks from the speaker's thread, at its rate and in its bursts, and gives what was played when.

    Blocks are late at times, but never early. So of each side the promptest of the last seconds tells when its samples
    were; a task or a thread that comes late moves nothing, and neither do clocks that differ a little.
    """

    def __init__(self, audio_format: AudioFormat, clock: Callable[[], float] | None = None) -> None:
        """``audio_format`` (pcm): of what is taken. ``clock`` counts seconds; None is `time.monotonic`."""
        self._format = audio_format
        self._clock = clock or time.monotonic
        self._blocks: deque[tuple[float, bytes, int]] = deque(maxlen=BLOCK_LIMIT)
        self._converter = Converter(audio_format, audio_format)
        self._played = _Stream(audio_format)
        self._heard = _Stream(audio_format)
        self._line = bytearray()  # the end of what was played, up to `self._played.size`
        self._lag = LAG
        self._taken = -math.inf  # up to which place of what was played
        self._offset: int | None = None  # bytes from a place in what was heard to the same moment in what was played

    def put(self, pcm: bytes, rate: int) -> None:
        """Takes what is played from now on; from any thread, at once."""
        self._blocks.append((self._clock(), pcm, rate))

    def take(self, size: int) -> bytes:
        """Return what was played while the next ``size`` bytes were heard, which have just come; zeros for nothing."""
        self._collect()
        start = self._heard.size
        now = self._clock()
        if self._heard.find_lateness(now, size) > BREAK:
            self._heard.forget()
        self._heard.grow(now, size, is_over=True)
        if self._played.began == math.inf:
            return bytes(size)
        offset = self._format.bytes_for(self._heard.began - self._played.began - self._lag)
        if self._offset is None or abs(offset - self._offset) > self._format.bytes_for(SLIP):
            self._offset = offset
        self._taken = start + self._offset + size
        return self._cut(start + self._offset, size)

    def _collect(self) -> None:
        while self._blocks:
            when, pcm, rate = self._blocks.popleft()
            if rate != self._converter.source.rate:
                self._converter = Converter(AudioFormat("pcm", rate), self._format)
            late = self._played.find_lateness(when)
            if late > PAUSE:
                self._line += self._format.silence(min(late, KEPT))
                self._played.size += self._format.bytes_for(late)
            elif self._taken > self._played.size:  # it would have been there if the lag were longer
                missed = self._format.seconds_of(round(self._taken) - self._played.size)
                self._lag = min(self._lag + missed, LONGEST_LAG)
            block = self._converter.convert(pcm)
            self._line += block
            self._played.grow(when, len(block))
            del self._line[: max(0, len(self._line) - self._format.bytes_for(KEPT))]

    def _cut(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from the place ``start`` in what was played; zeros for what is not there."""
        first = start - (self._played.size - len(self._line))
        before = min(size, max(0, -first))
        kept = bytes(self._line[max(0, first) : max(0, first + size)])
        return (bytes(before) + kept).ljust(size, b"\0")


class _Stream:
    """How long a stream is, and when it began, as its promptest block says."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self.size = 0  # bytes
        self._format = audio_format
        self._now = self._before = math.inf  # in this window, and in the one before
        self._renewed = -math.inf

    @property
    def began(self) -> float:
        """Infinite where it has not."""
        return min(self._now, self._before)

    def find_lateness(self, when: float, size: int = 0) -> float:
        """Return by how many seconds what comes now is late, ``size`` bytes of it being over."""
        lateness = when - self._format.seconds_of(self.size + size) - self.began
        return lateness if math.isfinite(lateness) else 0.0

    def grow(self, when: float, size: int, *, is_over: bool = False) -> None:
        """Note a block that begins at the time ``when``, or has ended by then."""
        began = when - self._format.seconds_of(self.size + (size if is_over else 0))
        if when > self._renewed + WINDOW:
            self._now, self._before, self._renewed = math.inf, self._now, when
        self._now = min(self._now, began)
        self.size += size

    def forget(self) -> None:
        """What comes next may come at another time than what there was."""
        self._now = self._before = math.inf
        self._renewed = -math.inf
