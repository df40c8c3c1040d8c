"""Audio arithmetic: formats, conversion with state, levels, WAV files. Pure: no device, no clock (floor 1).

Everything is mono. PCM means signed 16-bit little-endian. What needs numpy imports it when it is used.
"""

from __future__ import annotations

from convaid.audio.conversion import Converter
from convaid.audio.formats import FORMATS, AudioFormat
from convaid.audio.levels import make_tone, measure_level
from convaid.audio.wav import WavReader, WavWriter

__all__ = ["FORMATS", "AudioFormat", "Converter", "WavReader", "WavWriter", "make_tone", "measure_level"]
