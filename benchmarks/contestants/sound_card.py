"""A sound card that is a clock: it plays at its own pace, and notes when speech was last to be heard."""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

__all__ = ["PERIOD_BYTES", "SoundCard"]

PERIOD = 0.02  # seconds that the card takes at a time, and plays to their end whatever happens
LATE_LIMIT = 0.005  # seconds that we may oversleep without the card's having run dry
PERIOD_BYTES = 640  # of 16 bit mono at 16 kHz


class SoundCard:
    """Plays 16 bit mono at 16 kHz. ``record`` is a file of 8 bytes: the perf_counter at which speech ended."""

    def __init__(self, record: Path) -> None:
        with record.open("r+b") as file:
            self._record = mmap.mmap(file.fileno(), 8)
        self._free_at = 0.0

    def write(self, samples: bytes) -> None:
        """Take ``samples``, period by period; returns when the card plays the last of them."""
        for start in range(0, len(samples), PERIOD_BYTES):
            time.sleep(max(0.0, self._free_at - time.perf_counter()))
            now = time.perf_counter()
            self._free_at = (self._free_at if now - self._free_at < LATE_LIMIT else now) + PERIOD
            period = samples[start : start + PERIOD_BYTES]
            if period.count(0) != len(period):
                struct.pack_into("d", self._record, 0, self._free_at)
