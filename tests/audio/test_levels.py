from __future__ import annotations

import math
import struct

import pytest

from convaid.audio import make_tone, measure_level


def test_silence_has_no_level() -> None:
    assert measure_level(b"") == measure_level(bytes(640)) == -math.inf


def test_full_scale() -> None:
    assert measure_level(struct.pack("<2h", -32768, -32768)) == 0
    assert measure_level(make_tone(1000, 0.1, 16000, -3.02)) == pytest.approx(-3.02, abs=0.01)


@pytest.mark.parametrize("level", [-6.0, -12.0, -40.0])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_a_tone_has_the_level_and_the_length_that_were_asked_for(level: float, rate: int) -> None:
    tone = make_tone(440, 0.5, rate, level)
    assert len(tone) == rate  # half a second of two-byte samples
    assert measure_level(tone) == pytest.approx(level, abs=0.05)


def test_a_tone_that_would_have_to_be_clipped_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 dBFS"):
        make_tone(440, 0.1, 8000, -1)
