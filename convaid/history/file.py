"""The file that transcripts are kept in: its tables, and how a daemon writes it. Waits for the disk: not for a loop."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from attrs import define, field

from convaid.errors import ConvaidError
from convaid.history.transcript import CUT_OFF

__all__ = ["DAY", "FILE_NAME", "HistoryError", "HistoryFile", "Write", "check_owner", "prune"]

FILE_NAME = "history.sqlite"
APPLICATION_ID = 0x63766831  # in the file's header: this database is convaid's history
VERSION = 2  # of the schema
BUSY_LIMIT = 2.0  # seconds that another process may keep the file to itself
DAY = 24 * 3600.0  # seconds
TABLES = (
    """
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, -- when it began, in nanoseconds: no two begin at once
    conversation TEXT NOT NULL, -- its name in the configuration
    conversation_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    kept TEXT NOT NULL, -- 'full' or 'redacted'
    days REAL NOT NULL, -- that it is kept for
    began REAL NOT NULL, -- Unix seconds, as all times here
    ended REAL,
    seconds REAL,
    cause TEXT, -- NULL while it goes on
    code INTEGER,
    detail TEXT NOT NULL DEFAULT '',
    missing INTEGER NOT NULL DEFAULT 0, -- turns and calls that could not be kept
    billed_seconds INTEGER, -- what the platform tells, once it does
    cost INTEGER,
    charging TEXT -- JSON; NULL until the platform has told
)""",
    """
CREATE TABLE turns (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    number INTEGER NOT NULL, -- in the session, with its calls
    at REAL NOT NULL,
    speaker TEXT NOT NULL,
    text TEXT NOT NULL, -- what was heard
    original TEXT, -- what was about to be said, where the user cut in
    heard TEXT, -- how far it had been heard here, where it was cut off and the words are known
    heard_seconds REAL,
    PRIMARY KEY (session, number)
) WITHOUT ROWID""",
    """
CREATE TABLE calls (
    session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
    number INTEGER NOT NULL,
    at REAL NOT NULL, -- when it began
    tool_call_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    arguments TEXT NOT NULL, -- JSON, redacted
    result TEXT,
    outcome TEXT NOT NULL,
    seconds REAL NOT NULL,
    is_delivered INTEGER NOT NULL,
    PRIMARY KEY (session, number)
) WITHOUT ROWID""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)
GIVE_UP = (
    f"""
UPDATE sessions SET cause = '{CUT_OFF}', detail = 'the daemon ended before it did', ended = max(
    began,
    coalesce((SELECT max(at) FROM turns WHERE session = sessions.id), 0),
    coalesce((SELECT max(at) FROM calls WHERE session = sessions.id), 0)
) WHERE cause IS NULL""",
    "UPDATE sessions SET seconds = ended - began WHERE seconds IS NULL AND ended IS NOT NULL",
)
LIST_UNBILLED = """
SELECT id, conversation, conversation_id FROM sessions WHERE ended > ? AND charging IS NULL ORDER BY id DESC LIMIT ?
"""

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], object]
"""Writes one thing; doing so twice is as good as once."""


class HistoryError(ConvaidError):
    """The history cannot be read or written."""


@define(eq=False)
class HistoryFile:
    """The file as a daemon has it: opened when something is first to be written, and again where it was taken away.

    Its methods may be called in any thread, and raise `HistoryError`; what has failed may be tried again.
    """

    path: Path
    _connection: sqlite3.Connection | None = field(default=None, init=False)
    _lock: int | None = field(default=None, init=False)
    """A descriptor, locked for as long as the file is open: the kernel lets go of it if we die."""
    _inode: int = field(default=0, init=False)
    _has_given_up: bool = field(default=False, init=False)
    """What an earlier daemon has left open is marked."""
    _one_at_a_time: threading.Lock = field(factory=threading.Lock, init=False)

    def write(self, writes: Iterable[Write]) -> None:
        """Write all of it, or nothing."""
        self._work(lambda connection: [write(connection) for write in writes])

    def list_unbilled(self, since: float, most: int) -> list[tuple[int, str, str]]:
        """The sessions that ended after ``since`` and whose cost is not known: id, conversation, conversation_id."""
        return self._work(lambda connection: connection.execute(LIST_UNBILLED, (since, most)).fetchall())

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        with self._one_at_a_time:
            self._close()

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with self._one_at_a_time:
                if self._connection is None or self._is_gone():
                    self._close()
                    self._open()
                assert self._connection is not None
                self._connection.execute("BEGIN IMMEDIATE")
                with self._connection:
                    return work(self._connection)
        except (OSError, RuntimeError, sqlite3.Error) as error:  # RuntimeError: there is no home folder
            raise HistoryError(f"{self.path}: {error}") from error

    def _is_gone(self) -> bool:
        """Somebody has moved or removed the file: we would write into nowhere."""
        try:
            return os.stat(self.path.expanduser()).st_ino != self._inode
        except FileNotFoundError:
            return True

    def _open(self) -> None:
        path = self.path.expanduser()
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        is_alone = False
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_alone = True
        except BlockingIOError:
            fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with suppress(FileExistsError):  # SQLite leaves the permissions to the umask
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY_LIMIT, isolation_level=None, check_same_thread=False)
        try:
            see_to_tables(connection)
            if is_alone:
                if not self._has_given_up:
                    for statement in GIVE_UP:
                        connection.execute(statement)
                fcntl.flock(self._lock, fcntl.LOCK_SH)
        except BaseException:
            connection.close()
            raise
        self._has_given_up = True
        self._connection, self._inode = connection, os.stat(path).st_ino

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
        self._connection = self._lock = None


def see_to_tables(connection: sqlite3.Connection) -> None:
    """Make the tables where there are none; the file may be another daemon's, which does the same."""
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # what is purged is not to be read in the file any more
    connection.execute("PRAGMA synchronous = NORMAL")
    if not is_empty(connection):
        check_owner(connection)
        return
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        if is_empty(connection):
            for statement in TABLES:
                connection.execute(statement)


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether the file is nobody's yet."""
    ((owner,),) = connection.execute("PRAGMA application_id")
    ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_schema")
    return not owner and not tables


def check_owner(connection: sqlite3.Connection) -> None:
    """Raise `sqlite3.DatabaseError` for a file that is no history of this version."""
    ((owner,),) = connection.execute("PRAGMA application_id")
    ((version,),) = connection.execute("PRAGMA user_version")
    if owner != APPLICATION_ID:
        raise sqlite3.DatabaseError("it is the database of another program; move it away, and a new one is made")
    if version != VERSION:
        raise sqlite3.DatabaseError(
            f"it was written by another convaid (version {version} of its tables, not {VERSION}); move it away, and a "
            "new one is made"
        )


def prune(days: Mapping[str, float], now: float, connection: sqlite3.Connection) -> None:
    """Forget what is older than it is to be kept: ``days`` by conversation, or as it was when it was written."""
    connection.executemany(
        "UPDATE sessions SET days = ? WHERE conversation = ?", [(d, name) for name, d in days.items()]
    )
    connection.execute("DELETE FROM sessions WHERE began + days * ? < ?", (DAY, now))
