"""What stands between the microphone and the agent, so that the agent does not hear itself."""

from __future__ import annotations

from typing import Literal, Protocol

__all__ = ["EchoMode", "EchoStage", "Passing"]

EchoMode = Literal["system", "aec", "gate", "duck", "none"]
"""How the agent's own voice is kept from it; what ``echo = "auto"`` is settled to."""


class EchoStage(Protocol):
    """One conversation's stage: made once, and fed with all that the microphone hears and the speaker plays.

    `hear` is for one thread; what `note_played` takes may come from any. Neither waits, neither raises.
    """

    @property
    def name(self) -> EchoMode: ...

    @property
    def cancels(self) -> bool:
        """Whether what is played is taken away from what is heard, and the microphone never shut."""

    @property
    def playback_gain(self) -> float:
        """The factor for what is played from now on: 1.0, and less while the agent is to be heard less."""

    def hear(self, pcm: bytes) -> bytes:
        """Takes the microphone's next samples, and returns as many: what the agent may hear of them."""

    @property
    def learns(self) -> bool:
        """Whether it is to be told what is played, which keeps a speaker busy that would rest otherwise."""

    def note_played(self, pcm: bytes, rate: int) -> None:
        """Takes what the speaker plays now (s16le, mono), silence included: see `convaid.devices.Speaker.tap`."""


class Passing:
    """Hands on what it hears: nothing needs to be done (``none``), or somebody else has done it (``system``)."""

    playback_gain = 1.0
    learns = False

    def __init__(self, name: Literal["system", "none"]) -> None:
        self.name: EchoMode = name
        self.cancels = name == "system"

    def hear(self, pcm: bytes) -> bytes:
        return pcm

    def note_played(self, pcm: bytes, rate: int) -> None:
        pass
