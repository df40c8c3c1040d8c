"""The journal of tool calls: what has begun once is never run again, not even after a crash (floor 2).

What it handles: a call whose id comes twice, in this process, in another one that uses the same file, or after a crash;
which calls a crash has cut off; results that finished too late to be told; its own size (rows go after `KEPT`); that
somebody deletes its file, or puts another in its place.

What it will not: run or answer anything; keep results, except those that are still to be told; outlive a power failure
to the last call. It is SQLite in WAL mode with ``synchronous=NORMAL``: what is written survives the process, but the
last seconds may be missing once the machine has lost power. The conversation is gone then, too, and with it its ids.

Everything here may wait for the disk or for another process, so that none of it is for the conversations' loop.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from attrs import define, field, frozen

from convaid.config.places import find_state_folder
from convaid.errors import JournalError

__all__ = ["Entry", "Journal", "LateResult", "find_journal_path", "open_journal"]

logger = logging.getLogger(__name__)

KEPT = 30 * 24 * 3600.0  # seconds: longer than anybody looks for what a call has done
PRUNE_EVERY = 1000  # calls, between two looks for rows that are too old
BUSY_LIMIT = 2.0  # seconds that another process may keep the file to itself; it writes for microseconds
LOCK_LIMIT = 5.0  # seconds for another process to open the same journal
LOCK_INTERVAL = 0.01  # seconds between two attempts
LOOK_INTERVAL = 1.0  # seconds between two looks at whether the file is still there

FILE_NAME = "journal.sqlite"
APPLICATION_ID = 0x63766A31  # in the file's header: this database is a convaid journal
VERSION = 1  # of the schema
SCHEMA = f"""
BEGIN;
CREATE TABLE calls (
    conversation_id TEXT NOT NULL,
    tool_call_id TEXT NOT NULL,
    conversation TEXT NOT NULL, -- its name in the configuration
    tool TEXT NOT NULL,
    begun REAL NOT NULL, -- Unix seconds, as all times here
    ended REAL,
    outcome TEXT, -- NULL while it runs
    repeats INTEGER NOT NULL DEFAULT 0, -- how often it was asked for again
    arguments TEXT, -- JSON, redacted
    late TEXT, -- what the next conversation is still to be told
    PRIMARY KEY (conversation_id, tool_call_id)
) WITHOUT ROWID; -- and no other index: each would be written by every call, for what is asked once a day
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
COMMIT;
"""
BEGIN = """
INSERT INTO calls (conversation_id, tool_call_id, tool, conversation, arguments, begun) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (conversation_id, tool_call_id) DO NOTHING
"""
REPEAT = """
UPDATE calls SET repeats = repeats + 1 WHERE conversation_id = ? AND tool_call_id = ?
RETURNING conversation_id, tool_call_id, tool, begun, ended, outcome
"""
END = "UPDATE calls SET ended = ?, outcome = ?, late = ? WHERE conversation_id = ? AND tool_call_id = ?"
GIVE_UP = """
UPDATE calls SET outcome = 'lost' WHERE outcome IS NULL
RETURNING conversation_id, tool_call_id, tool, begun, ended, outcome
"""
PRUNE = "DELETE FROM calls WHERE begun < ?"
COPY = "INSERT OR IGNORE INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
LIST_LATE = """
SELECT conversation_id, tool_call_id, late FROM calls WHERE conversation = ? AND late IS NOT NULL ORDER BY begun
"""
FORGET_LATE = "UPDATE calls SET late = NULL WHERE conversation_id = ? AND tool_call_id = ?"


@frozen
class Entry:
    """A call that has begun. Times are Unix seconds."""

    conversation_id: str
    tool_call_id: str
    tool: str
    begun: float
    ended: float | None
    """None while it runs, and where it was lost."""
    outcome: str | None
    """None while it runs; "lost" where the process ended before the call did; or what `Journal.end` was told."""


@frozen
class LateResult:
    """A result that nobody has been told of yet, as the text that tells it."""

    conversation_id: str
    tool_call_id: str
    text: str


class _Outcome(NamedTuple):
    """What a statement has found, and how many rows it has changed."""

    rows: list[tuple[Any, ...]]
    rowcount: int


@frozen(eq=False)
class _File:
    """The open database, and the lock that is held for as long. Made by `_open_file`."""

    connection: sqlite3.Connection
    identity: tuple[int, int] | None
    wal_identity: tuple[int, int] | None
    """Of the file beside it that has what was written last."""
    lost: tuple[Entry, ...]
    close: Callable[[], None]


@define(eq=False)
class Journal:
    """An open journal, made by `open_journal`. Its methods may be called in any thread."""

    path: Path
    _file: _File
    lost: tuple[Entry, ...] = ()
    """The calls that an earlier process had begun and not ended; they may have done their work, or part of it."""
    trouble: str = field(default="", init=False)
    """Why it could not be written or read the last time; "" while it can."""
    _look_at: float = field(default=0.0, init=False)
    _homeless: list[tuple[Any, ...]] | None = field(default=None, init=False)
    """The rows of a file that is gone, until there is another; None while there is one."""
    _one_at_a_time: threading.Lock = field(factory=threading.Lock, init=False)
    _begun: int = field(default=0, init=False)
    _is_closed: bool = field(default=False, init=False)

    def begin(
        self, conversation_id: str, tool_call_id: str, tool: str, conversation: str, arguments: str | None = None
    ) -> Entry | None:
        """Record that a call begins; or return its entry if it has begun before: then it must not run again.

        ``arguments`` are JSON, without what nobody is to read. Raises JournalError if nothing can be recorded, as on
        a full disk. The call must not run then, either: to run it unrecorded would keep the tools going and break the
        promise unseen.
        """
        values = (conversation_id, tool_call_id, tool, conversation, arguments, time.time())
        if not self._execute(BEGIN, values).rowcount:
            return Entry(*self._execute(REPEAT, (conversation_id, tool_call_id)).rows[0])
        self._begun += 1  # not exact where threads meet, and it need not be
        if self._begun % PRUNE_EVERY == 0:
            self._execute(PRUNE, (time.time() - KEPT,))
        return None

    def end(self, conversation_id: str, tool_call_id: str, outcome: str, *, late: str | None = None) -> None:
        """Record how a call ended. ``late`` is a text that the next conversation of the same name is to be told.

        Raises nothing: the call has run, and its answer is as good as any. If this cannot be recorded, the log says so,
        and the call counts as lost.
        """
        try:
            self._execute(END, (time.time(), outcome, late, conversation_id, tool_call_id))
        except JournalError as error:
            logger.error('the end of the tool call "%s" is not recorded: %s', tool_call_id, error)

    def list_late(self, conversation: str) -> list[LateResult]:
        """Return what a conversation is still to be told, oldest first; `mark_told` takes it off the list."""
        return [LateResult(*row) for row in self._execute(LIST_LATE, (conversation,)).rows]

    def mark_told(self, conversation_id: str, tool_call_id: str) -> None:
        """Record that a late result has been told. Raises nothing: if this cannot be recorded, it is told again."""
        try:
            self._execute(FORGET_LATE, (conversation_id, tool_call_id))
        except JournalError as error:
            logger.error('that the late result of "%s" was told is not recorded: %s', tool_call_id, error)

    def close(self) -> None:
        """Close it. What has not ended yet counts as lost; a tool that was left behind may try to begin, in vain."""
        self._is_closed = True  # at once: those that wait for another process need not, one after the other
        with self._one_at_a_time:
            self._file.close()

    def _execute(self, statement: str, values: tuple[object, ...]) -> _Outcome:
        """Run one statement as a transaction of its own."""
        try:
            with self._one_at_a_time:
                if self._is_closed:
                    raise sqlite3.ProgrammingError("it is closed")
                self._see_to_file()
                cursor = self._file.connection.execute(statement, values)
                outcome = _Outcome(cursor.fetchall(), cursor.rowcount)
                self.trouble = ""
                return outcome
        except sqlite3.Error as error:
            remedy = "see that its disk has room and may be written to"
            self.trouble = f"the journal {self.path} cannot be used ({error}); {remedy}"
            raise JournalError(self.trouble) from error

    def _see_to_file(self) -> None:
        """Look now and then whether the file is still the one that is open; if not, go on in another, with its rows.

        Whoever writes on into a deleted file promises to the next process what it will not find. Raises JournalError
        where no other file can be opened; then the next call tries again.
        """
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_INTERVAL
        if self._homeless is None:
            if _identify(self.path) == self._file.identity:
                return
            logger.error("the journal %s was deleted or replaced while it was open: what it held goes there", self.path)
            self._homeless = self._rescue_rows()
            self._file.close()
            wal = _find_wal(self.path)
            if self._file.wal_identity == _identify(wal) is not None:
                with suppress(OSError):
                    wal.unlink()  # SQLite leaves it where the database was moved, and another would take it for its own
        with ExitStack() as stack:
            file = _open_file(self.path)
            stack.callback(file.close)
            file.connection.execute("BEGIN IMMEDIATE")
            file.connection.executemany(COPY, self._homeless)
            file.connection.execute("COMMIT")
            stack.pop_all()
        self._file, self._homeless = file, None

    def _rescue_rows(self) -> list[tuple[Any, ...]]:
        try:
            return self._file.connection.execute("SELECT * FROM calls").fetchall()
        except sqlite3.Error as error:
            logger.error("what the journal %s held is lost, and may be run again: %s", self.path, error)
            return []


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open the journal in this file, made with its folder if there is none, and close it at the end.

    Several processes may use one file. Whoever opens it while nobody else has it open marks the calls that were cut off
    as lost. Raises JournalError, with the remedy, for a place that cannot be used and for a file that is no journal of
    this version.
    """
    try:
        path = path.expanduser()
    except RuntimeError as error:
        raise _describe_place(path, error) from error
    file = _open_file(path)
    journal = Journal(path, file, file.lost)
    try:
        yield journal
    finally:
        journal.close()


