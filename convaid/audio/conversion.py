"""From one audio format to another, chunk by chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convaid.audio.formats import AudioFormat
from convaid.audio.levels import to_factor

if TYPE_CHECKING:
    from convaid.audio.arithmetic import Scaler

__all__ = ["Converter", "Gain"]

RAMP = 0.01  # seconds from one loudness to another: too slow to click, too fast to be heard as such


class Converter:
    """Converts one mono stream from ``source`` to ``target``. State is kept between chunks: one converter per stream.

    ``gain`` (dB) makes it louder or softer on the way, and clips what is too loud. Where both formats are the same and
    there is no gain it costs nothing and needs no package; otherwise `ConvaidError` says what to install.
    Chunks may end within a sample: the odd byte waits for the next chunk. The other way round it never happens.
    """

    def __init__(self, source: AudioFormat, target: AudioFormat, gain: float = 0.0) -> None:
        self.source = source
        self.target = target
        self._odd = b""
        self._steps = None if source == target and not gain else _Steps(source, target, gain)

    def convert(self, chunk: bytes) -> bytes:
        """The next of the output; may be empty while the resampling filter fills."""
        if self._odd or len(chunk) % self.source.frame_size:
            chunk = self._odd + chunk
            whole = len(chunk) - len(chunk) % self.source.frame_size
            chunk, self._odd = chunk[:whole], chunk[whole:]
        return self._steps.convert(chunk) if self._steps and chunk else chunk

    def flush(self) -> bytes:
        """What the filter still holds, as the stream ends here. The next chunk begins a new stream."""
        self._odd = b""
        return self._steps.flush() if self._steps else b""


class Gain:
    """The loudness of one mono stream of s16le at ``rate``: ``decibels``, times a factor that may change any time.

    A change takes 10 ms, and does not click; what is too loud is clipped. Where there is nothing to do it costs
    nothing and needs no package; otherwise the constructor, or `change`, raises `ConvaidError`, which says what to
    install: where there will be changes, ``has_changes`` has it raised at once.
    """

    def __init__(self, rate: int, decibels: float = 0.0, *, has_changes: bool = False) -> None:
        self._factor = to_factor(decibels)
        self._ramp = round(RAMP * rate)
        self._scaler: Scaler | None = None
        if decibels or has_changes:
            self._scaler = self._make_scaler()

    def change(self, factor: float) -> None:
        """Be so much louder or softer than ``decibels`` from the next sample on; 1.0 is neither."""
        if self._scaler is None and factor != 1:
            self._scaler = self._make_scaler()
        if self._scaler is not None:
            self._scaler.change(self._factor * factor)

    def apply(self, pcm: bytes) -> bytes:
        """The next samples, as many as come in."""
        if self._scaler is None:
            return pcm
        from convaid.audio.arithmetic import decode_pcm, encode_pcm

        return encode_pcm(self._scaler.scale(decode_pcm(pcm)))

    def _make_scaler(self) -> Scaler:
        from convaid.audio.arithmetic import Scaler  # brings numpy

        return Scaler(self._factor, self._ramp)


class _Steps:
    """The steps between two different formats: decode, resample, scale, encode."""

    def __init__(self, source: AudioFormat, target: AudioFormat, gain: float) -> None:
        from convaid.audio import arithmetic  # brings numpy

        self._decode = arithmetic.decode_pcm if source.encoding == "pcm" else arithmetic.decode_ulaw
        self._resampler = None if source.rate == target.rate else arithmetic.Resampler(source.rate, target.rate)
        self._scaler = arithmetic.Scaler(to_factor(gain), 0)
        self._encode = arithmetic.encode_pcm if target.encoding == "pcm" else arithmetic.encode_ulaw

    def convert(self, chunk: bytes) -> bytes:
        samples = self._decode(chunk)
        return self._encode(self._scaler.scale(self._resampler.resample(samples) if self._resampler else samples))

    def flush(self) -> bytes:
        return self._encode(self._scaler.scale(self._resampler.flush())) if self._resampler else b""
