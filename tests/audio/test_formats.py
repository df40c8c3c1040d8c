from __future__ import annotations

import pytest

from convaid.audio import FORMATS, AudioFormat

NAMES = ["pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000"]


def test_the_seven_formats_of_the_platform_are_known_by_name() -> None:
    assert [AudioFormat.parse(name) for name in NAMES] == list(FORMATS)
    assert [audio_format.name for audio_format in FORMATS] == NAMES


@pytest.mark.parametrize("name", ["", "pcm", "pcm_11025", "PCM_16000", "ulaw_16000", "opus_48000", "pcm_16000 "])
def test_another_name_is_refused_with_the_ones_that_there_are(name: str) -> None:
    with pytest.raises(ValueError, match=r"pcm_8000, pcm_16000, .* ulaw_8000"):
        AudioFormat.parse(name)


@pytest.mark.parametrize(
    ("name", "one_second", "step"), [("pcm_16000", 32000, 640), ("pcm_22050", 44100, 882), ("ulaw_8000", 8000, 160)]
)
def test_bytes_and_seconds(name: str, one_second: int, step: int) -> None:
    audio_format = AudioFormat.parse(name)
    assert audio_format.bytes_for(1) == one_second
    assert audio_format.bytes_for(0.02) == step
    assert audio_format.seconds_of(step) == pytest.approx(0.02)


def test_bytes_are_whole_samples() -> None:
    assert AudioFormat.parse("pcm_22050").bytes_for(0.0001) == 4  # 2.2 samples


def test_silence_is_what_the_encoding_calls_silence() -> None:
    assert AudioFormat.parse("pcm_8000").silence(0.001) == bytes(16)
    assert AudioFormat.parse("ulaw_8000").silence(0.001) == b"\xff" * 8
