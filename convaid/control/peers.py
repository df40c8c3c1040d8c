"""Who is at the other end of a Unix socket, as the kernel says (floor 6)."""

from __future__ import annotations

import pwd
import socket
import struct
from contextvars import ContextVar
from functools import cache

import trio
from attrs import frozen

__all__ = ["PEER", "Peer", "read_peer"]

CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred


@frozen
class Peer:
    """The process that has connected, and whose it was then."""

    pid: int
    uid: int
    gid: int

    @property
    def user(self) -> str:
        """The name of its user; may have to be looked up, once."""
        return _name_user(self.uid)

    def __str__(self) -> str:
        return f"{self.user} (process {self.pid})"


PEER: ContextVar[Peer] = ContextVar("PEER")
"""Whom the current task serves."""


def read_peer(connection: socket.socket | trio.socket.SocketType) -> Peer:
    """Ask the kernel who has connected."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return Peer(*CREDENTIALS.unpack(found))


@cache
def _name_user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # of another container, say
        return f"user {uid}"
