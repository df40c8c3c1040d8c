from __future__ import annotations

from array import array
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convaid.audio import AudioFormat, Converter, Gain, fade, fade_edges, make_tone, measure_level, to_factor

RATE = 16000
TONE = make_tone(440, 0.2, RATE, -20)


def find_steps(pcm: bytes) -> int:
    """The largest step from one sample to the next."""
    return max(abs(after - before) for before, after in pairwise(array("h", pcm)))


def find_splatter(pcm: bytes) -> float:
    """How loud the loudest 5 ms are, in dBFS, of what a low tone has none of and a click has much of: above 3 kHz."""
    level = np.frombuffer(pcm, "<i2").astype(float) / 32768
    size = RATE // 200
    windows = np.lib.stride_tricks.sliding_window_view(level, 2 * size)[:: size // 2] * np.hanning(2 * size)
    spectrum = np.fft.rfft(windows, axis=1)[:, 3000 * 2 * size // RATE :]
    return float(10 * np.log10((np.abs(spectrum) ** 2).sum(axis=1).max() / size**2 + 1e-20))


@pytest.mark.parametrize("decibels", [-60.0, -6.0, 6.0, 16.0])
def test_a_gain_is_as_many_decibels_as_it_says(decibels: float) -> None:
    assert measure_level(Gain(RATE, decibels).apply(TONE)) == pytest.approx(-20 + decibels, abs=0.3)


def test_what_is_too_loud_is_clipped_and_does_not_wrap() -> None:
    loud = array("h", Gain(RATE, 40.0).apply(TONE))
    assert (max(loud), min(loud)) == (32767, -32768)
    assert [(sample > 0) - (sample < 0) for sample in loud] == [(s > 0) - (s < 0) for s in array("h", TONE)]


def test_no_gain_costs_nothing() -> None:
    gain = Gain(RATE)
    gain.change(1.0)
    assert gain.apply(TONE) is TONE


def test_a_change_takes_ten_milliseconds_and_does_not_click() -> None:
    gain, changed, sudden = Gain(RATE), b"", b""
    for number, factor in enumerate((1.0, 0.1, 0.5, 1.0)):
        part = TONE[number * 1554 : (number + 1) * 1554]  # 49 ms, and in the middle of a wave
        gain.change(factor)
        changed += gain.apply(part)
        sudden += array("h", (round(sample * factor) for sample in array("h", part))).tobytes()
        assert measure_level(changed[-1234:]) == pytest.approx(-20 + 20 * np.log10(factor), abs=0.4)
    assert find_steps(changed) <= find_steps(TONE)
    assert find_splatter(changed) < -88 < -55 < find_splatter(sudden)


def test_a_change_of_mind_goes_on_from_where_it_was() -> None:
    gain = Gain(RATE, has_changes=True)
    level = (10000).to_bytes(2, "little")
    gain.change(0.0)
    down = array("h", gain.apply(level * 80))
    gain.change(1.0)
    up = array("h", gain.apply(level * 400))
    assert (down[0], down[-1], up[159], up[-1]) == (9938, 5000, 10000, 10000)
    assert find_steps(down.tobytes() + up.tobytes()) <= 63


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 3200), max_size=8))
def test_how_a_stream_is_cut_into_chunks_does_not_matter(cuts: list[int]) -> None:
    whole, pieces = Gain(RATE, 6.0), Gain(RATE, 6.0)
    whole.change(0.2)
    pieces.change(0.2)
    borders = [0, *(2 * cut for cut in sorted(cuts)), len(TONE)]
    parts = b"".join(pieces.apply(TONE[start:end]) for start, end in pairwise(borders))
    assert np.abs(np.frombuffer(parts, "<i2").astype(int) - np.frombuffer(whole.apply(TONE), "<i2")).max() <= 1


@pytest.mark.parametrize("target", [AudioFormat("pcm", 16000), AudioFormat("pcm", 48000), AudioFormat("ulaw", 8000)])
def test_a_converter_changes_the_loudness_on_the_way(target: AudioFormat) -> None:
    converter = Converter(AudioFormat("pcm", RATE), target, -12.0)
    made = converter.convert(TONE) + converter.flush()
    back = Converter(target, AudioFormat("pcm", target.rate))
    assert measure_level(back.convert(made)) == pytest.approx(-32, abs=0.3)


def test_a_fade_goes_all_the_way_and_does_not_click() -> None:
    level = (10000).to_bytes(2, "little") * 160
    down = array("h", fade(level, 1, 0))
    assert (len(down), down[0], down[79], down[-1]) == (160, 9999, 5000, 0)
    assert list(array("h", fade(level, 0, 1))) == [10000 - sample for sample in down]
    assert fade(b"", 1, 0) == b""
    ended = TONE[:3200] + fade(TONE[3200:3520], 1, 0) + bytes(640)
    torn = TONE[:3254] + bytes(1000)
    assert find_splatter(ended) < -88 < -55 < find_splatter(torn)


def test_sound_is_given_soft_edges_however_short_it_is() -> None:
    soft = fade_edges(TONE, RATE)
    assert soft[320:-320] == TONE[320:-320]
    assert find_splatter(bytes(640) + soft + bytes(640)) < -88
    for count in range(5):
        assert len(fade_edges(b"\x10\x27" * count, RATE)) == 2 * count


@pytest.mark.parametrize(("decibels", "factor"), [(0, 1), (20, 10), (-6.0206, 0.5)])
def test_decibels_as_a_factor(decibels: float, factor: float) -> None:
    assert to_factor(decibels) == pytest.approx(factor, abs=1e-5)
