"""A conversation's ear: the microphone, for whoever attends to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import TypeAlias

import trio

from convaid.audio import AudioFormat, Converter
from convaid.devices.interfaces import DeviceNote, Microphone, NoteDevice
from convaid.sound.conversion import load_conversion
from convaid.sound.echo.stage import EchoStage, Passing
from convaid.sound.organ import Organ

__all__ = ["Ear"]

Take: TypeAlias = Callable[[bytes], None]

PATIENCE = 0.3  # seconds without a block, after which nothing is expected: some recorders deliver in such bursts


class Ear(Organ):
    """Hears what the microphone does, in one format and as far as the agent may hear it, for any number of listeners.

    The microphone is open while somebody attends and nobody has muted the ear.
    """

    def __init__(
        self,
        audio_format: AudioFormat,
        open_microphone: Callable[[NoteDevice], AbstractAsyncContextManager[Microphone]],
        is_disturbed: Callable[[], bool] = lambda: False,
        gain: float = 0.0,
    ) -> None:
        """``gain`` in dB. ``is_disturbed``: something sounds here that the agent is not to hear."""
        super().__init__("the microphone")
        self.format = audio_format
        self.stage: EchoStage = Passing("none")
        self._open_microphone = open_microphone
        self._is_disturbed = is_disturbed
        self._gain = gain
        self._is_muted = False
        self._listeners: list[Take] = []
        self._overhearing: list[Take] = []
        self._heard_at = -math.inf
        self.age = 0.0
        """Seconds that the block which is being heard has waited since it came from the microphone."""

    @property
    def is_wanted(self) -> bool:
        return bool(self._listeners or self._overhearing) and not self._is_muted

    @property
    def is_hearing(self) -> bool:
        """Whether the microphone gives something just now, or will in a moment."""
        return trio.current_time() < self._heard_at + PATIENCE

    @property
    def is_muted(self) -> bool:
        """The microphone is closed, and nobody hears anything, until it is False again."""
        return self._is_muted

    @is_muted.setter
    def is_muted(self, is_muted: bool) -> None:
        self._is_muted = is_muted
        if is_muted:
            self._heard_at = -math.inf
        self.reconsider()

    def attend(self, take: Take) -> AbstractContextManager[None]:
        """While inside, the microphone is wanted, and ``take`` gets each block of it, in ``format``.

        That happens on this loop, at once, and not at all while the ear is muted or its microphone is lost. ``take``
        returns at once and raises nothing.
        """
        return self._join(self._listeners, take)

    def overhear(self, take: Take) -> AbstractContextManager[None]:
        """As `attend`, but ``take`` gets what the agent is not to hear, too: all that comes while a gate is shut."""
        return self._join(self._overhearing, take)

    @contextmanager
    def _join(self, listeners: list[Take], take: Take) -> Iterator[None]:
        listeners.append(take)
        self.reconsider()
        try:
            yield
        finally:
            listeners.remove(take)
            self.reconsider()

    def note(self, note: DeviceNote) -> None:
        if note.state == "lost":
            self._heard_at = -math.inf
        super().note(note)

    async def serve(self) -> None:
        try:
            async with self._open_microphone(self.note) as microphone:
                await load_conversion(microphone.format, self.format, is_scaled=bool(self._gain))
                converter = Converter(microphone.format, self.format, self._gain)
                self.pulse.attach()
                while True:
                    self.pulse.rest()
                    block = await microphone.read()
                    self.pulse.beat()
                    self.age = microphone.age
                    if block := converter.convert(block):
                        self._hear(block)
        finally:
            self._heard_at = -math.inf

    def _hear(self, block: bytes) -> None:
        if self._is_muted:
            return  # the microphone is about to be closed
        passed = self.stage.hear(block)
        if self.stage.cancels:
            block = passed
        elif self._is_disturbed():
            passed = bytes(len(passed))
        self._heard_at = trio.current_time()
        for take in tuple(self._listeners):
            take(passed)
        for take in tuple(self._overhearing):
            take(block)
