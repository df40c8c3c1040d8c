"""While the agent is heard, only what is louder than its echo passes; and then the agent is turned down."""

from __future__ import annotations

from collections.abc import Callable

from convaid.audio import AudioFormat, measure_level
from convaid.config import SpeechConfig
from convaid.sound.echo.shutter import Shutter
from convaid.sound.echo.stage import EchoMode

__all__ = ["Duck"]

WINDOW = 0.01  # seconds whose level counts: a syllable is not averaged away
HOLD = 0.5  # seconds that the microphone stays open after the last loud sound: words have quiet ends
DEPTH = 12.0  # dB by which the agent is turned down
LOWERING = 0.06  # seconds that this takes
RAISING = 0.5  # seconds that its end takes


class Duck:
    """The stage ``duck``. What is loud opens the microphone from the beginning of its block, its first sound included.

    With ``vad`` it must be speech as well, so that a slammed door does not interrupt.
    """

    name: EchoMode = "duck"
    cancels = False
    learns = False

    def __init__(self, speech: SpeechConfig, audio_format: AudioFormat, silent_for: Callable[[], float]) -> None:
        """`DeviceError` where ``speech.vad`` wants a package that is not installed."""
        self._format = audio_format
        self._threshold = speech.duck_threshold
        self._echo_tail = speech.echo_tail
        self._silent_for = silent_for
        self._shutter = Shutter(audio_format)
        self._open_for = 0.0  # seconds
        self._lowered = 0.0  # dB
        self._detector = None
        if speech.vad:
            from convaid.sound.vad import SpeechDetector

            self._detector = SpeechDetector(audio_format)

    @property
    def playback_gain(self) -> float:
        return float(10 ** (-self._lowered / 20))

    def hear(self, pcm: bytes) -> bytes:
        seconds = self._format.seconds_of(len(pcm))
        if self._silent_for() >= self._echo_tail:
            self._open_for = 0.0
            self._turn(-seconds * DEPTH / RAISING)
            if self._detector:
                self._detector.forget()
            return self._shutter.move(pcm, True)
        is_speech = self._detector is None or self._detector.hear(pcm)
        self._open_for = HOLD if self._is_loud(pcm) and is_speech else self._open_for - seconds
        is_open = self._open_for > 0
        self._turn(seconds * DEPTH / LOWERING if is_open else -seconds * DEPTH / RAISING)
        return self._shutter.move(pcm, is_open)

    def note_played(self, pcm: bytes, rate: int) -> None:
        pass

    def _is_loud(self, pcm: bytes) -> bool:
        window = self._format.bytes_for(WINDOW)
        return any(measure_level(pcm[start : start + window]) > self._threshold for start in range(0, len(pcm), window))

    def _turn(self, decibels: float) -> None:
        self._lowered = min(DEPTH, max(0.0, self._lowered + decibels))
