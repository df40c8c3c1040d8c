"""Where the sound server of this user is, found without talking to it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

__all__ = ["find_obstacle", "find_socket", "has_server"]

CONNECT_LIMIT = 2.0  # seconds


def find_socket(environ: Mapping[str, str] = os.environ) -> Path | str | None:
    """Where the server listens: a Unix socket, or an address as $PULSE_SERVER has it; None where it cannot be told.

    PipeWire listens there, too: its pipewire-pulse serves programs that are written for PulseAudio.
    """
    if named := environ.get("PULSE_SERVER", "").split():
        plain = [re.sub(r"^\{.*?\}", "", each) for each in named]
        places = [Path(each.removeprefix("unix:")) if each.startswith(("unix:", "/")) else each for each in plain]
        return next((place for place in places if _may_serve(place)), places[0])
    if folder := environ.get("PULSE_RUNTIME_PATH"):
        return Path(folder, "native")
    folder = environ.get("XDG_RUNTIME_DIR")
    return Path(folder, "pulse", "native") if folder else None


def has_server(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a sound server, as far as that can be told without talking to it."""
    place = find_socket(environ)
    return place is not None and _may_serve(place)


def _may_serve(place: Path | str) -> bool:
    return place.exists() if isinstance(place, Path) else True


def find_obstacle(path: Path) -> str:
    """Why nobody answers at a Unix socket; "" where somebody does. Blocks, for a little; says nothing to them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(CONNECT_LIMIT)
        try:
            link.connect(str(path))
        except OSError as fault:
            return fault.strerror or str(fault)
    return ""
