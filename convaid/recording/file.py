"""The file of one recording, and the folder that holds them all. What is here waits for the disk: not for the loop.

Written are complete lines, at most `LARGEST` bytes in a file; at most `KEPT` bytes are in the folder, of which the
files that were written to longest ago go first.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import orjson
import pybase64
from attrs import define, evolve, field, frozen

from convaid.config.places import find_state_folder
from convaid.recording.lines import CloseLine, EndLine, FrameLine, Header, Line, write_line
from convaid.recording.redaction import Redactor

__all__ = ["Frame", "RecordingFile", "find_recordings_folder"]

log = logging.getLogger(__name__)

FOLDER = "recordings"
NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[a-z0-9_-]+\.jsonl")  # of a file that may go; others are not ours
LARGEST = 32 * 2**20  # bytes of one recording: hours of speech, or days of text
KEPT = 256 * 2**20  # bytes of all recordings in the folder
LONGEST_FRAME = 2**20  # characters of one frame; of a longer one, the length is kept


def find_recordings_folder() -> Path:
    """Return where recordings belong: with the rest of convaid's state."""
    return find_state_folder() / FOLDER


@frozen
class Frame:
    """A frame as it has passed, with all that is in it; ``at`` is in seconds since the session began."""

    at: float
    by: Literal["agent", "us"]
    content: str | bytes


@define(eq=False)
class RecordingFile:
    """Writes one recording. Made anywhere, used in one thread at a time; raises nothing."""

    path: Path
    header: Header
    redactor: Redactor
    is_one_of_many: bool
    """Whether it is in the folder of all recordings, where the oldest make room; else it takes the place of a file."""
    lost: int = field(init=False, default=0)
    """Lines that could not be written, or had no room."""
    _has_failed: bool = field(init=False, default=False)
    _descriptor: int | None = field(init=False, default=None)
    _size: int = field(init=False, default=0)
    _is_full: bool = field(init=False, default=False)

    def write(self, entries: Sequence[Frame | Line]) -> None:
        """Write some lines; the end is the last there is."""
        if self._has_failed:
            self.lost += len(entries)
            return
        try:
            if self._descriptor is None:
                self._open()
            lines = [write_line(self._make_line(entry)) for entry in entries]
            is_over = isinstance(entries[-1], EndLine)
            self._append(lines, is_over)
            if is_over:
                self._close()
                if self.is_one_of_many:
                    make_room(self.path.parent, KEPT)
        except OSError as error:
            self._has_failed = True
            self.lost += len(entries)
            with suppress(OSError):
                self._close()
            name = self.header.conversation
            log.warning(
                "%s: this session is not recorded any further: %s cannot be written: %s", name, self.path, error
            )

    def _open(self) -> None:
        self.path.parent.mkdir(0o700, parents=True, exist_ok=True)
        if self.is_one_of_many:
            make_room(self.path.parent, KEPT - LARGEST)
        how = os.O_EXCL if self.is_one_of_many else os.O_TRUNC
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600)
        self._append([write_line(self.header)])

    def _append(self, lines: Sequence[bytes], is_over: bool = False) -> None:
        """Write complete lines, as many as there is room for; of those that fail, none. Raises OSError."""
        assert self._descriptor is not None
        fitting, size = [], self._size
        for number, line in enumerate(lines, 1):
            if size + len(line) <= LARGEST or (is_over and number == len(lines)):  # how it ended is always told
                fitting.append(line)
                size += len(line)
            else:
                self._note_full()
        rest = memoryview(b"".join(fitting))
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size = size

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _note_full(self) -> None:
        if not self._is_full:
            name = self.header.conversation
            log.warning("%s: the recording %s is full; what follows is not in it", name, self.path)
        self._is_full = True
        self.lost += 1

    def _make_line(self, entry: Frame | Line) -> Line:
        redactor = self.redactor
        match entry:
            case Frame(at, by, str(text)) if len(text) <= LONGEST_FRAME:
                frame = read_object(text)
                if frame is None:
                    return FrameLine(at, by, text=redactor.redact_text(text))
                return FrameLine(at, by, frame=redactor.redact_frame(frame))
            case Frame(at, by, bytes(data)) if len(data) <= LONGEST_FRAME:
                text = redactor.redact_text(data.decode(errors="surrogateescape"))
                return FrameLine(at, by, binary=pybase64.b64encode_as_string(text.encode(errors="surrogateescape")))
            case Frame(at, by, content):
                return FrameLine(at, by, left_out=len(content))
            case CloseLine(reason=text):
                return evolve(entry, reason=redactor.redact_text(text))
            case EndLine(detail=text):
                return evolve(entry, detail=redactor.redact_text(text))
            case _:
                return entry


def read_object(text: str) -> dict[str, object] | None:
    """Return the JSON object that a text is, or None."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def make_room(folder: Path, most: int) -> None:
    """Remove recordings, those first that were written to longest ago, until all have ``most`` bytes together."""
    found = []
    for path in folder.iterdir():
        with suppress(OSError):  # somebody else makes room, too
            if NAME.fullmatch(path.name):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found, key=lambda each: each[0]):
        if total <= most:
            return
        path.unlink(missing_ok=True)
        total -= size
