"""The audio formats of the wire: what a format name means in bytes and seconds."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

__all__ = ["FORMATS", "AudioFormat"]


@frozen
class AudioFormat:
    """How one mono stream is written: ``pcm`` is signed 16-bit little-endian, ``ulaw`` is G.711 μ-law; ``rate`` in Hz.

    Any rate can be described, because devices have rates of their own; `parse` knows only the platform's formats.
    """

    encoding: Literal["pcm", "ulaw"]
    rate: int

    @classmethod
    def parse(cls, name: str) -> AudioFormat:
        """The format that the platform calls ``name``, such as ``pcm_16000``. ValueError names those that there are."""
        for audio_format in FORMATS:
            if audio_format.name == name:
                return audio_format
        raise ValueError(f"unknown audio format {name!r:.80}: expected one of {', '.join(f.name for f in FORMATS)}")

    @property
    def name(self) -> str:
        return f"{self.encoding}_{self.rate}"

    @property
    def frame_size(self) -> int:
        """Bytes of one sample."""
        return 2 if self.encoding == "pcm" else 1

    def seconds_of(self, byte_count: int) -> float:
        """How long ``byte_count`` bytes last."""
        return byte_count / (self.frame_size * self.rate)

    def bytes_for(self, seconds: float) -> int:
        """The bytes that last ``seconds``, to the nearest whole sample."""
        return round(seconds * self.rate) * self.frame_size

    def silence(self, seconds: float) -> bytes:
        """``seconds`` of silence, to the nearest whole sample."""
        return (b"\0" if self.encoding == "pcm" else b"\xff") * self.bytes_for(seconds)


# The platform's AsyncAPI contract lists these seven for either direction.
FORMATS = (
    AudioFormat("pcm", 8000),
    AudioFormat("pcm", 16000),
    AudioFormat("pcm", 22050),
    AudioFormat("pcm", 24000),
    AudioFormat("pcm", 44100),
    AudioFormat("pcm", 48000),
    AudioFormat("ulaw", 8000),
)
