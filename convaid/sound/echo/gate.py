"""The microphone is shut while the agent is heard: sure, and deaf to whoever cuts in."""

from __future__ import annotations

from collections.abc import Callable

from convaid.audio import AudioFormat
from convaid.sound.echo.shutter import Shutter
from convaid.sound.echo.stage import EchoMode

__all__ = ["Gate"]


class Gate:
    """The stage ``gate``: zeros from the moment at which the speaker sounds until ``echo_tail`` seconds after it."""

    name: EchoMode = "gate"
    cancels = False
    playback_gain = 1.0
    learns = False

    def __init__(self, audio_format: AudioFormat, echo_tail: float, silent_for: Callable[[], float]) -> None:
        self._format = audio_format
        self._echo_tail = echo_tail
        self._silent_for = silent_for
        self._shutter = Shutter(audio_format)

    def hear(self, pcm: bytes) -> bytes:
        # What has been silent for so long now had been so for a block's length less when the block began.
        shut_for = self._echo_tail - self._silent_for() + self._format.seconds_of(len(pcm))
        edge = 0 if shut_for <= 0 else min(self._format.bytes_for(shut_for), len(pcm))
        return self._shutter.move(pcm[:edge], False) + self._shutter.move(pcm[edge:], True)

    def note_played(self, pcm: bytes, rate: int) -> None:
        pass
