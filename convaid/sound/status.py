"""What there is to say of a conversation's sound."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from attrs import frozen

__all__ = ["AudioAge", "DeviceStatus", "SoundStatus"]


@frozen
class DeviceStatus:
    """A microphone or a speaker, as it is now.

    "closed": nobody wants it; "opening": it is not known yet; "failed": it cannot be opened as it is configured.
    """

    state: Literal["open", "lost", "silent", "closed", "opening", "failed"]
    device: str
    """Its name."""
    detail: str
    """What is wrong, and what helps."""


@frozen
class AudioAge:
    """How old the microphone's audio was when it was sent, in seconds, over the last minute or so."""

    p50: float
    p99: float
    max: float

    @classmethod
    def measure(cls, ages: Collection[float]) -> AudioAge | None:
        """Of so many chunks; None where there were none."""
        if not ages:
            return None
        ranked = sorted(ages)
        last = len(ranked) - 1
        p50, p99, most = (round(ranked[round(share * last)], 6) for share in (0.5, 0.99, 1.0))
        return cls(p50, p99, most)


@frozen
class SoundStatus:
    """The sound of a conversation, as it is now."""

    microphone: DeviceStatus
    speaker: DeviceStatus
    echo: str
    """How the agent is kept from hearing itself; "" before that is settled."""
    echo_reason: str
    """Why in this way."""
    held: float
    """Seconds of sound that are with the speaker and not heard yet."""
    audio_age: AudioAge | None
    """None while no audio is sent."""
