"""What is a wake word and what is not, on samples: no daemon, no microphone, faster than real time."""

from __future__ import annotations

from pathlib import Path

import pytest
from convaid_wakeword.detector import Detector, ModelError
from convaid_wakeword.settings import find_models

from .speaking import FORMAT, VOICES, pause, speak, tell

pytestmark = pytest.mark.timeout(120)  # the speech of ten minutes takes a minute of one core, in ten parts

PARTS, PART = 10, 60.0  # of other speech: so many, of so many seconds
BUILT_IN = find_models()


def make_detector(*words: str, sensitivity: float = 0.5, refractory: float = 2.0) -> Detector:
    return Detector({word: (BUILT_IN[word], sensitivity) for word in words}, refractory)


def cut(pcm: bytes, seconds: float = 0.02) -> list[bytes]:
    size = FORMAT.bytes_for(seconds)
    return [pcm[place : place + size] for place in range(0, len(pcm), size)]


@pytest.mark.parametrize("voice", VOICES)
def test_it_hears_its_word_whoever_says_it(voice: str) -> None:
    detector = make_detector("hey_jarvis")
    heard = [
        word for block in cut(pause(0.5) + speak("Hey Jarvis!", voice) + pause(0.5)) for word in detector.hear(block)
    ]
    assert heard == ["hey_jarvis"]


@pytest.mark.parametrize("part", range(PARTS))
def test_ten_minutes_of_other_speech_are_no_wake_word(part: int) -> None:
    assert make_detector("hey_jarvis").hear(tell(PART, seed=part)) == []


def test_it_tells_its_words_apart_in_blocks_of_any_length() -> None:
    detector = make_detector("hey_jarvis", "alexa", "hey_rhasspy")
    speech = speak("Alexa", "en-gb") + pause(3) + speak("hey jarvis") + pause(3) + speak("hey rhasspy") + pause(1)
    heard = [word for block in cut(pause(1) + speech, 0.0301) for word in detector.hear(block)]
    assert heard == ["alexa", "hey_jarvis", "hey_rhasspy"]


def test_a_word_said_again_is_heard_again_but_not_at_once() -> None:
    twice = speak("hey jarvis") + pause(1) + speak("hey jarvis") + pause(1)
    assert len(make_detector("hey_jarvis", refractory=0.5).hear(pause(1) + twice)) == 2
    assert len(make_detector("hey_jarvis", refractory=10).hear(pause(1) + twice)) == 1


def test_more_sensitivity_hears_more() -> None:
    mumbled = pause(1) + speak("okay nabu", "en-gb") + pause(1)
    assert make_detector("okay_nabu", sensitivity=0.2).hear(mumbled) == []
    assert make_detector("okay_nabu", sensitivity=0.9).hear(mumbled) == ["okay_nabu"]


@pytest.mark.parametrize("kind", ["cut off", "with a hole", "for something else"])
def test_a_file_that_is_no_model_of_a_word_is_named(kind: str, tmp_path: Path) -> None:
    path = BUILT_IN["alexa"].with_name("embedding_model.tflite")
    if kind == "cut off":
        path = tmp_path / "mine.tflite"
        path.write_bytes(BUILT_IN["alexa"].read_bytes()[:100_000])
    elif kind == "with a hole":  # as a power failure leaves it; it loads, but cannot be computed with
        path = tmp_path / "mine.tflite"
        whole = BUILT_IN["alexa"].read_bytes()
        path.write_bytes(whole[:852_000] + bytes(2000) + whole[854_000:])
    with pytest.raises(ModelError, match=f"{path} is "):
        Detector({"mine": (path, 0.5)}, 2.0)
