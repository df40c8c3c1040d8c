"""Where what convaid keeps belongs (pure)."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["find_state_folder"]


def find_state_folder() -> Path:
    """Return the folder that systemd gives a service for its state, or else the user's; it may begin with ``~``."""
    if folder := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(folder)
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state", "convaid")
