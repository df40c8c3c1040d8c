"""Notes for agents to keep, in SQLite: async tools, settings and a lifespan."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Annotated, Any

import trio
from attrs import define, field, frozen

from convaid import Tool, ToolContext, ToolError, hookimpl, tool

TABLE = """
CREATE TABLE IF NOT EXISTS notes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- not used again: an agent may still talk of a note that is gone
    text TEXT NOT NULL,
    written TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
)
"""


Row = dict[str, Any]


def find_default_path() -> Path:
    """Return where a service's state belongs: the folder that systemd gives it, or the user's."""
    folder = os.environ.get("STATE_DIRECTORY") or os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(folder.partition(":")[0], "convaid-notes.sqlite")


@frozen
class NotesSettings:
    """``[plugins.notes]``"""

    path: Path = field(factory=find_default_path)


@define
class Notes:
    """The open database. Its calls block, so they run in a worker thread, one at a time."""

    connection: sqlite3.Connection
    _one_at_a_time: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1), init=False)

    async def run(self, statement: str, *values: object) -> list[Row]:
        """Run one statement, as a transaction of its own, and return its rows."""
        return await trio.to_thread.run_sync(self._run, statement, values, limiter=self._one_at_a_time)

    def _run(self, statement: str, values: tuple[object, ...]) -> list[Row]:
        with self.connection:
            return [dict(row) for row in self.connection.execute(statement, values)]


def connect(path: Path) -> sqlite3.Connection:
    """Open the database file, and make it if there is none. The caller closes it."""
    path = path.expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.create_function("casefold", 1, str.casefold, deterministic=True)  # SQLite's own knows ASCII only
    return connection


@tool
async def add_note(text: Annotated[str, "the note, in the user's words"], context: ToolContext) -> Row:
    """Write down a note for the user to come back to later. Returns its number."""
    if not text.strip():
        raise ToolError("The note is empty. Ask the user what to write down.")
    notes: Notes = context.state
    return (await notes.run("INSERT INTO notes (text) VALUES (?) RETURNING number", text.strip()))[0]


@tool
async def list_notes(
    context: ToolContext, most: Annotated[int, "how many notes to return; 20 if left out"] = 20
) -> list[Row]:
    """Return the user's notes, the newest first, with their numbers and when they were written (UTC)."""
    notes: Notes = context.state
    return await notes.run("SELECT * FROM notes ORDER BY number DESC LIMIT ?", max(most, 0))


@tool
async def search_notes(words: Annotated[str, "what the note contains"], context: ToolContext) -> list[Row]:
    """Return the user's notes that contain the given words, the newest first."""
    notes: Notes = context.state
    statement = "SELECT * FROM notes WHERE instr(casefold(text), casefold(?)) ORDER BY number DESC"
    return await notes.run(statement, words.strip())


@tool
async def delete_note(number: Annotated[int, "the note's number"], context: ToolContext) -> str:
    """Delete one of the user's notes for good."""
    notes: Notes = context.state
    deleted = await notes.run("DELETE FROM notes WHERE number = ? RETURNING text", number)
    if not deleted:
        raise ToolError(f"There is no note number {number}. list_notes tells which there are.")
    return f"Deleted: {deleted[0]['text']}"


@hookimpl
def convaid_tools() -> list[Tool]:
    return [add_note, list_notes, search_notes, delete_note]


@hookimpl
def convaid_settings() -> type:
    return NotesSettings


@hookimpl
@asynccontextmanager
async def convaid_lifespan(settings: NotesSettings) -> AsyncIterator[Notes]:
    with closing(await trio.to_thread.run_sync(connect, settings.path)) as connection:
        notes = Notes(connection)
        await notes.run(TABLE)
        yield notes
