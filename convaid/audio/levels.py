"""How loud samples are, and samples of a given loudness. Standard library only: it is little arithmetic.

Levels are dBFS: the root mean square in decibels below a full-scale square wave, so that a full-scale sine has -3.
"""

from __future__ import annotations

import functools
import math
from array import array

__all__ = ["make_tone", "measure_level"]

FULL_SCALE = 32768


def measure_level(pcm: bytes) -> float:
    """The level of s16le samples in dBFS; minus infinity for silence and for no samples."""
    samples = array("h", pcm)
    power = sum(sample * sample for sample in samples)
    return 10 * math.log10(power / (len(samples) * FULL_SCALE**2)) if power else -math.inf


@functools.lru_cache(8)  # the simulator's agents sound alike, and a second takes 10 ms to compute
def make_tone(frequency: float, seconds: float, rate: int, level: float = -12.0) -> bytes:
    """A sine of ``frequency`` Hz as s16le at ``rate``; ``level`` in dBFS, as `measure_level` measures it."""
    if level > -3.02:
        raise ValueError(f"a sine cannot have a level of {level} dBFS: a full-scale one has -3.02")
    amplitude = FULL_SCALE * math.sqrt(2) * 10 ** (level / 20)
    turn = 2 * math.pi * frequency / rate  # radians per sample
    return array("h", (round(amplitude * math.sin(turn * n)) for n in range(round(seconds * rate)))).tobytes()
