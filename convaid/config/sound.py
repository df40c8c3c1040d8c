"""The tables of a conversation by voice: its devices, what is done to speech, and its chimes (pure)."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from convaid.config.checks import Field, check_duration, check_patterns

__all__ = ["AudioConfig", "ChimesConfig", "CommandConfig", "DeviceConfig", "SpeechConfig", "WavConfig"]

EAR_RATES = (8000, 16000, 24000, 32000, 48000)  # samples per second: a whole number of them in 10 ms, for the canceller


@frozen
class WavConfig:
    """``[conversations.NAME.wav]``: a file that is heard as the microphone, and one that agent speech is written to."""

    microphone: Path | None = None
    speaker: Path | None = None


@frozen
class CommandConfig:
    """``[conversations.NAME.command]``: programs that write and read raw PCM (s16le, mono), with their arguments.

    None is what this machine has, the empty list no device at all.
    """

    microphone: tuple[str, ...] | None = None
    speaker: tuple[str, ...] | None = None
    rate: int = field(default=16000)  # samples per second, of both programs

    @rate.validator
    def _check_rate(self, field: Field, value: int) -> None:
        if not 8000 <= value <= 192000:
            raise ValueError(f"must be between 8000 and 192000 samples per second, not {value}")


@frozen
class DeviceConfig:
    """``[conversations.NAME.device]``: devices of the sound server or of ALSA; the first that is there is used.

    Each is a regular expression, looked for in the names that ``convaid audio list`` shows, whatever their case;
    ``"default"`` is the system's own choice, an empty list no device at all.
    """

    microphone: list[str] = field(factory=lambda: ["default"], validator=check_patterns)
    speaker: list[str] = field(factory=lambda: ["default"], validator=check_patterns)
    silence_limit: float = field(default=30.0, validator=check_duration)  # a microphone with nothing but zeros is lost


AudioConfig = WavConfig | CommandConfig | DeviceConfig


@frozen
class SpeechConfig:
    """``[conversations.NAME.speech]``: what is done to speech between the devices and the wire."""

    rate: int = field(default=16000)  # samples per second at which the microphone is opened, and listened to
    microphone_gain: float = 0.0  # dB
    speaker_gain: float = 0.0  # dB
    echo_tail: float = field(default=0.3, validator=check_duration)  # the room's, after the agent's speech
    duck_threshold: float = -30.0  # dBFS: what is louder while the agent speaks is the user
    noise_suppression: bool = True  # with echo = "aec"
    automatic_gain: bool = True  # with echo = "aec"
    vad: bool = False  # tell speech from noise here, for echo = "duck" and for the idle limit

    @rate.validator
    def _check_rate(self, field: Field, value: int) -> None:
        if value not in EAR_RATES:
            raise ValueError(f"must be one of {', '.join(map(str, EAR_RATES))} samples per second, not {value}")


@frozen
class ChimesConfig:
    """``[conversations.NAME.chimes]``: what is heard here, and not by the agent: "none", "default" or a WAV file."""

    activation: str = "none"
    error: str = "none"
    end: str = "none"
