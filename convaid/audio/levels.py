"""How loud samples are, samples of a given loudness, and fading. Standard library only: it is little arithmetic.

Levels are dBFS: the root mean square in decibels below a full-scale square wave, so that a full-scale sine has -3.
"""

from __future__ import annotations

import functools
import math
from array import array

__all__ = ["fade", "fade_edges", "make_tone", "measure_level", "to_factor"]

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


def to_factor(decibels: float) -> float:
    """What samples are multiplied with to be so much louder, or softer where it is negative."""
    return float(10 ** (decibels / 20))


def fade(pcm: bytes | bytearray, start: float, end: float) -> bytes:
    """The samples of s16le, from ``start`` times as loud to ``end`` times, both from 0 to 1, over their whole length.

    It goes along half a cosine: a straight line has two corners, which are heard in a low tone. 10 ms are a quiet end.
    """
    samples = array("h", bytes(pcm))
    middle, reach, turn = (start + end) / 2, (start - end) / 2, math.pi / max(len(samples), 1)
    return array(
        "h", (round(sample * (middle + reach * math.cos(turn * (n + 1)))) for n, sample in enumerate(samples))
    ).tobytes()


def fade_edges(pcm: bytes, rate: int, seconds: float = 0.01) -> bytes:
    """Sound that begins and ends without a click: faded in and out, over ``seconds`` or half of its length."""
    size = 2 * min(round(seconds * rate), len(pcm) // 4)
    return fade(pcm[:size], 0, 1) + pcm[size : len(pcm) - size] + fade(pcm[len(pcm) - size :], 1, 0)
