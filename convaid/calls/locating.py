"""Where in its code a plugin is just now, as seen from another thread (floor 5)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from traceback import walk_stack
from types import FrameType

__all__ = ["describe_frames", "locate_thread"]

SHOWN_FRAMES = 3  # enough to see the plugin's line and what it called
OUR_OWN = ("asyncio", "concurrent", "convaid", "outcome", "selectors", "threading", "trio")
"""Packages whose lines say nothing about where a plugin is."""


def locate_thread(ident: int | None) -> str:
    """Return the file, line and function that a thread is in, and from where; innermost first."""
    frame = sys._current_frames().get(ident) if ident is not None else None
    return describe_frames(walk_stack(frame)) if frame is not None else "an unknown place"


def describe_frames(frames: Iterable[tuple[FrameType, int]]) -> str:
    """Return the innermost lines that are the plugin's, or a library's of its, in words."""
    shown = [(frame.f_code, line) for frame, line in frames if _is_foreign(frame)][:SHOWN_FRAMES]
    return " from ".join(f"{code.co_filename}:{line} {code.co_name}" for code, line in shown) or "an unknown place"


def _is_foreign(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] not in OUR_OWN
