"""A link that is recorded: what passes stands in the file, and nothing waits for it, whatever the disk does."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from convaid.protocol.endings import SessionEnd, classify_close, stopped_by_user
from convaid.recording import LostLine, RecordedSession, Recorder, Redactor, file, open_recording, read_recording, tap
from convaid.recording.file import RecordingFile, make_room
from convaid.testing.link import MemoryLink
from convaid.transport import LinkClosed

END = classify_close(1000, "", None, had_metadata=True)
LIMIT = 10.0  # seconds: longer than any test here takes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "recordings"


def make_recorder(place: Path, *, is_folder: bool = True) -> Recorder:
    return Recorder("main", "agent_1", Redactor(variables={"who": "Ada Lovelace"}), place, is_folder)


async def record(recorder: Recorder, frames: Sequence[str | bytes], end: SessionEnd = END) -> RecordedSession:
    """Hold a session in which the agent sends these frames."""
    link = MemoryLink()
    with trio.fail_after(LIMIT):
        async with open_recording(recorder) as session:
            assert session is not None
            recorded = session.tap(link)
            for frame in frames:
                link.to_us.send_nowait(frame)
                assert await recorded.receive() == frame
            session.note_end(end, {})
    return session


def find_only(folder: Path) -> Path:
    """The one recording there is."""
    (path,) = folder.iterdir()
    return path


def read_only(folder: Path) -> list[dict[str, Any]]:
    """Its lines."""
    return [json.loads(line) for line in find_only(folder).read_text().splitlines()]


def find_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def is_there(path: Path) -> bool:
    return path.exists()


async def test_frames_stand_in_the_file_as_they_passed(folder: Path, mock_clock: MockClock) -> None:
    link = MemoryLink()
    async with open_recording(make_recorder(folder)) as session:
        assert session is not None
        recorded = session.tap(link)
        mock_clock.jump(1.5)
        assert await recorded.send('{"type":"user_message","text":"I am Ada Lovelace"}')
        link.to_us.send_nowait('{"type":"agent_response","agent_response_event":{"agent_response":"Hi","event_id":1}}')
        link.to_us.send_nowait("no JSON for Ada Lovelace")
        link.to_us.send_nowait("[5]")
        link.to_us.send_nowait(b"\xffAda Lovelace\x00")
        link.to_us.send_nowait(LinkClosed(1000, "goodbye, Ada Lovelace"))
        for _ in range(5):
            await recorded.receive()
        assert recorded.heard_at == link.heard
        link.heard = 0.0
        recorded.ping()
        assert link.heard > 0
        session.note_end(END, {"unknown type": 3})
        assert session.lost == 0
    header, *lines = read_only(folder)
    assert {name: header[name] for name in ("recording", "conversation", "agent_id")} == {
        "recording": 1,
        "conversation": "main",
        "agent_id": "agent_1",
    }
    assert "the dynamic variable who" in header["redacted"]
    agents = {"at": 1.5, "by": "agent"}
    assert lines == [
        {"at": 1.5, "by": "us", "frame": {"type": "user_message", "text": "I am {{who}}"}},
        agents | {"frame": {"type": "agent_response", "agent_response_event": {"agent_response": "Hi", "event_id": 1}}},
        agents | {"text": "no JSON for {{who}}"},
        agents | {"text": "[5]"},
        agents | {"binary": "/3t7d2hvfX0A"},
        agents | {"close": 1000, "reason": "goodbye, {{who}}"},
        {
            "at": 1.5,
            "end": "ended by the agent",
            "code": 1000,
            "detail": "the agent hung up",
            "losses": {"unknown type": 3},
        },
    ]
    path = find_only(folder)
    assert (find_mode(path), find_mode(folder)) == (0o600, 0o700)
    assert path.name.endswith("-main.jsonl")


async def test_nothing_is_recorded_where_nothing_is_to_be_and_of_a_link_that_never_was_open(folder: Path) -> None:
    async with open_recording(None) as session:
        assert session is None
    async with open_recording(make_recorder(folder)) as session:
        assert session is not None
        session.note_end(stopped_by_user(), {})
    assert not is_there(folder)


async def test_a_frame_that_could_not_be_sent_is_none(folder: Path) -> None:
    class ClosedLink(MemoryLink):
        async def send(self, frame: str) -> bool:
            await trio.lowlevel.checkpoint()
            return False

    async with open_recording(make_recorder(folder)) as session:
        assert session is not None
        assert not await session.tap(ClosedLink()).send("{}")
        session.note_end(END, {})
    assert [line.get("by") for line in read_only(folder)] == [None, None]


async def test_a_session_that_is_cut_off_leaves_a_recording_without_an_end(folder: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_recording(make_recorder(folder)) as session:
            assert session is not None
            await session.tap(MemoryLink()).send('{"type":"pong","event_id":1}')
            scope.cancel()
            await trio.sleep_forever()
    recording = read_recording(find_only(folder))
    assert recording.end is None
    assert len(recording.lines) == 1


async def test_one_file_is_written_anew_and_later_sessions_have_a_number(tmp_path: Path) -> None:
    path = tmp_path / "evening.jsonl"
    path.write_text("old\n" * 1000)
    recorder = make_recorder(path, is_folder=False)
    await record(recorder, ["{}"])
    await record(recorder, ["{}", "{}"])
    assert [len(read_recording(tmp_path / name).lines) for name in ("evening.jsonl", "evening-2.jsonl")] == [2, 3]


# --- what cannot be written ------------------------------------------------------------------------------------------


async def test_a_place_that_cannot_be_written_to_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder := tmp_path / "a file where the folder should be").touch()
    session = await record(make_recorder(folder), ["{}"] * 3)
    assert session.lost > 0
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert "main: this session is not recorded any further" in warning.message
    assert str(folder) in warning.message


class FullDisk:
    """`os`, on a disk that takes so many more bytes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.closed = 0

    def close(self, descriptor: int) -> None:
        os.close(descriptor)
        self.closed += 1

    def write(self, descriptor: int, content: bytes | memoryview) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = os.write(descriptor, content[: self.room])
        self.room -= count
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


