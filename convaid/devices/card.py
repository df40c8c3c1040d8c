"""A card of ALSA's, through PortAudio, for trio: whatever may hang there does so in a thread, and is given up."""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from convaid.devices.blocking import call_blocking
from convaid.devices.interfaces import StreamError
from convaid.devices.portaudio import Stream

__all__ = ["CardStream", "open_card"]

log = logging.getLogger(__name__)

OPEN_LIMIT = 5.0  # seconds
CLOSE_LIMIT = 2.0
LOOK_INTERVAL = 0.25  # seconds between two looks whether the device is still there


class CardStream:
    """`open_card` makes it; whoever has it closes it."""

    def __init__(self, stream: Stream, name: str) -> None:
        self._stream = stream
        self._name = name

    async def wait_end(self) -> None:
        """Return when the device is gone."""
        while self._stream.is_active:  # noqa: ASYNC110 - PortAudio tells nobody
            await trio.sleep(LOOK_INTERVAL)

    async def close(self) -> None:
        with trio.move_on_after(CLOSE_LIMIT):
            await call_blocking(self._stream.close)
            return
        log.warning("%s hangs: it will be closed when that ends", self._name)


async def open_card(name: str, open_stream: Callable[[], Stream]) -> CardStream:
    """``open_stream`` blocks. Raises `StreamError`, and `DeviceError` where PortAudio is not there."""
    with trio.move_on_after(OPEN_LIMIT):
        return CardStream(await call_blocking(open_stream, lambda stream: stream.close()), name)
    raise StreamError(f"it cannot be opened within {OPEN_LIMIT:g} s")