def _open_file(path: Path) -> _File:
    with ExitStack() as stack:
        try:
            path.parent.mkdir(0o700, parents=True, exist_ok=True)
            # Held for as long as the journal is open, and let go by the kernel if we die: who gets it alone is alone.
            lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, lock)
            is_alone, is_new = _take_lock(lock, path), True
            try:  # SQLite leaves it to the umask
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            except FileExistsError:
                is_new = False
            connection = sqlite3.connect(path, timeout=BUSY_LIMIT, isolation_level=None, check_same_thread=False)
            stack.callback(connection.close)
            _see_to_schema(connection, path, may_create=is_alone or is_new)
            lost: list[Any] = []
            if is_alone:
                connection.execute(PRUNE, (time.time() - KEPT,))
                lost = connection.execute(GIVE_UP).fetchall()
                fcntl.flock(lock, fcntl.LOCK_SH)
        except (OSError, sqlite3.OperationalError) as error:
            raise _describe_place(path, error) from error
        except sqlite3.DatabaseError as error:
            raise _refuse(path, f"is damaged, or none at all ({error})") from error
        return _File(
            connection,
            _identify(path),
            _identify(_find_wal(path)),
            tuple(Entry(*row) for row in lost),
            stack.pop_all().close,
        )


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _take_lock(lock: int, path: Path) -> bool:
    """Take the lock alone if nobody else has it, else with the others; returns whether it is ours alone."""
    patience = time.monotonic() + LOCK_LIMIT
    while True:
        for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH):
            with suppress(BlockingIOError):
                fcntl.flock(lock, kind | fcntl.LOCK_NB)
                return kind == fcntl.LOCK_EX
        if time.monotonic() > patience:
            raise JournalError(f"another process has been opening the journal {path} for {LOCK_LIMIT:g} s; end it")
        time.sleep(LOCK_INTERVAL)


def _see_to_schema(connection: sqlite3.Connection, path: Path, *, may_create: bool) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    ((owner,),) = connection.execute("PRAGMA application_id")
    ((version,),) = connection.execute("PRAGMA user_version")
    ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_schema")
    if may_create and not (owner or version or tables):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA)
    elif owner != APPLICATION_ID:
        raise _refuse(path, "is the database of another program")
    elif version != VERSION:
        raise _refuse(path, f"was written by a newer convaid (version {version} of its tables, not {VERSION})")


def _find_wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _describe_place(path: Path, error: Exception) -> JournalError:
    return JournalError(
        f"the journal of tool calls cannot be opened at {path} ({error}); choose another place by `journal` in "
        "[tools], or by the environment variable STATE_DIRECTORY"
    )


def _refuse(path: Path, reason: str) -> JournalError:
    return JournalError(
        f"the journal {path} {reason}; move it away, and a new one is made, which does not know what has run before"
    )


def find_journal_path() -> Path:
    """Return where the journal belongs: with the rest of convaid's state."""
    return find_state_folder() / FILE_NAME