async def test_a_disk_that_becomes_full_leaves_whole_lines(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullDisk(room=1000)
    monkeypatch.setattr(file, "os", disk)
    session = await record(make_recorder(folder), ['{"type":"ping","x":"' + "x" * 100 + '"}'] * 50)
    recording = read_recording(find_only(folder))
    assert not recording.is_cut
    assert recording.end is None
    assert session.lost == 51 - len(recording.lines)  # the end is one of them
    assert disk.closed == 1  # a descriptor for each session would be too many one day
    assert [record.message.partition(": ")[2][:37] for record in caplog.records] == [
        "this session is not recorded any furt"
    ]


async def test_a_disk_that_hangs_holds_up_neither_the_link_nor_the_end_for_long(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, was_asked = threading.Event(), threading.Event()
    write = RecordingFile.write

    def write_slowly(self: RecordingFile, entries: Sequence[Any]) -> None:
        was_asked.set()
        hangs.wait(LIMIT)
        write(self, entries)

    monkeypatch.setattr(RecordingFile, "write", write_slowly)
    monkeypatch.setattr(tap, "MOST_WAITING", 10)
    monkeypatch.setattr(tap, "LAST_LINES_LIMIT", 0.05)
    try:
        with trio.fail_after(LIMIT / 2):
            session = await record(make_recorder(folder), ["{}"] * 100)
        assert was_asked.is_set()
        assert session.lost == 90
    finally:
        hangs.set()
    with trio.fail_after(LIMIT):
        await session.close()
        await session.close()
    lines = [line for line in read_recording(find_only(folder)).lines.values() if isinstance(line, LostLine)]
    assert [line.lost for line in lines] == [90]


async def test_what_waits_is_bounded_in_size_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "LARGEST_WAITING", 1000)
    session = await record(make_recorder(folder), ["x" * 2000, "y" * 10])
    assert session.lost == 1
    assert [line.get("lost") or line.get("text") for line in read_only(folder)[1:3]] == [1, "y" * 10]


async def test_a_recording_that_is_full_ends_with_how_the_session_did(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(file, "LARGEST", 2000)
    session = await record(make_recorder(folder), ["x" * 100] * 50)
    lines = read_only(folder)
    assert sum("text" in line for line in lines) == 50 - session.lost
    assert 30 < session.lost < 50
    assert lines[-1]["end"] == "ended by the agent"
    assert len(caplog.records) == 1


async def test_of_a_frame_that_is_too_long_the_length_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "LONGEST_FRAME", 100)
    await record(make_recorder(folder), ["x" * 101, b"y" * 101, "z" * 100])
    assert [line.get("left_out") for line in read_only(folder)[1:4]] == [101, 101, None]


# --- all together ----------------------------------------------------------------------------------------------------


@pytest.fixture
def old_ones(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"2026010{number}T000000.000000Z-main.jsonl" for number in range(1, 6)]
    for number, path in enumerate(paths):
        path.write_bytes(b"x" * 100)
        os.utime(path, (number, number))
    (folder / "notes.jsonl").write_bytes(b"x" * 1000)
    os.utime(folder / "notes.jsonl", (0, 0))
    return paths


def list_sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.iterdir() if path.name != "notes.jsonl"]


def test_the_oldest_make_room_and_files_of_others_stay(folder: Path, old_ones: list[Path]) -> None:
    os.utime(old_ones[0], (100, 100))  # it is being written to
    make_room(folder, 250)
    assert [path.exists() for path in old_ones] == [True, False, False, False, True]
    assert (folder / "notes.jsonl").exists()


async def test_all_recordings_together_are_bounded(
    folder: Path, old_ones: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "KEPT", 3000)
    monkeypatch.setattr(file, "LARGEST", 2700)
    for _ in range(4):
        await record(make_recorder(folder), ["x" * 700])
    sizes = list_sizes(folder)
    assert sum(sizes) <= 3000
    assert len(sizes) < 4
    assert not any(path.exists() for path in old_ones[:3])
