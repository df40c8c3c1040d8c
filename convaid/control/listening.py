"""The control socket as a file: made with its permissions, taken from nobody, removed at the end (floor 6)."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from convaid.config import ControlConfig
from convaid.control.peers import read_peer
from convaid.control.places import LONGEST_PATH, find_socket_place
from convaid.errors import ConfigurationError, Problem

__all__ = ["open_socket"]

BACKLOG = 64  # connections that wait to be accepted
ANSWER_LIMIT = 1.0  # seconds for another daemon to take a connection, which the kernel does for it


@contextmanager
def open_socket(config: ControlConfig) -> Iterator[socket.socket]:
    """Listen at the configuration's place and yield the socket; closes it, and removes its file, at the end.

    A socket that is there already is removed only if nobody answers it. `ConfigurationError`, with the remedy, where
    somebody does, and where there cannot be a socket. Blocks a little.
    """
    path = (config.path or find_socket_place()).absolute()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            made = _bind(listener, path, config)
        except (OSError, LookupError) as error:
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise _refuse(f"there cannot be a socket at {path} ({words}); name another place, or mend this") from error
        try:
            yield listener
        finally:
            with suppress(OSError):
                if os.stat(path).st_ino == made:
                    path.unlink()
    finally:
        listener.close()


def _bind(listener: socket.socket, path: Path, config: ControlConfig) -> int:
    """Bind, with nobody else doing it at the same time, and listen; returns the inode of the file."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise _refuse(f"{path} is longer than the {LONGEST_PATH} bytes that a socket may have; name a shorter one")
    path.parent.mkdir(0o755, parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        _clear(path)
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        try:
            if config.group:
                shutil.chown(path, group=config.group)
            path.chmod(int(config.mode, 8))
            listener.listen(BACKLOG)
        except BaseException:
            path.unlink()
            raise
        return path.stat().st_ino
    finally:
        os.close(folder)


def _clear(path: Path) -> None:
    """Remove what an earlier daemon has left behind; raises where it is in use, or no socket."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise _refuse(f"{path} is there, and is no socket; name another place")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
        asker.settimeout(ANSWER_LIMIT)
        try:
            asker.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:  # it answers no more, and there is somebody all the same
            owner = "somebody"
        else:
            owner = f"process {read_peer(asker).pid}"
    raise _refuse(
        f"another daemon ({owner}) answers at {path}: stop that one, or give this one a path of its own "
        "(enabled = false does without)"
    )


def _refuse(words: str) -> ConfigurationError:
    return ConfigurationError("the configuration", [Problem("control.path", words)])
