"""What an ear and a mouth have in common: a device that is open while somebody wants it."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NoReturn

import trio

from convaid.devices.interfaces import DeviceNote
from convaid.errors import ConvaidError
from convaid.pulse import Pulse

__all__ = ["Organ"]

log = logging.getLogger(__name__)

RETRY_INTERVAL = 5.0  # seconds after which a device is tried again that cannot be opened as it is configured


class Organ(ABC):
    """Keeps a device open while it is wanted; one that is lost meanwhile is opened again by itself."""

    linger = 0.0
    """Seconds that it stays open when it is not wanted any more."""

    def __init__(self, name: str) -> None:
        self.pulse = Pulse(name)
        self.state: DeviceNote | None = None
        """What was last heard of the device; None while it is not wanted."""
        self.failure: ConvaidError | None = None
        """Why it cannot be opened, where waiting does not help."""
        self.observe: Callable[[DeviceNote], None] = lambda note: None
        """Is told what becomes of the device."""
        self._told: DeviceNote | None = None
        self._was_wanted = False
        self._changed = trio.Event()
        self._serving = trio.CancelScope()

    @property
    @abstractmethod
    def is_wanted(self) -> bool:
        """Whether the device is to be open."""

    @abstractmethod
    async def serve(self) -> None:
        """Open the device and be at work until cancelled, or until it is to be opened anew; closes it.

        Raises `ConvaidError` where it cannot be opened, with the remedy.
        """

    async def run(self) -> NoReturn:
        """Open the device whenever it is wanted, and close it whenever it is not."""
        while True:
            while not self.is_wanted:
                await self._changed.wait()
            self.failure = None
            with trio.CancelScope() as self._serving:
                try:
                    await self.serve()
                except ConvaidError as error:
                    self._fail(error)
                except Exception as error:  # one conversation is then without sound; the daemon, and others, go on
                    log.error("a fault of convaid's, in %s", self.pulse.name, exc_info=error)
                    self._fail(ConvaidError(f"a fault of convaid's ({type(error).__name__}); the log has more"))
            self.pulse.rest()
            self.state = None
            if self.failure is not None:
                with trio.move_on_after(RETRY_INTERVAL):
                    while self.is_wanted:
                        await self._changed.wait()

    async def wait_failure(self) -> ConvaidError:
        """Wait until the device turns out not to be there to be opened, and return why."""
        while self.failure is None:
            await self._changed.wait()
        return self.failure

    def note(self, note: DeviceNote) -> None:
        """Take note of what has become of the device, and tell it, unless the same one is open as was last time."""
        told, self.state, self._told = self._told, note, note
        is_as_before = told is not None and note.device == told.device and note.state == told.state == "open"
        if not is_as_before:
            self.observe(note)

    def reconsider(self) -> None:
        """Whether the device is wanted may have changed: act upon it."""
        if self.is_wanted and not self._was_wanted:
            self.failure = None  # of an earlier time
        self._was_wanted = self.is_wanted
        self._serving.deadline = math.inf if self.is_wanted else trio.current_time() + self.linger
        self._tell()

    def renew(self) -> None:
        """Open the device anew, if it is open."""
        self._serving.cancel()

    def _fail(self, error: ConvaidError) -> None:
        self.failure = error
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
