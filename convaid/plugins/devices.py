"""Microphones and speakers that plugins offer (floor 4)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

import attrs
from attrs import field, frozen

__all__ = ["OURS", "AudioDevice", "Play", "Record"]

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
OURS = ("none", "wav", "command", "device")
"""What ``audio`` means without a plugin."""
LOWEST_RATE, HIGHEST_RATE = 8000, 192000  # samples per second

Record: TypeAlias = Callable[[Callable[[bytes], None]], Awaitable[None]]
Play: TypeAlias = Callable[[Callable[[int], bytes]], Awaitable[None]]


def check_name(_: object, field: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(
            f'a device is named by a-z, 0-9, _ and -, a letter first, 32 characters at most, not "{value}"'
        )
    if value in OURS:
        raise ValueError(f'a device cannot be named "{value}": audio = "{value}" has a meaning of its own')


def check_steps(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not iscoroutinefunction(value):
        raise ValueError(f"{field.name} of a device is an async function, not {value!r}")


@frozen
class AudioDevice:
    """A microphone, a speaker or both, for conversations with ``audio = NAME``. Raw PCM: s16le, mono, at ``rate``.

    ``record(give)`` calls ``give(pcm)`` with what it hears, in real time, in pieces of some 20 ms. ``play(take)`` calls
    ``take(size)`` in real time, and has so many bytes heard: speech, or silence where there is none; it takes no more
    than it needs soon, since an interruption cannot call back what was taken. Both may be called from any thread. Each
    runs in the plugin's own room, on its own loop, as long as its conversation needs the device, and is cancelled then;
    where it raises, or returns, the device is lost, and it is called again, later and later. Two conversations with the
    same device run it twice. Raises ValueError for what cannot be a device.
    """

    name: str = field(validator=check_name)
    record: Record | None = field(default=None, validator=check_steps)
    play: Play | None = field(default=None, validator=check_steps)
    rate: int = 16000

    def __attrs_post_init__(self) -> None:
        if self.record is None is self.play:
            raise ValueError(f'the device "{self.name}" neither records nor plays')
        if not isinstance(self.rate, int) or not LOWEST_RATE <= self.rate <= HIGHEST_RATE:
            words = f"a whole number between {LOWEST_RATE} and {HIGHEST_RATE}, samples per second"
            raise ValueError(f'the rate of the device "{self.name}" must be {words}, not {self.rate}')
