"""Sounds by which whoever is near knows that a conversation is opened, broken off or at its end."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Literal

from convaid.audio import WavReader, fade_edges, make_tone
from convaid.config import ChimesConfig
from convaid.errors import ConvaidError

__all__ = ["Chime", "load_chime"]

Chime = Literal["activation", "error", "end"]

NOTES = {
    "activation": ((660.0, 0.09), (990.0, 0.14)),
    "end": ((990.0, 0.09), (660.0, 0.14)),
    "error": ((330.0, 0.12), (0.0, 0.06), (330.0, 0.2)),
}
"""Of the chimes of our own: Hz (0 is a pause) and seconds; up, down, and twice the same low one."""
LEVEL = -20.0  # dBFS: to be noticed, and no fright
LONGEST = 5.0  # seconds of a file that are heard: the agent has to wait for its end


def load_chime(chime: Chime, settings: ChimesConfig, rate: int) -> tuple[bytes, int]:
    """Return a chime as s16le samples, and their rate, for our own ``rate``. Blocks: it may be read from a file.

    `ConvaidError` where the file cannot be read.
    """
    path = getattr(settings, chime)
    if path == "default":
        return b"".join(make_note(frequency, seconds, rate) for frequency, seconds in NOTES[chime]), rate
    try:
        place = Path(os.path.expanduser(path))
        if place.exists() and not place.is_file():
            raise ValueError("it is not a plain file")  # a FIFO would block
        with place.open("rb") as file:
            reader = WavReader(file)
            return fade_edges(reader.read(round(LONGEST * reader.rate)), reader.rate), reader.rate
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConvaidError(f"{path} cannot be played: {reason}") from error


@functools.lru_cache(8)
def make_note(frequency: float, seconds: float, rate: int) -> bytes:
    """A sine that comes and goes softly, as s16le; 0 Hz is silence."""
    if not frequency:
        return bytes(2 * round(seconds * rate))
    return fade_edges(make_tone(frequency, seconds, rate, LEVEL), rate)
