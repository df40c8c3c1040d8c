"""One way in to all echo stages."""

from __future__ import annotations

from collections.abc import Callable

from convaid.audio import AudioFormat
from convaid.config import SpeechConfig
from convaid.sound.echo.stage import EchoMode, EchoStage, Passing

__all__ = ["make_stage"]


def make_stage(
    mode: EchoMode, speech: SpeechConfig, audio_format: AudioFormat, silent_for: Callable[[], float]
) -> EchoStage:
    """Return a new stage for blocks of ``audio_format`` (pcm).

    ``silent_for``: the seconds since the last sound has left the speaker; 0 while it sounds, infinite where it never
    did. `DeviceError` with the remedy where a package is missing that the mode needs.
    """
    match mode:
        case "system" | "none":
            return Passing(mode)
        case "gate":
            from convaid.sound.echo.gate import Gate

            return Gate(audio_format, speech.echo_tail, silent_for)
        case "duck":
            from convaid.sound.echo.duck import Duck

            return Duck(speech, audio_format, silent_for)
        case "aec":
            from convaid.sound.echo.canceller import Canceller

            return Canceller(audio_format, speech.noise_suppression, speech.automatic_gain)
