"""From one audio format to another, chunk by chunk."""

from __future__ import annotations

from convaid.audio.formats import AudioFormat

__all__ = ["Converter"]


class Converter:
    """Converts one mono stream from ``source`` to ``target``. State is kept between chunks: one converter per stream.

    Where both are the same it costs nothing and needs no package; otherwise `ConvaidError` says what to install.
    Chunks may end within a sample: the odd byte waits for the next chunk. The other way round it never happens.
    """

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        self.source = source
        self.target = target
        self._odd = b""
        self._steps = None if source == target else _Steps(source, target)

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


class _Steps:
    """The steps between two different formats: decode, resample, encode."""

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        from convaid.audio import arithmetic  # brings numpy

        self._decode = arithmetic.decode_pcm if source.encoding == "pcm" else arithmetic.decode_ulaw
        self._resampler = None if source.rate == target.rate else arithmetic.Resampler(source.rate, target.rate)
        self._encode = arithmetic.encode_pcm if target.encoding == "pcm" else arithmetic.encode_ulaw

    def convert(self, chunk: bytes) -> bytes:
        samples = self._decode(chunk)
        return self._encode(self._resampler.resample(samples) if self._resampler else samples)

    def flush(self) -> bytes:
        return self._encode(self._resampler.flush()) if self._resampler else b""
