"""The journal of tool calls: what has begun once is never run again, not even after a crash (floor 2).

What it handles: a call whose id comes twice, in this process, in another one that uses the same file, or after a crash;
which calls a crash has cut off; results that finished too late to be told; its own size (rows go after `KEPT`).

What it will not: run or answer anything; keep results, except those that are still to be told; outlive a power failure
to the last call. It is SQLite in WAL mode with ``synchronous=NORMAL``: what is written survives the process, but the
last seconds may be missing once the machine has lost power. The conversation is gone then, too, and with it its ids.

Everything here may wait for the disk or for another process, so that none of it is for the conversations' loop.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from attrs import define, field, frozen

from convaid.config.secrets import MASK, mask_text, names_secret
from convaid.errors import JournalError

__all__ = ["Entry", "Journal", "LateResult", "find_journal_path", "open_journal", "write_arguments"]

logger = logging.getLogger(__name__)

KEPT = 30 * 24 * 3600.0  # seconds: longer than anybody looks for what a call has done
PRUNE_EVERY = 1000  # calls, between two looks for rows that are too old
BUSY_LIMIT = 2.0  # seconds that another process may keep the file to itself; it writes for microseconds
LOCK_LIMIT = 5.0  # seconds for another process to open the same journal
LOCK_INTERVAL = 0.01  # seconds between two attempts
ARGUMENTS_SIZE = 4096  # characters of a call's arguments
DEPTH_LIMIT = 20  # levels of arguments that are looked into
NAME_LENGTH = 200  # characters of an argument's name; what has a longer one is not looked into

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


@define(eq=False)
class Journal:
    """An open journal, made by `open_journal`. Its methods may be called in any thread."""

    path: Path
    _connection: sqlite3.Connection
    lost: tuple[Entry, ...] = ()
    """The calls that an earlier process had begun and not ended; they may have done their work, or part of it."""
    _one_at_a_time: threading.Lock = field(factory=threading.Lock, init=False)
    _begun: int = field(default=0, init=False)
    _is_closed: bool = field(default=False, init=False)

    def begin(
        self, conversation_id: str, tool_call_id: str, tool: str, conversation: str, arguments: str | None = None
    ) -> Entry | None:
        """Record that a call begins; or return its entry if it has begun before: then it must not run again.

        ``arguments`` are what `write_arguments` has made of them. Raises JournalError if nothing can be recorded, as on
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
            self._connection.close()

    def _execute(self, statement: str, values: tuple[object, ...]) -> _Outcome:
        """Run one statement as a transaction of its own."""
        try:
            with self._one_at_a_time:
                if self._is_closed:
                    raise sqlite3.ProgrammingError("it is closed")
                cursor = self._connection.execute(statement, values)
                return _Outcome(cursor.fetchall(), cursor.rowcount)
        except sqlite3.Error as error:
            raise JournalError(
                f"the journal {self.path} cannot be used ({error}); see that its disk has room and may be written to"
            ) from error


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open the journal in this file, made with its folder if there is none, and close it at the end.

    Several processes may use one file. Whoever opens it while nobody else has it open marks the calls that were cut off
    as lost. Raises JournalError, with the remedy, for a place that cannot be used and for a file that is no journal of
    this version.
    """
    with ExitStack() as stack:
        try:
            path = path.expanduser()
            path.parent.mkdir(0o700, parents=True, exist_ok=True)
            # Held for as long as the journal is open, and let go by the kernel if we die: who gets it alone is alone.
            lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, lock)
            is_alone = _take_lock(lock, path)
            if is_alone:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite leaves it to the umask
            connection = sqlite3.connect(path, timeout=BUSY_LIMIT, isolation_level=None, check_same_thread=False)
            journal = Journal(path, connection)
            stack.callback(journal.close)
            _see_to_schema(connection, path, may_create=is_alone)
            if is_alone:
                connection.execute(PRUNE, (time.time() - KEPT,))
                journal.lost = tuple(Entry(*row) for row in connection.execute(GIVE_UP).fetchall())
                fcntl.flock(lock, fcntl.LOCK_SH)
        except (OSError, RuntimeError, sqlite3.OperationalError) as error:  # RuntimeError: there is no home folder
            raise JournalError(
                f"the journal of tool calls cannot be opened at {path} ({error}); choose another place by `journal` in "
                "[tools], or by the environment variable STATE_DIRECTORY"
            ) from error
        except sqlite3.DatabaseError as error:
            raise _refuse(path, f"is damaged, or none at all ({error})") from error
        yield journal


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


def _refuse(path: Path, reason: str) -> JournalError:
    return JournalError(
        f"the journal {path} {reason}; move it away, and a new one is made, which does not know what has run before"
    )


def find_journal_path() -> Path:
    """Return where the journal belongs: the folder that systemd gives a service for its state, or else the user's."""
    if folder := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(folder, FILE_NAME)
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state", "convaid", FILE_NAME)


def write_arguments(parameters: object, redact: Collection[str] = ()) -> str:
    """Return a call's arguments as JSON for the journal, at most `ARGUMENTS_SIZE` characters and a mark.

    Masked are values whose name is a secret's, texts in the shape of one, and what ``redact`` names: a name counts
    wherever it stands, a dotted path from the top (lists have no place in it), ``*`` stands for everything.
    """
    budget = range(ARGUMENTS_SIZE)  # of items and characters: so many fill the text, and no time goes into more
    plain = MASK if "*" in redact else _redact(parameters, "", redact, iter(budget), 0)
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    if len(text) > ARGUMENTS_SIZE:
        text = f"{text[:ARGUMENTS_SIZE]}… [cut here]"
    return text.encode("utf-8", "replace").decode()  # a lone surrogate cannot be stored


def _redact(value: object, path: str, redact: Collection[str], budget: Iterator[int], depth: int) -> object:
    match value:
        case str():
            text = mask_text(value[: 2 * ARGUMENTS_SIZE])  # a regular expression keeps the interpreter's lock
            next(islice(budget, len(text), None), None)
            return text
        case dict() | list() if depth >= DEPTH_LIMIT:
            return "…"
        case dict():
            plain = {}
            for (name, item), _ in zip(value.items(), budget, strict=False):
                place = f"{path}.{name}" if path else name
                is_hidden = len(name) > NAME_LENGTH or names_secret(name) or name in redact or place in redact
                plain[name[:NAME_LENGTH]] = MASK if is_hidden else _redact(item, place, redact, budget, depth + 1)
            return plain
        case list():
            return [_redact(item, path, redact, budget, depth + 1) for item, _ in zip(value, budget, strict=False)]
    return value
