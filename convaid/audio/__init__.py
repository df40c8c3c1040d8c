"""Audio arithmetic: formats, conversion with state, levels, WAV files. Pure: no device, no clock (floor 1).

Everything is mono. PCM means signed 16-bit little-endian. What needs numpy imports it when it is used.
"""

from __future__ import annotations

from convaid.audio.conversion import Converter, Gain
from convaid.audio.formats import FORMATS, AudioFormat
from convaid.audio.levels import fade, fade_edges, make_tone, measure_level, to_factor
from convaid.audio.wav import WavReader, WavWriter

__all__ = [
    "FORMATS",
    "AudioFormat",
    "Converter",
    "Gain",
    "WavReader",
    "WavWriter",
    "fade",
    "fade_edges",
    "make_tone",
    "measure_level",
    "to_factor",
]
