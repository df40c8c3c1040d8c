"""The simulated agent's voice and ear. No speech synthesis, no recognition: it hums, and hears how loud it is."""

from __future__ import annotations

import math
from collections.abc import Iterator

from attrs import define, frozen

from convaid.audio import AudioFormat, Converter, WavReader, make_tone, measure_level
from convaid.simulator.scenario import Voice

__all__ = ["Ear", "Speech", "SpeechBegan", "SpeechEnded", "make_speech"]

LONGEST_WAV = 60.0  # seconds that are read of a WAV file
WINDOW = 0.02  # seconds over which a level is measured
LOUD = -45.0  # dBFS: well above a quiet room, well below speech
SPAN = 30.0  # dB from what is surely no speech to what surely is
ATTACK = 0.06  # seconds of sound that make it speech: a click is shorter
QUIET = 0.6  # seconds of quiet that end a turn: longer than the pauses between words


@frozen
class Speech:
    """The agent's voice in its output format: a recording, spoken whole whatever the text, or one second of a tone."""

    audio_format: AudioFormat
    sound: bytes
    pace: float | None  # characters a second; None: a recording

    def speak(self, text: str) -> bytes:
        """What the agent sounds like when it says this."""
        if self.pace is None:
            return self.sound
        seconds = max(len(text), 1) / self.pace
        return (self.sound * math.ceil(seconds))[: self.audio_format.bytes_for(seconds)]


def make_speech(voice: Voice, audio_format: AudioFormat) -> Speech:
    """Make the voice ready. OSError or ValueError where its WAV file cannot be read, `ConvaidError` without numpy."""
    if voice.wav is None:
        rate = audio_format.rate
        pcm = make_tone(voice.tone, 1.0, rate)
    else:
        with voice.wav.open("rb") as file:
            reader = WavReader(file)
            rate = reader.rate
            pcm = reader.read(round(LONGEST_WAV * rate))
    converter = Converter(AudioFormat("pcm", rate), audio_format)
    sound = converter.convert(pcm) + converter.flush()
    return Speech(audio_format, sound, voice.pace if voice.wav is None else None)


@frozen
class SpeechBegan:
    """The user has begun to speak."""


@frozen
class SpeechEnded:
    """The user has been quiet for long enough; ``seconds`` is how long the speech was."""

    seconds: float


@define
class _Turn:
    sound: float = 0.0
    quiet: float = 0.0
    length: float = 0.0
    is_speech: bool = False


class Ear:
    """Finds the user's turns in the microphone's audio, by level. Its clock is the audio's own."""

    def __init__(self, audio_format: AudioFormat) -> None:
        pcm = AudioFormat("pcm", audio_format.rate)
        self._converter = Converter(audio_format, pcm)
        self._window = pcm.bytes_for(WINDOW)
        self._pcm = b""
        self._turn = _Turn()
        self._level = -math.inf

    @property
    def speech_seconds(self) -> float:
        """How long the user has been speaking in this turn; 0 for one who is not."""
        return self._turn.length if self._turn.is_speech else 0.0

    @property
    def score(self) -> float:
        """How likely the newest sound is speech, from 0 to 1: by its level."""
        return round(min(1.0, max(0.0, (self._level - LOUD) / SPAN + 0.5)), 2)

    def listen(self, chunk: bytes) -> Iterator[SpeechBegan | SpeechEnded]:
        """Hear the next chunk, however long."""
        pcm = self._pcm + self._converter.convert(chunk)
        whole = len(pcm) - len(pcm) % self._window
        self._pcm = pcm[whole:]
        for start in range(0, whole, self._window):
            self._level = measure_level(pcm[start : start + self._window])
            if heard := self._notice(self._level > LOUD):
                yield heard

    def _notice(self, is_loud: bool) -> SpeechBegan | SpeechEnded | None:
        turn = self._turn
        turn.length += WINDOW
        if is_loud:
            turn.sound += WINDOW
            turn.quiet = 0.0
            if not turn.is_speech and turn.sound >= ATTACK:
                turn.is_speech = True
                return SpeechBegan()
            return None
        turn.quiet += WINDOW
        if turn.is_speech and turn.quiet >= QUIET:
            self._turn = _Turn()
            return SpeechEnded(round(turn.length - turn.quiet, 2))
        if not turn.is_speech:
            self._turn = _Turn()
        return None
