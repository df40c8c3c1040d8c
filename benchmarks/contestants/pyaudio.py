"""Stands in for PyAudio, so that the SDK's own audio interface runs unmodified: a silent room, the card beside this."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sound_card import SoundCard

RATE = 16000
paInt16 = 8
paContinue = 0


class Stream:
    """A microphone that hears nothing, or a speaker."""

    def __init__(self, callback: Callable[..., Any] | None, frames: int) -> None:
        self._is_over = threading.Event()
        if callback is None:
            self._card = SoundCard(Path(os.environ["SOUND_CARD_RECORD"]))
        else:
            threading.Thread(target=self._be_silent, args=(callback, frames), daemon=True).start()

    def _be_silent(self, callback: Callable[..., Any], frames: int) -> None:
        while not self._is_over.wait(frames / RATE):
            callback(bytes(2 * frames), frames, None, 0)

    def write(self, samples: bytes) -> None:
        self._card.write(samples)

    def stop_stream(self) -> None:
        self._is_over.set()

    def close(self) -> None:
        self._is_over.set()


class PyAudio:
    """The three calls that the SDK makes."""

    def open(self, *, frames_per_buffer: int, stream_callback: Callable[..., Any] | None = None, **_: object) -> Stream:
        return Stream(stream_callback, frames_per_buffer)

    def terminate(self) -> None:
        """Nothing to give back."""
