"""Where the control socket is; imports next to nothing, because every command looks here first (pure)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["LONGEST_PATH", "find_socket_place", "list_instances", "list_socket_places"]

FILE_NAME = "control.sock"
LONGEST_PATH = 107  # bytes that the kernel takes for the path of a Unix socket
SYSTEM_PLACE = Path("/run/convaid", FILE_NAME)  # where the system's unit has it


def find_socket_place() -> Path:
    """Return where a daemon has its socket, unless its configuration says otherwise.

    In the folder that systemd gives a service for this, else in that of the user's session, else with its state.
    """
    if folder := os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        return Path(folder, FILE_NAME)
    return _find_users_place()


def list_socket_places() -> Iterator[Path]:
    """Yield where the socket of a daemon may be that somebody else has started: first that of the unit of which we are
    a part, as in ``ExecReload=``, then the user's own, then the system's.
    """
    if folder := os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        yield Path(folder, FILE_NAME)
    yield _find_users_place()
    yield SYSTEM_PLACE


def list_instances() -> list[Path]:
    """Return the sockets of the system's instances, each of which has a name of its own."""
    return sorted(place for place in Path("/run").glob(f"convaid*/{FILE_NAME}") if place != SYSTEM_PLACE)


def _find_users_place() -> Path:
    if folder := os.environ.get("XDG_RUNTIME_DIR", ""):
        return Path(folder, "convaid", FILE_NAME)
    if folder := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(folder, FILE_NAME)
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state", "convaid", FILE_NAME).expanduser()
