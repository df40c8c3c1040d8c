"""Reading the history, and taking out of it: without a daemon, and beside one. Imports little: commands wait for it."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define

from convaid.config.places import find_state_folder
from convaid.history.file import DAY, FILE_NAME, HistoryError, check_owner
from convaid.history.transcript import Call, Session, Transcript, Turn
from convaid.wording import nearest

__all__ = ["History", "NoSuchSession", "find_history_path", "open_history"]

BUSY_LIMIT = 5.0  # seconds that a daemon may keep the file to itself
SIMILAR = 1000  # latest sessions that a misspelt id is compared with
SYSTEM_FOLDER = Path("/var/lib")  # where the system's units have theirs
COLUMNS = """
SELECT id, conversation, conversation_id, agent_id, kept, began, ended, seconds, cause, code, detail, missing,
    billed_seconds, cost, charging,
    (SELECT count(*) FROM turns WHERE session = id), (SELECT count(*) FROM calls WHERE session = id)
FROM sessions
"""


class NoSuchSession(HistoryError):
    """No session has this id."""


@define(eq=False)
class History:
    """The sessions that are kept. Made by `open_history`; its methods raise `HistoryError`."""

    path: Path
    _connection: sqlite3.Connection

    def list_sessions(self, conversation: str | None = None, most: int = -1) -> list[Session]:
        """The sessions, of one conversation or of all, the latest first; at ``most`` so many."""
        where = "" if conversation is None else "WHERE conversation = ?"
        values = () if conversation is None else (conversation,)
        return [
            _make_session(row) for row in self._execute(f"{COLUMNS} {where} ORDER BY id DESC LIMIT ?", *values, most)
        ]

    def find_session(self, conversation_id: str) -> Session:
        """The session with the platform's id of it, or the only one whose id begins or ends so.

        Raises `NoSuchSession`, which says what may be meant.
        """
        rows = self._execute(f"{COLUMNS} WHERE conversation_id = ? ORDER BY id DESC LIMIT 1", conversation_id)
        part = conversation_id.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        like = "conversation_id LIKE ? ESCAPE '\\'"
        rows = rows or self._execute(f"{COLUMNS} WHERE {like} OR {like} LIMIT 4", f"{part}%", f"%{part}")
        if conversation_id and len(rows) == 1:
            return _make_session(rows[0])
        if conversation_id and rows:
            found = ", ".join(str(row[2]) for row in rows[:3]) + (", …" if rows[3:] else "")
            raise NoSuchSession(f'"{conversation_id}" may be one of several: {found}')
        latest = self._execute("SELECT conversation_id FROM sessions ORDER BY id DESC LIMIT ?", SIMILAR)
        close = nearest(conversation_id, [row[0] for row in latest])
        hint = f"did you mean {close[0]}?" if close else "`convaid history` lists what there is"
        raise NoSuchSession(f'no conversation with the id "{conversation_id}" is kept; {hint}')

    def read(self, session: Session) -> Transcript:
        """A session with all that was said and done."""
        turns = self._execute(
            "SELECT at, number, speaker, text, original, heard, heard_seconds FROM turns WHERE session = ?", session.id
        )
        calls = self._execute(
            "SELECT at, number, tool_call_id, tool, arguments, result, outcome, seconds, is_delivered FROM calls "
            "WHERE session = ?",
            session.id,
        )
        lines: list[tuple[tuple[float, int], Turn | Call]] = []
        lines += [((at, number), Turn(at, *rest)) for at, number, *rest in turns]
        lines += [((at, number), Call(*[at, *rest, bool(is_delivered)])) for at, number, *rest, is_delivered in calls]
        return Transcript(session, tuple(line for _, line in sorted(lines, key=lambda each: each[0])))

    def purge(self, *, older_than: float | None = None, conversation: str | None = None) -> int:
        """Forget the sessions that began before so many days, of one conversation or of all; returns how many."""
        values: list[object]
        latest = math.inf if older_than is None else time.time() - older_than * DAY
        where, values = "began <= ?", [latest]
        if conversation is not None:
            where, values = f"{where} AND conversation = ?", [latest, conversation]
        forgotten = len(self._execute(f"DELETE FROM sessions WHERE {where} RETURNING id", *values))
        self._execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log that SQLite writes first holds it, too
        return forgotten

    def _execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise HistoryError(f"the history {self.path} cannot be used: {error}") from error


def _make_session(row: tuple[Any, ...]) -> Session:
    *columns, charging, turns, calls = row
    return Session(*[*columns, json.loads(charging) if charging else None, turns, calls])


@contextmanager
def open_history(path: Path, *, is_writable: bool = False) -> Iterator[History]:
    """Open the history in this file, and close it at the end. Raises `HistoryError`, with the remedy."""
    path = path.expanduser()
    if not path.exists():
        raise HistoryError(
            f"there is no history yet at {path}: `convaid run` writes one as it holds conversations; --file names "
            "that of another daemon"
        )
    if not os.access(path, os.R_OK | (os.W_OK if is_writable else 0)):
        raise HistoryError(f"the history {path} belongs to somebody else: ask as that user, or as root")
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'rw' if is_writable else 'ro'}",
            uri=True,
            timeout=BUSY_LIMIT,
            isolation_level=None,
        )
        try:
            check_owner(connection)
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = ON")
            yield History(path, connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise HistoryError(f"the history {path} cannot be used: {error}") from error


def find_history_path() -> Path:
    """Return where the history is: in the user's state folder, else in that of the system's daemon, or its instances.

    Where there is none, it is the first of these places.
    """
    own = find_state_folder().expanduser() / FILE_NAME
    try:
        system = [SYSTEM_FOLDER / "convaid" / FILE_NAME, *sorted(SYSTEM_FOLDER.glob(f"convaid-*/{FILE_NAME}"))]
        return next((place for place in (own, *system) if place.exists()), own)
    except OSError:  # the folder of a system's daemon is its own
        return own
