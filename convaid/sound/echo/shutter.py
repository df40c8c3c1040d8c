"""Opens and shuts the microphone without a click."""

from __future__ import annotations

from array import array

from convaid.audio import AudioFormat

__all__ = ["Shutter"]

FADE = 0.005  # seconds from open to shut, and back: a sudden edge sounds like a consonant


class Shutter:
    """Open at first. Give it one stream's samples in order."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._step = 1 / (FADE * audio_format.rate)
        self._gain = 1.0

    def move(self, pcm: bytes, is_open: bool) -> bytes:
        """Return ``pcm`` as it is, or zeros instead, or the way from the one to the other."""
        target = 1.0 if is_open else 0.0
        if self._gain == target:
            return pcm if is_open else bytes(len(pcm))
        samples = array("h", pcm)
        faded = 0
        while faded < len(samples) and self._gain != target:
            self._gain = min(1.0, self._gain + self._step) if is_open else max(0.0, self._gain - self._step)
            samples[faded] = int(samples[faded] * self._gain)
            faded += 1
        rest = pcm[2 * faded :]
        return samples[:faded].tobytes() + (rest if is_open else bytes(len(rest)))
