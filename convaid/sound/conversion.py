"""What converting audio takes, brought without standing in the way of others."""

from __future__ import annotations

import sys
from importlib import import_module

import trio

from convaid.audio import AudioFormat

__all__ = ["load_conversion"]

ARITHMETIC = "convaid.audio.arithmetic"


async def load_conversion(source: AudioFormat, target: AudioFormat, *, is_scaled: bool = False) -> None:
    """Import what a `Converter` between the two takes, or a `Gain` (``is_scaled``), in a thread: it may take 0.2 s.

    `ConvaidError` if a package is missing.
    """
    if (source != target or is_scaled) and ARITHMETIC not in sys.modules:
        await trio.to_thread.run_sync(import_module, ARITHMETIC)
