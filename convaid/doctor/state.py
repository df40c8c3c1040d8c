"""The state folder, its disk, and the files that the daemon keeps (floor 6). They wait for the disk."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from convaid.budget import FILE_NAME as BUDGET
from convaid.config.places import find_state_folder
from convaid.doctor.findings import Finding, error, ok, warning
from convaid.doctor.subject import Subject
from convaid.history.file import FILE_NAME as HISTORY
from convaid.journal import find_journal_path

__all__ = ["check_state"]

LITTLE = 100 * 2**20  # bytes left on the disk: weeks of journal, and an hour of speech
NEXT_TO_NOTHING = 5 * 2**20  # bytes: SQLite needs some to write anything
BUSY_LIMIT = 2.0  # seconds that somebody else may keep a file to himself


def check_state(subject: Subject) -> Iterator[Finding]:
    """Look whether the daemon could keep what it has to."""
    folder = find_state_folder().expanduser()
    journal = (subject.configuration.tools.journal or find_journal_path()).expanduser()
    about = {each: list(check_folder(each)) for each in dict.fromkeys((folder, journal.parent))}
    for findings in about.values():
        yield from findings
    for path, what in ((journal, "journal"), (folder / BUDGET, "budget"), (folder / HISTORY, "history")):
        if all(finding.level != "error" for finding in about[path.parent]):
            yield from check_file(path, what)


def check_folder(folder: Path) -> Iterator[Finding]:
    """Write into the folder, or where it would be made, without leaving a trace; and look at its disk."""
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"x")
    except OSError as fault:
        words = f"nothing can be written in {folder}: {fault.strerror}"
        fix = "give it to the user who runs the daemon (chown), or set $STATE_DIRECTORY or $XDG_STATE_HOME to another"
        yield error("state", words, fix)
        return
    left = shutil.disk_usage(there).free
    if left < LITTLE:
        fix = f"make room on its disk: du -xh {there} | sort -h | tail"
        tell = error if left < NEXT_TO_NOTHING else warning
        yield tell("state", f"there are {left // 2**20} MiB left for {folder}", fix)
    elif there == folder:
        yield ok("state", f"{folder} can be written, and has room")
    else:
        yield ok("state", f"{folder} can be made, and has room")


def check_file(path: Path, what: str) -> Iterator[Finding]:
    """Read one of the files, which are SQLite's, and look whether it could be written."""
    try:
        if not path.exists():
            return
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(0, "it may not be written")
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_LIMIT)) as connection:
            ((verdict, *_),) = connection.execute("PRAGMA quick_check(1)").fetchall()
    except OSError as fault:
        fix = f"give it to the user who runs the daemon: chown USER {path}"
        yield error(what, f"{path} cannot be used: {fault.strerror}", fix)
    except sqlite3.Error as fault:
        yield error(what, f"{path} cannot be used: {fault}", explain(path))
    else:
        if verdict == "ok":
            yield ok(what, f"{path} is in order")
        else:
            yield error(what, f"{path} is damaged: {verdict}", explain(path))


def explain(path: Path) -> str:
    """How to do without a file that is not what it should be."""
    return f"stop the daemon and put it aside: mv {path} {path}.broken; a new one is made"
