"""What the conversion of sound does to it, in figures: measured with tones that sweep through what there is to hear."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from attrs import frozen

from convaid.audio import FORMATS, AudioFormat, Converter

__all__ = ["DEVICE_RATES", "WIRE_RATES", "Figures", "convert", "measure", "measure_ulaw", "split_tone", "to_level"]

WIRE_RATES = tuple(sorted({audio_format.rate for audio_format in FORMATS}))
DEVICE_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000)
LEVEL = -6.0  # dBFS of the tones; 16 bits then have a noise 92 dB below
SECONDS = 0.25
HEARD = (0.01, 0.05, 0.1, 0.2, 0.3, 0.38)  # parts of the slower rate
LOST = np.linspace(0.505, 0.995, 10)  # from just above what the slower rate can tell to what the faster one can
FLOOR = 99.0  # dB: what is less than the last bit is nothing

Levels = npt.NDArray[np.float64]


@frozen
class Figures:
    """Of one conversion, the worst of all tones."""

    noise: float
    """How far all that is not the tone is below it, in dB."""
    loss: float
    """How much softer a tone becomes that is heard, in dB."""
    rejection: float
    """How far below a tone is what it leaves at frequencies where it is not: aliases, or images; in dB."""
    delay: float
    """Seconds that the converter holds back."""
    shift: float
    """How far the sound is moved in time, in samples of the slower rate."""


def convert(source: AudioFormat, target: AudioFormat, audio: bytes) -> bytes:
    """All of a stream."""
    converter = Converter(source, target)
    return converter.convert(audio) + converter.flush()


def to_level(pcm: bytes) -> Levels:
    """Samples from -1 to 1."""
    return np.frombuffer(pcm, "<i2").astype(np.float64) / 32768


def to_decibel(level: Levels) -> float:
    """The power of samples in dBFS."""
    return float(10 * np.log10(np.mean(level**2) + 1e-20))


def split_tone(level: Levels, frequency: float, rate: int) -> tuple[float, float, float]:
    """The power in dBFS of the sine of this frequency, and of all the rest; and the phase that the sine has."""
    turn = 2 * np.pi * frequency / rate * np.arange(len(level))
    basis = np.stack([np.sin(turn), np.cos(turn)], axis=1)
    sine, cosine = np.linalg.lstsq(basis, level, rcond=None)[0]
    tone = basis @ [sine, cosine]
    return to_decibel(tone), to_decibel(level - tone), float(np.arctan2(cosine, sine))


def make_sine(frequency: float, rate: int) -> bytes:
    amplitude = 32768 * np.sqrt(2) * 10 ** (LEVEL / 20)
    turn = 2 * np.pi * frequency / rate * np.arange(round(SECONDS * rate))
    sine: bytes = np.rint(amplitude * np.sin(turn)).astype("<i2").tobytes()
    return sine


def resample_sine(source: int, target: int, frequency: float) -> tuple[Levels, int]:
    """What becomes of a tone, without where it is switched on and off; and where in it that begins."""
    tone = make_sine(frequency, source)
    level = to_level(convert(AudioFormat("pcm", source), AudioFormat("pcm", target), tone))
    margin = len(level) // 5
    return level[margin:-margin], margin


@cache
def measure(source: int, target: int) -> Figures:
    """The figures of the conversion from one rate to another, both in Hz."""
    slower = min(source, target)
    noises, losses, shifts = [], [], []
    for part in HEARD:
        frequency = part * slower
        level, margin = resample_sine(source, target, frequency)
        tone, noise, phase = split_tone(level, frequency, target)
        noises.append(tone - noise)
        losses.append(LEVEL - tone)
        due = 2 * np.pi * frequency * margin / target
        shifts.append(abs(np.angle(np.exp(1j * (phase - due)))) / (2 * np.pi * part))
    converter = Converter(AudioFormat("pcm", source), AudioFormat("pcm", target))
    given = len(converter.convert(make_sine(440, source)))
    delay = SECONDS - given / (2 * target)
    rejection = measure_aliases(source, target) if source > target else measure_images(source, target)
    return Figures(min(noises), max(losses), rejection, delay, float(max(shifts)))


def measure_aliases(source: int, target: int) -> float:
    """What comes back of tones that the slower rate cannot tell."""
    loudest = max(
        to_decibel(resample_sine(source, target, frequency)[0])
        for frequency in 0.505 * target + (LOST - LOST[0]) / (1 - LOST[0]) * (0.5 * source - 0.505 * target)
    )
    return min(LEVEL - loudest, FLOOR)


def measure_images(source: int, target: int) -> float:
    """What there is above all that the slower rate can tell, of tones that it can."""
    rejections = []
    for part in (*HEARD, 0.45, 0.49):
        level, _ = resample_sine(source, target, part * source)
        window = np.blackman(len(level))
        power = np.abs(np.fft.rfft(level * window)) ** 2 / (window**2).sum() / len(level) * 2
        above = power[round(0.505 * source / target * len(level)) + 3 :].sum()
        rejections.append(LEVEL - 10 * np.log10(above + 1e-20))
    return min(float(min(rejections)), FLOOR)


@cache
def measure_ulaw(level: float) -> float:
    """How far the noise of μ-law is below a tone of this level (dBFS), in dB."""
    ulaw, pcm = AudioFormat("ulaw", 8000), AudioFormat("pcm", 8000)
    tone = to_level(make_sine(441.7, 8000)) * 10 ** ((level - LEVEL) / 20)
    sent = convert(pcm, ulaw, np.rint(tone * 32768).astype("<i2").tobytes())
    heard, noise, _ = split_tone(to_level(convert(ulaw, pcm, sent)), 441.7, 8000)
    return heard - noise
