"""The agent's voice and ear, on sound that is known."""

from __future__ import annotations

import pytest

from convaid.audio import FORMATS, AudioFormat, Converter, make_tone, measure_level
from convaid.simulator import Voice
from convaid.simulator.speech import Ear, SpeechBegan, SpeechEnded, make_speech

LOUD, SOFT = -20.0, -60.0


def make_sound(*parts: tuple[float, float | None], audio_format: AudioFormat = FORMATS[1]) -> bytes:
    """Tones of so many seconds and such a level, None for silence, one after the other."""
    pcm = b"".join(
        bytes(2 * round(seconds * audio_format.rate))
        if level is None
        else make_tone(300, seconds, audio_format.rate, level)
        for seconds, level in parts
    )
    return Converter(AudioFormat("pcm", audio_format.rate), audio_format).convert(pcm)


@pytest.mark.parametrize("audio_format", FORMATS, ids=lambda audio_format: audio_format.name)
@pytest.mark.parametrize("chunk", [0.02, 0.033, 0.25, 10.0])
def test_a_turn_is_heard_in_every_format_and_chunk_size(audio_format: AudioFormat, chunk: float) -> None:
    sound = make_sound((0.5, None), (1.0, LOUD), (0.4, None), (0.5, LOUD), (1.0, None), audio_format=audio_format)
    ear, heard = Ear(audio_format), []
    step = audio_format.bytes_for(chunk)
    for start in range(0, len(sound), step):
        heard += list(ear.listen(sound[start : start + step]))
    assert [type(event) for event in heard] == [SpeechBegan, SpeechEnded]
    assert isinstance(heard[1], SpeechEnded)
    assert heard[1].seconds == pytest.approx(1.9, abs=0.05)  # a pause of 0.4 s is within the turn


def test_clicks_and_noise_are_no_speech() -> None:
    ear = Ear(FORMATS[1])
    assert not list(ear.listen(make_sound((1, SOFT), (0.04, LOUD), (1, None), (0.02, LOUD), (2, SOFT))))


def test_an_odd_byte_waits_for_the_next_chunk() -> None:
    sound = make_sound((0.3, LOUD))
    ear = Ear(FORMATS[1])
    heard = [event for start in range(0, len(sound), 321) for event in ear.listen(sound[start : start + 321])]
    assert heard == [SpeechBegan()]


@pytest.mark.parametrize("audio_format", FORMATS, ids=lambda audio_format: audio_format.name)
def test_a_text_is_hummed_as_long_as_it_takes_to_say(audio_format: AudioFormat) -> None:
    speech = make_speech(Voice(pace=10), audio_format)
    sound = speech.speak("x" * 25)
    assert audio_format.seconds_of(len(sound)) == pytest.approx(2.5, abs=0.001)
    pcm = Converter(audio_format, AudioFormat("pcm", audio_format.rate)).convert(sound)
    assert measure_level(pcm) == pytest.approx(-12, abs=0.5)
    assert speech.speak("")
