"""Speech is told from noise and from music, at any rate."""

from __future__ import annotations

import pytest

from convaid.audio import AudioFormat, Converter, make_tone
from convaid.sound.vad import SpeechDetector

from .echoes import FORMAT, RATE, USER, needs_vad, speak

pytestmark = needs_vad


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_speech_is_heard(rate: int) -> None:
    audio_format = AudioFormat("pcm", rate)
    speech = Converter(FORMAT, audio_format).convert(speak(USER))
    detector = SpeechDetector(audio_format)
    size = audio_format.bytes_for(0.02)
    heard = [detector.hear(speech[start : start + size]) for start in range(0, len(speech), size)]
    assert sum(heard) > 0.8 * len(heard)
    after = [detector.hear(bytes(size)) for _ in range(50)]
    assert not any(after[25:])


@pytest.mark.parametrize("name", ["silence", "hum", "noise"])
def test_what_is_none_is_not(name: str) -> None:
    import numpy as np

    noise = (np.random.default_rng(2).standard_normal(2 * RATE) * 1000).astype("<i2").tobytes()
    sound = {"silence": bytes(64_000), "hum": make_tone(100, 2.0, RATE), "noise": noise}[name]
    detector = SpeechDetector(FORMAT)
    heard = [detector.hear(sound[start : start + 640]) for start in range(0, len(sound), 640)]
    assert sum(heard) < 5


def test_what_is_forgotten_is_not_gone_on_with() -> None:
    detector = SpeechDetector(FORMAT)
    speech = speak(USER)
    assert any(detector.hear(speech[start : start + 640]) for start in range(0, 32_000, 640))
    detector.forget()
    assert not detector.hear(bytes(640))
