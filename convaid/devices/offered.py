"""A device of a plugin's, as whoever keeps devices sees it: functions of this loop, whose code runs elsewhere.

Who makes it knows where that is (`convaid.calls.devices`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from attrs import frozen

__all__ = ["Give", "PluginDevices", "Take"]

Give: TypeAlias = Callable[[bytes], None]
"""Takes samples that were recorded: any number of bytes, from any thread, at once."""
Take: TypeAlias = Callable[[int], bytes]
"""Returns so many bytes to be played, silence where there is nothing to say; from any thread, at once."""


@frozen
class PluginDevices:
    """A microphone, a speaker or both; s16le, mono, at ``rate``.

    ``record`` and ``play`` run until the device is lost, and return why, in words; they raise nothing but
    `trio.Cancelled`. After they are over, cancelled or not, ``give`` and ``take`` are called no more. None: it has no
    such device.
    """

    name: str
    rate: int
    record: Callable[[Give], Awaitable[str]] | None = None
    play: Callable[[Take], Awaitable[str]] | None = None
