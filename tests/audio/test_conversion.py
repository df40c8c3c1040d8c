from __future__ import annotations

import subprocess
import sys
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convaid.audio import FORMATS, AudioFormat, Converter, make_tone, measure_level

PAIRS = list(product(FORMATS, FORMATS))
RATES = (8000, 16000, 22050, 24000, 44100, 48000)
RATE_PAIRS = [(source, target) for source, target in product(RATES, RATES) if source != target]


def convert(source: AudioFormat, target: AudioFormat, audio: bytes) -> bytes:
    converter = Converter(source, target)
    return converter.convert(audio) + converter.flush()


def to_level(pcm: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(pcm, "<i2").astype(np.float64) / 32768


def split_tone(level: npt.NDArray[np.float64], frequency: float, rate: int) -> tuple[float, float]:
    """The power in dBFS of the sine of this frequency, and of all the rest."""
    turn = 2 * np.pi * frequency / rate * np.arange(len(level))
    basis = np.stack([np.sin(turn), np.cos(turn)], axis=1)
    tone = basis @ np.linalg.lstsq(basis, level, rcond=None)[0]
    return to_decibel(tone), to_decibel(level - tone)


def to_decibel(level: npt.NDArray[np.float64]) -> float:
    return float(10 * np.log10(np.mean(level**2) + 1e-20))


def resample_tone(source: int, target: int, frequency: float) -> npt.NDArray[np.float64]:
    tone = make_tone(frequency, 0.4, source, -6)
    level = to_level(convert(AudioFormat("pcm", source), AudioFormat("pcm", target), tone))
    return level[len(level) // 5 : -len(level) // 5]  # without where the tone is switched on and off


@pytest.mark.parametrize(("source", "target"), RATE_PAIRS)
def test_a_sweep_through_what_fits_keeps_its_level_and_is_clean(source: int, target: int) -> None:
    for part in (0.01, 0.05, 0.1, 0.2, 0.3, 0.38):
        frequency = part * min(source, target)
        tone, noise = split_tone(resample_tone(source, target, frequency), frequency, target)
        assert tone == pytest.approx(-6, abs=1.5), f"{frequency} Hz: level {tone:.1f} dBFS"
        assert tone - noise > 85, f"{frequency} Hz: signal to noise {tone - noise:.1f} dB"  # 16 bits have 92 at -6 dBFS


@pytest.mark.parametrize(("source", "target"), [pair for pair in RATE_PAIRS if pair[0] > pair[1]])
def test_a_sweep_through_what_does_not_fit_leaves_nothing(source: int, target: int) -> None:
    for frequency in np.linspace(0.505 * target, 0.495 * source, 12):
        alias = to_decibel(resample_tone(source, target, float(frequency)))
        assert alias < -90, f"{frequency:.0f} Hz came back at {alias:.1f} dBFS"  # the last bit is at -90


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda audio_format: audio_format.name)
def test_every_format_to_every_format(source: AudioFormat, target: AudioFormat) -> None:
    tone = make_tone(440, 0.5, source.rate)
    converted = convert(source, target, convert(AudioFormat("pcm", source.rate), source, tone))
    pcm = convert(target, AudioFormat("pcm", target.rate), converted)
    assert len(pcm) == pytest.approx(AudioFormat("pcm", target.rate).bytes_for(0.5), abs=2)
    assert measure_level(pcm) == pytest.approx(-12, abs=0.3)
    kept, noise = split_tone(to_level(pcm)[1000:-1000], 440, target.rate)
    assert kept - noise > (30 if "ulaw" in (source.encoding, target.encoding) else 80)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda audio_format: audio_format.name)
@settings(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(0, 2000), max_size=8))
def test_how_a_stream_is_cut_into_chunks_does_not_matter(
    source: AudioFormat, target: AudioFormat, cuts: list[int]
) -> None:
    audio = np.random.default_rng(1).integers(0, 256, 2000, np.uint8).tobytes()
    borders = [0, *sorted(cuts), len(audio)]
    converter = Converter(source, target)
    chunks = [converter.convert(audio[start:end]) for start, end in pairwise(borders)]
    assert all(len(chunk) % target.frame_size == 0 for chunk in chunks)
    assert b"".join([*chunks, converter.flush()]) == convert(source, target, audio)


def test_a_format_that_stays_costs_nothing() -> None:
    chunk = bytes(640)
    assert Converter(FORMATS[1], FORMATS[1]).convert(chunk) is chunk


def test_flushing_begins_a_new_stream() -> None:
    converter = Converter(AudioFormat("pcm", 16000), AudioFormat("pcm", 48000))
    tone = make_tone(440, 0.1, 16000)
    once = converter.convert(tone + b"\x01") + converter.flush()
    assert converter.convert(tone) + converter.flush() == once
    assert converter.flush() == b""


@pytest.mark.parametrize("source", [48000, 44100, 8000])
def test_the_delay_of_a_stream_is_short(source: int) -> None:
    converter = Converter(AudioFormat("pcm", source), AudioFormat("pcm", 16000))
    missing = 0.1 - len(converter.convert(make_tone(440, 0.1, source))) / 32000
    assert 0 < missing < 0.003


def test_loud_sound_is_clipped_and_does_not_wrap() -> None:
    square = (b"\xff\x7f" * 20 + b"\x00\x80" * 20) * 50  # overshoots when it is resampled
    pcm = to_level(convert(AudioFormat("pcm", 16000), AudioFormat("pcm", 48000), square))
    assert np.abs(np.diff(pcm)).max() < 1.2


@pytest.mark.parametrize("missing", ["numpy", "samplerate"])
def test_without_the_packages_conversion_says_what_to_install_and_all_else_works(missing: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
from convaid.audio import FORMATS, Converter, make_tone, measure_level
from convaid.errors import ConvaidError
import convaid.devices
assert Converter(FORMATS[1], FORMATS[1]).convert(make_tone(440, 1, 16000))
try:
    Converter(FORMATS[1], FORMATS[0])
except ConvaidError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert missing in run.stdout
    assert "pip install 'convaid[audio]'" in run.stdout
