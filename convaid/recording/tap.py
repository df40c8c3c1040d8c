"""Where a link is listened to, and how what passes gets to the file without anybody waiting for it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import trio
from attrs import define, field
from outcome import Error, Outcome

from convaid import __version__
from convaid.protocol.endings import SessionEnd
from convaid.recording.file import Frame, RecordingFile
from convaid.recording.lines import VERSION, CloseLine, EndLine, Header, Line, LostLine
from convaid.recording.redaction import Redactor
from convaid.transport import Link, LinkClosed

__all__ = ["RecordedSession", "Recorder", "open_recording"]

log = logging.getLogger(__name__)

MOST_WAITING = 10_000  # frames that wait to be written: a flood of a thousand calls, and then some
LARGEST_WAITING = 32 * 2**20  # characters of them: two messages of the largest size that a link takes
LAST_LINES_LIMIT = 0.5  # seconds that the end of a session waits for the file


@define(eq=False)
class Recorder:
    """Knows where the sessions of one conversation are recorded, and what is not to be in there."""

    conversation: str
    agent_id: str
    redactor: Redactor
    place: Path
    """The folder of all recordings; or one file, for the first session, those that follow having a number."""
    is_folder: bool = True
    _sessions: int = field(init=False, default=0)

    def make_file(self) -> RecordingFile:
        """Return the file of the next session; nothing is written yet."""
        self._sessions += 1
        now = datetime.now(UTC)
        redacted = self.redactor.describe()
        header = Header(VERSION, __version__, self.conversation, self.agent_id, now.isoformat(), redacted)
        if self.is_folder:
            path = self.place / f"{now:%Y%m%dT%H%M%S.%fZ}-{self.conversation}.jsonl"
        elif self._sessions > 1:
            path = self.place.with_stem(f"{self.place.stem}-{self._sessions}")
        else:
            path = self.place
        return RecordingFile(path, header, self.redactor, self.is_folder)


@define(eq=False)
class RecordedSession:
    """One session that is being recorded; made by `open_recording`. Nothing in it waits, and nothing raises."""

    _recorder: Recorder
    _file: RecordingFile | None = field(init=False, default=None)
    _began_at: float = field(init=False, default=0.0)
    _waiting: deque[Frame | Line] = field(init=False, factory=deque)
    _size: int = field(init=False, default=0)
    _missed: int = field(init=False, default=0)
    _missed_in_all: int = field(init=False, default=0)
    _is_writing: bool = field(init=False, default=False)
    _written: trio.Event = field(init=False, factory=trio.Event)

    @property
    def lost(self) -> int:
        """Frames that are not in the recording, so far."""
        return self._missed_in_all + (self._file.lost if self._file else 0)

    def tap(self, link: Link) -> Link:
        """Return a link that does what ``link`` does, and is recorded. The session begins now."""
        self._began_at = trio.current_time()
        self._file = self._recorder.make_file()
        return RecordedLink(link, self)

    def note_frame(self, by: Literal["agent", "us"], content: str | bytes) -> None:
        """A frame has passed."""
        if len(self._waiting) >= MOST_WAITING or self._size + len(content) > LARGEST_WAITING:
            self._missed += 1
            self._missed_in_all += 1
            return
        self._size += len(content)
        self._put(Frame(self._tell_time(), by, content))

    def note_close(self, closed: LinkClosed) -> None:
        """The other side has closed the link, or it is lost."""
        self._put(CloseLine(self._tell_time(), "agent", closed.code, closed.reason))

    def note_end(self, end: SessionEnd, losses: Mapping[str, int]) -> None:
        """The session is over. Nothing follows; of a link that never was open there is no recording."""
        if self._file is not None:
            self._put(EndLine(self._tell_time(), end.cause, end.code, end.detail, end.error_type, dict(losses)))

    async def close(self) -> None:
        """Wait until all is written, but not for long."""
        with trio.move_on_after(LAST_LINES_LIMIT, shield=True):
            while self._is_writing:
                self._written = trio.Event()
                await self._written.wait()

    def _tell_time(self) -> float:
        return round(trio.current_time() - self._began_at, 6)

    def _put(self, entry: Frame | Line) -> None:
        if self._missed:
            self._waiting.append(LostLine(self._tell_time(), self._missed))
            self._missed = 0
        self._waiting.append(entry)
        if not self._is_writing:
            self._write_soon()

    def _write_soon(self) -> None:
        """Write what waits, in another thread: to make lines of frames takes time, and a disk as long as it likes."""
        file, entries = self._file, tuple(self._waiting)
        assert file is not None, "recorded is what passes over the tapped link"
        token = trio.lowlevel.current_trio_token()

        def tell(outcome: Outcome[None]) -> None:
            if isinstance(outcome, Error):
                log.error(
                    "a fault of convaid's: %d lines of a recording are lost", len(entries), exc_info=outcome.error
                )
            try:
                token.run_sync_soon(self._note_written, len(entries))
            except trio.RunFinishedError:
                log.debug("the disk was slower than the end of the program")

        try:
            trio.lowlevel.start_thread_soon(lambda: file.write(entries), tell)
        except RuntimeError as error:  # the system gives us no more threads
            log.warning("%d lines of a recording are lost: %s", len(entries), error)
            self._missed_in_all += len(entries)
            self._forget(len(entries))
        else:
            self._is_writing = True

    def _note_written(self, count: int) -> None:
        self._is_writing = False
        self._forget(count)
        if self._waiting:
            self._write_soon()
        if not self._is_writing:
            self._written.set()

    def _forget(self, count: int) -> None:
        for _ in range(count):
            entry = self._waiting.popleft()
            if isinstance(entry, Frame):
                self._size -= len(entry.content)


class RecordedLink(Link):
    """A link whose frames are noted as they pass."""

    def __init__(self, link: Link, session: RecordedSession) -> None:
        self._link = link
        self._session = session

    @property
    def heard_at(self) -> float:
        return self._link.heard_at

    async def receive(self) -> str | bytes | LinkClosed:
        frame = await self._link.receive()
        if isinstance(frame, LinkClosed):
            self._session.note_close(frame)
        else:
            self._session.note_frame("agent", frame)
        return frame

    async def send(self, frame: str) -> bool:
        is_open = await self._link.send(frame)
        if is_open:
            self._session.note_frame("us", frame)
        return is_open

    def ping(self) -> None:
        self._link.ping()


@asynccontextmanager
async def open_recording(recorder: Recorder | None) -> AsyncIterator[RecordedSession | None]:
    """Yield what records one session, or None where nothing is recorded; what is written last is waited for briefly."""
    if recorder is None:
        yield None
        return
    session = RecordedSession(recorder)
    try:
        yield session
    finally:
        await session.close()
