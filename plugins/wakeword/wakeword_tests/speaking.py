"""Speech for the tests: espeak-ng's, as s16le, 16 kHz, mono."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess

import pytest

from convaid.audio import AudioFormat, Converter
from convaid.audio.wav import WavReader

__all__ = ["RATE", "VOICES", "pause", "speak", "tell"]

RATE = 16000
FORMAT = AudioFormat("pcm", RATE)
LIMIT = 30.0  # seconds for espeak-ng to say some sentences: it takes a hundredth of it
VOICES = ("en-us", "en-gb", "en-gb-scotland", "en-us+f3", "en-us+m3", "en-us+f4", "en-gb+f2", "en-us+m7")

WHO = "the gardener|my old neighbour|nobody here|a tired doctor|our teacher|the whole family|Harvey|the small child"
DOES = "has bought|would never eat|wants to paint|looks for|forgot|talks about|carried home|is going to repair"
WHAT = "a yellow bicycle|seven apples|the kitchen table|an umbrella|three letters from Paris|a pair of shoes|the radio"
WHEN = "on Thursday|after the long winter|while it rains|before breakfast|in the middle of July|every other evening"
WHY = "because the train was late|and says so|to save some money|if you ask me|as it has always been|without a word"


def speak(text: str, voice: str = "en-us", speed: int = 160) -> bytes:
    """What espeak-ng makes of a text; skips, or fails in CI, where it is not installed."""
    if shutil.which("espeak-ng") is None:
        reason = "espeak-ng is not installed: apt-get install espeak-ng"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", text]
    wav = WavReader(io.BytesIO(subprocess.run(command, capture_output=True, check=True, timeout=LIMIT).stdout))
    converter = Converter(AudioFormat("pcm", wav.rate), FORMAT)
    return converter.convert(wav.read(60 * 60 * wav.rate)) + converter.flush()


def pause(seconds: float) -> bytes:
    return FORMAT.silence(seconds)


def tell(seconds: float, seed: int) -> bytes:
    """So much speech about this and that, by one voice after another, the same for the same seed."""
    chance, told = random.Random(seed), bytearray()
    while len(told) < FORMAT.bytes_for(seconds):
        sentences = (
            " ".join(chance.choice(words.split("|")) for words in (WHO, DOES, WHAT, WHEN, WHY)) for _ in range(3)
        )
        told += speak(". ".join(sentences), chance.choice(VOICES), chance.randint(130, 190))
    return bytes(told[: FORMAT.bytes_for(seconds)])
