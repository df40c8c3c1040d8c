"""What a sound device is to a session: a microphone that is read, a speaker that is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from attrs import frozen

from convaid.audio import AudioFormat
from convaid.errors import ConvaidError

__all__ = [
    "HELD_LIMIT",
    "STEP",
    "DeviceError",
    "DeviceNote",
    "Microphone",
    "NoteDevice",
    "Role",
    "Speaker",
    "StreamError",
]

STEP = 0.02  # seconds of one piece of sound
HELD_LIMIT = 0.1  # seconds that a device takes ahead of its listener: enough for a late task, little to forget


class DeviceError(ConvaidError):
    """A device cannot be opened as it is configured, and waiting would not help: the remedy is in the message."""


class StreamError(Exception):
    """A device cannot be opened now; ``str()`` says why."""


Role = Literal["microphone", "speaker"]


@frozen
class DeviceNote:
    """What has become of a device: it works (again), it is gone, it gives nothing but zeros.

    ``device`` is its name, "" where none was found; ``detail`` says what was seen and what helps, "" where all is well.
    ``is_repeated``: it comes and goes, and has not been well for long since the last time.
    """

    role: Role
    state: Literal["open", "lost", "silent"]
    device: str
    detail: str = ""
    is_repeated: bool = False


NoteDevice = Callable[[DeviceNote], None]
"""Takes note at once, on the loop that opened the device; raises nothing."""


class Microphone(Protocol):
    @property
    def format(self) -> AudioFormat: ...

    @property
    def age(self) -> float:
        """Seconds that what was read last had waited for it."""

    async def read(self) -> bytes:
        """The next whole samples, as they come in real time; never empty, and never the end.

        A device that is lost is opened again inside, which is noted once per loss; until then this waits. So whoever
        needs a steady stream puts silence where a microphone is late.
        """


class Speaker(Protocol):
    @property
    def format(self) -> AudioFormat: ...

    @property
    def held(self) -> float:
        """Seconds that were written and are not yet heard, as far as is known on this side of the device."""

    async def write(self, pcm: bytes) -> None:
        """Takes ``pcm``, and returns when little enough waits for the device that the next may come.

        For one task at a time. A device that is lost is opened again inside, noted once per loss; meanwhile speech
        goes unheard but takes its time.
        """

    def tap(self, take: Callable[[bytes, int], None] | None) -> None:
        """From now on ``take``, if any, gets all that goes to the listener as it is played, silence too, and its rate.

        It is called from any thread, returns at once and raises nothing: an echo canceller learns what to take away.
        There is one; it takes the place of the one before.
        """

    def drop(self) -> None:
        """Forgets what is held, so that the listener hears no more of it; a `write` that waits returns."""

    async def drain(self) -> None:
        """Returns when all that was written has been heard. The caller bounds it: a device may be stuck."""
