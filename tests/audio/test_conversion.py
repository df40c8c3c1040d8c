from __future__ import annotations

import subprocess
import sys
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convaid.audio import FORMATS, AudioFormat, Converter, make_tone, measure_level

from .figures import DEVICE_RATES, convert, measure, split_tone, to_level

DEVICES = [AudioFormat("pcm", rate) for rate in DEVICE_RATES]
PAIRS = list(dict.fromkeys([*product(FORMATS, DEVICES), *product(DEVICES, FORMATS), (FORMATS[-1], FORMATS[-1])]))
RATE_PAIRS = sorted({(source.rate, target.rate) for source, target in PAIRS if source.rate != target.rate})


@pytest.mark.parametrize(("source", "target"), RATE_PAIRS)
def test_a_sweep_through_what_can_be_told_at_both_rates(source: int, target: int) -> None:
    figures = measure(source, target)
    assert figures.noise > 90, "16 bits have 92 dB below the tones"
    assert figures.loss < 1
    assert figures.rejection > 90, "aliases or images"
    assert figures.shift < 0.05, "samples of the slower rate"
    assert 0 < figures.delay * min(source, target) < 21, "samples of the slower rate"


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda audio_format: audio_format.name)
def test_every_format_to_every_format(source: AudioFormat, target: AudioFormat) -> None:
    tone = make_tone(440, 0.5, source.rate)
    converted = convert(source, target, convert(AudioFormat("pcm", source.rate), source, tone))
    pcm = convert(target, AudioFormat("pcm", target.rate), converted)
    assert len(pcm) == pytest.approx(AudioFormat("pcm", target.rate).bytes_for(0.5), abs=2)
    assert measure_level(pcm) == pytest.approx(-12, abs=0.3)
    kept, noise, _ = split_tone(to_level(pcm)[1000:-1000], 440, target.rate)
    assert kept - noise > (30 if "ulaw" in (source.encoding, target.encoding) else 80)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda audio_format: audio_format.name)
@settings(max_examples=3, deadline=None)
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


def test_loud_sound_is_clipped_and_does_not_wrap() -> None:
    square = (b"\xff\x7f" * 20 + b"\x00\x80" * 20) * 50  # overshoots when it is resampled
    pcm = to_level(convert(AudioFormat("pcm", 16000), AudioFormat("pcm", 48000), square))
    assert np.abs(np.diff(pcm)).max() < 1.2


@pytest.mark.parametrize("missing", ["numpy", "samplerate"])
def test_without_the_packages_conversion_says_what_to_install_and_all_else_works(missing: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
from convaid.audio import FORMATS, Converter, Gain, fade_edges, make_tone, measure_level
from convaid.errors import ConvaidError
import convaid.devices
assert Gain(16000).apply(Converter(FORMATS[1], FORMATS[1]).convert(fade_edges(make_tone(440, 1, 16000), 16000)))
for make in (
    lambda: Converter(FORMATS[1], FORMATS[0]),
    lambda: Converter(FORMATS[1], FORMATS[1], 6.0),
    lambda: Gain(16000, 6.0),
    lambda: Gain(16000, has_changes=True),
    lambda: Gain(16000).change(0.5),
):
    try:
        make()
    except ConvaidError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert missing in run.stdout
    assert run.stdout.count("pip install 'convaid[audio]'") == 5
