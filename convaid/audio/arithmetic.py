"""Sample arithmetic on numpy arrays: μ-law, resampling, loudness, mixing down.

Importing this module imports numpy and samplerate, so import it where a sample must really be changed and not before:
text conversations, and voice where all formats agree and nothing is made louder, need neither. Where one of the two is
missing, the import raises `ConvaidError` with the remedy.
"""

from __future__ import annotations

from functools import cache

from convaid.errors import ConvaidError

try:
    import numpy as np
    import numpy.typing as npt
    import samplerate
except ImportError as error:
    raise ConvaidError(
        f"converting audio needs a package that is not installed ({error.name}): pip install 'convaid[audio]'"
    ) from error

__all__ = ["Resampler", "Samples", "Scaler", "decode_pcm", "decode_ulaw", "encode_pcm", "encode_ulaw", "mix_down"]

Samples = npt.NDArray[np.int16]

FULL_SCALE = 32768.0  # of a 16-bit sample, as 1.0 in floating point


def decode_pcm(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2")


def encode_pcm(samples: Samples) -> bytes:
    return samples.astype("<i2", copy=False).tobytes()


def decode_ulaw(codes: bytes) -> Samples:
    return _ulaw_decoding()[np.frombuffer(codes, np.uint8)]


def encode_ulaw(samples: Samples) -> bytes:
    return _ulaw_encoding()[samples.view(np.uint16)].tobytes()


@cache
def _ulaw_decoding() -> Samples:
    """The sample of each of the 256 codes: ITU-T G.711, table 2b, scaled from 14 to 16 bits."""
    code = ~np.arange(256, dtype=np.uint8)
    segment, step = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    magnitude = ((step << 3) + 0x84 << segment) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


@cache
def _ulaw_encoding() -> npt.NDArray[np.uint8]:
    """The code of each 16-bit sample, indexed by its bit pattern, decided as the ITU's reference does it on 14 bits."""
    sample = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 2
    magnitude = np.minimum(np.abs(sample) + 33, 8191)  # the bias of G.711, and the most that 13 bits hold
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 5
    code = segment << 4 | magnitude >> segment + 1 & 15
    codes: npt.NDArray[np.uint8] = (code ^ np.where(sample < 0, 0x7F, 0xFF)).astype(np.uint8)
    return codes


class Resampler:
    """Changes the rate of one stream of samples; the state between two chunks is kept, so chunk borders are not heard.

    libsamplerate's ``sinc_fastest``: the output lags by 19 samples of the slower rate (1 to 3 ms), frequencies up to
    0.4 of the slower rate pass, and what would fold back is below the last bit of a 16-bit sample.
    """

    LAG = 40  # samples of the slower rate; the filter looks about 19 ahead, and more only pushes the end out surely

    def __init__(self, source_rate: int, target_rate: int) -> None:
        self._ratio = target_rate / source_rate
        self._filter = samplerate.Resampler("sinc_fastest", channels=1)
        self._taken = 0
        self._given = 0

    def resample(self, samples: Samples) -> Samples:
        """What can be said of the output so far: at the start of a stream that is less than the chunk's share."""
        output = _round_to_samples(self._filter.process(samples / np.float32(FULL_SCALE), self._ratio))
        self._taken += len(samples)
        self._given += len(output)
        return output

    def flush(self) -> Samples:
        """The end of the stream, so that it lasts as long as the input did; the next chunk begins a new stream."""
        missing = round(self._taken * self._ratio) - self._given
        tail = self.resample(np.zeros(round(self.LAG * max(1.0, 1 / self._ratio)), np.int16))[: max(missing, 0)]
        self._filter.reset()
        self._taken = self._given = 0
        return tail


class Scaler:
    """Makes one stream of samples louder or softer; what is too loud for 16 bits is clipped.

    A change of the factor is spread over ``ramp`` samples, in a straight line, so that it does not click.
    """

    def __init__(self, factor: float, ramp: int) -> None:
        self._factor = self._target = factor
        self._ramp = ramp
        self._left = 0

    def change(self, factor: float) -> None:
        """From the next sample on, move to another factor."""
        if factor != self._target:
            self._target, self._left = factor, self._ramp

    def scale(self, samples: Samples) -> Samples:
        """The next samples, at the loudness that is due."""
        if not self._left:
            return samples if self._target == 1 else _round_to_samples(samples * (self._target / FULL_SCALE))
        count = min(self._left, len(samples))
        end = self._factor + (self._target - self._factor) * count / self._left
        line = np.linspace(self._factor, end, count + 1)[1:]
        self._left -= count
        self._factor = end if self._left else self._target
        moving = _round_to_samples(samples[:count] * line / FULL_SCALE)
        rest = samples[count:]
        return np.concatenate([moving, self.scale(rest)]) if len(rest) else moving


def mix_down(frames: bytes, width: int, channels: int) -> bytes:
    """The mean of all channels, as s16le. ``frames`` are little-endian PCM, ``width`` bytes a sample (1: unsigned)."""
    octets = np.frombuffer(frames, np.uint8).reshape(-1, width)
    if width == 1:
        octets = octets ^ np.uint8(0x80)  # unsigned to two's complement
    aligned = np.zeros((len(octets), 4), np.uint8)  # left-aligned in 32 bits, whatever the width
    aligned[:, 4 - width :] = octets
    level = aligned.view("<i4").reshape(-1, channels).mean(axis=1) / 2**31
    return encode_pcm(_round_to_samples(level))


def _round_to_samples(level: npt.NDArray[np.floating]) -> Samples:
    samples: Samples = np.clip(np.rint(level * FULL_SCALE), -32768, 32767).astype(np.int16)
    return samples
