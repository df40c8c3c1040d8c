"""Transcripts as they are written: what was heard, what cannot be written, what is forgotten."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import sys
import time
from pathlib import Path

import attrs
import pytest
import trio

from convaid import events
from convaid.config import HistoryConfig
from convaid.history import recording
from convaid.history.file import DAY, HistoryError, HistoryFile
from convaid.history.record import TEXT_LENGTH
from convaid.history.transcript import Call, Turn
from convaid.protocol.from_agent import AgentResponseCorrection, UserTranscript
from convaid.protocol.to_agent import ContextualUpdate, FileInput, MultimodalMessage, UserMessage

from .recorded import agent, called, connected, cut, ended, heard, open_recorder, read_all, user


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.sqlite"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "WRITE_INTERVAL", 0.001)
    monkeypatch.setattr(recording, "RETRY_INTERVAL", 0.01)


def find_mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def find_bytes(path: Path) -> bytes:
    return path.read_bytes()


def sent(message: object) -> events.Event:
    return events.MessageSent("main", "conv_1", message)  # type: ignore[arg-type]


async def test_a_session_from_its_beginning_to_its_end(path: Path) -> None:
    before = time.time()
    async with open_recorder(path) as made:
        made.note(connected(), agent("Hello."), user("Open it."), called({"door": "front"}, "open"), ended())
    (transcript,) = read_all(path)
    session, lines = transcript.session, transcript.lines
    assert (session.conversation, session.conversation_id, session.agent_id) == ("main", "conv_1", "agent_1")
    assert before <= session.began <= time.time()
    assert session.ended is not None
    assert (session.seconds, session.cause, session.code, session.detail) == (12.5, "link lost", None, "gone")
    assert (session.kept, session.missing, session.turns, session.calls) == ("full", 0, 2, 1)
    call = next(line for line in lines if isinstance(line, Call))
    assert (call.tool, call.arguments, call.result, call.outcome) == ("open_door", '{"door":"front"}', "open", "ok")
    assert call.seconds == 0.25
    turns = [(line.speaker, line.text, line.original) for line in lines if isinstance(line, Turn)]
    assert turns == [("agent", "Hello.", None), ("user", "Open it.", None)]
    assert lines[0] == call, "a call stands where it began, which is before it ended"
    assert (find_mode(path), find_mode(path.parent)) == (0o600, 0o700)


async def test_a_turn_is_what_was_heard(path: Path) -> None:
    async with open_recorder(path) as made:
        made.note(connected(), agent("Once upon a time.", 3))
        await made.wait_written()
        made.note(heard(AgentResponseCorrection("Once upon a time.", "Once", 3)), user("Stop."))
        made.note(agent("Why?", 5), heard(AgentResponseCorrection("Why?", "W", 99)))
        made.note(heard(AgentResponseCorrection("Never told.", "Ne", 100)))
    (transcript,) = read_all(path)
    assert [(line.text, line.original) for line in transcript.lines if isinstance(line, Turn)] == [
        ("Once", "Once upon a time."),
        ("Stop.", None),
        ("W", "Why?"),
        ("Ne", "Never told."),
    ]


async def test_a_turn_that_was_cut_off_is_marked_with_what_had_been_heard_here(path: Path) -> None:
    async with open_recorder(path) as made:
        made.note(connected(), agent("Once upon a time.", 3))
        made.note(cut(events.Heard(3, 0.4, 1.1, "Once u")))
        made.note(heard(AgentResponseCorrection("Once upon a time.", "Once", 3)))
        made.note(agent("One.", 5), agent("Two.", 7))
        made.note(cut(events.Heard(5, 0.2, 0.1, "On"), events.Heard(7, 0.0, 0.5, ""), events.Heard(9, 0.0, 0.5, "")))
        made.note(agent("Told late.", 9), agent("Heard.", 11), agent("I am ada@example.org.", 13))
        made.note(attrs.evolve(ended(), heard=(events.Heard(13, 1.0, 0.5, None),)))
    (transcript,) = read_all(path)
    turns = [line for line in transcript.lines if isinstance(line, Turn)]
    assert [(line.text, line.original, line.heard, line.heard_seconds) for line in turns] == [
        ("Once", "Once upon a time.", "Once u", 0.4),
        ("One.", None, "On", 0.2),
        ("Two.", None, "", 0.0),
        ("Told late.", None, "", 0.0),
        ("Heard.", None, None, None),
        ("I am ada@example.org.", None, None, 1.0),
    ]
    assert transcript.session.turns == 6


async def test_what_was_heard_is_masked_like_all_the_rest(path: Path) -> None:
    async with open_recorder(path, HistoryConfig("redacted")) as made:
        made.note(connected(), agent("I am ada@example.org, and you?", 1))
        made.note(cut(events.Heard(1, 1.0, 0.5, "I am ada@example.org,")))
    assert b"ada@example.org" not in find_bytes(path)


async def test_a_turn_that_is_corrected_twice_keeps_what_was_to_be_said(path: Path) -> None:
    async with open_recorder(path) as made:
        made.note(connected(), agent("One two three.", 1))
        made.note(heard(AgentResponseCorrection("One two three.", "One two", 1)))
        made.note(heard(AgentResponseCorrection("One two three.", "One", 1)))
    (transcript,) = read_all(path)
    assert [(line.text, line.original) for line in transcript.lines if isinstance(line, Turn)] == [
        ("One", "One two three.")
    ]


async def test_what_is_typed_is_there_once_whether_it_comes_back_or_not(path: Path) -> None:
    async with open_recorder(path) as made:
        made.note(connected(), sent(UserMessage("Hello")), heard(UserTranscript(" Hello ", 1)))
        made.note(heard(UserTranscript("Hello", 2)), sent(UserMessage("not echoed")))
        made.note(
            sent(MultimodalMessage(UserMessage("Look"), None, [FileInput("f")])), heard(UserTranscript("Look", 3))
        )
        made.note(sent(ContextualUpdate("It rains.")))
    (transcript,) = read_all(path)
    assert [(line.speaker, line.text) for line in transcript.lines if isinstance(line, Turn)] == [
        ("user", "Hello"),
        ("user", "Hello"),
        ("user", "not echoed"),
        ("user", "Look [1 file]"),
        ("context", "It rains."),
    ]


async def test_off_keeps_nothing_and_makes_no_entry(path: Path) -> None:
    async with open_recorder(path, HistoryConfig("off")) as made:
        made.note(connected(), user("secret"), called({}), ended())
    assert read_all(path) == []


async def test_redacted_masks_what_is_said_done_and_answered(path: Path) -> None:
    async with open_recorder(path, HistoryConfig("redacted"), redact=["pin"]) as made:
        made.note(connected(), user("I am ada@example.org"), agent("Ada, 0151 2345678?", 1))
        made.note(heard(AgentResponseCorrection("Ada, 0151 2345678?", "Ada, 0151 23", 1)))
        made.note(called({"pin": 12, "note": "call 0151 2345678", "number": 12345678}, "told ada@example.org"))
    assert b"ada@example.org" not in find_bytes(path)
    assert b"2345678" not in find_bytes(path)
    (transcript,) = read_all(path)
    call = next(line for line in transcript.lines if isinstance(line, Call))
    assert call.arguments == '{"pin":"***","note":"call ***","number":"***"}'
    assert call.result == "told ***"
    assert transcript.session.kept == "redacted"


async def test_a_tool_whose_arguments_are_all_secret_keeps_its_result_to_itself(path: Path) -> None:
    async with open_recorder(path, redact=["*"]) as made:
        made.note(connected(), called({"a": 1}, "the secret"))
    (transcript,) = read_all(path)
    (call,) = transcript.lines
    assert isinstance(call, Call)
    assert (call.arguments, call.result) == ('"***"', None)


async def test_odd_texts_are_kept(path: Path) -> None:
    async with open_recorder(path) as made:
        made.note(connected(), user("\ud800"), user("\x00"), user("x" * 100_000), called({"a": "\ud800"}, "\udfff"))
    (transcript,) = read_all(path)
    assert len(transcript.lines) == 4
    assert max(len(line.text) for line in transcript.lines if isinstance(line, Turn)) < TEXT_LENGTH + 20


# --- what cannot be written -----------------------------------------------------------------------------------------


async def test_a_locked_file_is_waited_for_and_nothing_is_lost(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convaid.history.file.BUSY_LIMIT", 0.01)
    async with open_recorder(path) as made:
        made.note(connected(), user("one"))
        await made.wait_written()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        made.note(user("two"))
        while recording.TROUBLE not in made.troubles:
            await trio.sleep(0.001)
        made.note(user("three"), ended())
        await trio.sleep(0.05)
        assert caplog.text.count("cannot be written") == 1
        assert "database is locked" in made.troubles[recording.TROUBLE]
        other.execute("ROLLBACK")
        other.close()
        await made.wait_written()
        assert not made.troubles
    assert "is written again; 0 entries are missing" in caplog.text
    (transcript,) = read_all(path)
    assert [line.text for line in transcript.lines if isinstance(line, Turn)] == ["one", "two", "three"]


async def test_a_full_disk_is_waited_for(path: Path) -> None:
    async with open_recorder(path) as made:
        made.note(connected())
        await made.wait_written()
        connection = made.recorder._file._connection
        assert connection is not None
        connection.execute("PRAGMA max_page_count = 1")
        made.note(*(user("x" * 10_000) for _ in range(10)))
        while "database or disk is full" not in made.troubles.get(recording.TROUBLE, ""):
            await trio.sleep(0.001)
        connection.execute("PRAGMA max_page_count = 1000000")
        await made.wait_written()
        assert not made.troubles
    (transcript,) = read_all(path)
    assert transcript.session.turns == 10


async def test_what_is_too_much_is_lost_and_counted(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "WAITING", 10)
    await trio.Path(path).mkdir(parents=True)  # in the way
    async with open_recorder(path) as made:
        made.note(connected(), *(user(str(number)) for number in range(20)), ended())
        while recording.TROUBLE not in made.troubles:
            await trio.sleep(0.001)
        assert caplog.text.count("entries of the history are lost") == 1
        await trio.Path(path).rmdir()
        await made.wait_written()
        assert not made.troubles
    assert "is written again; 11 entries are missing" in caplog.text
    (transcript,) = read_all(path)
    assert (transcript.session.missing, transcript.session.turns, transcript.session.cause) == (11, 9, "link lost")


async def test_a_flood_in_one_session_is_bounded(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MOST", 5)
    async with open_recorder(path) as made:
        made.note(connected(), *(user(str(number)) for number in range(20)), ended())
    (transcript,) = read_all(path)
    assert (transcript.session.turns, transcript.session.missing) == (5, 15)
    assert [record.getMessage() for record in caplog.records] == [
        "main: there are more than 5 turns and calls: no more are kept"
    ]


async def test_a_disk_that_hangs_does_not_keep_the_daemon_from_ending(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "LAST_LIMIT", 0.05)
    began = time.monotonic()
    async with open_recorder(path) as made:
        made.recorder._file._one_at_a_time.acquire()
        made.note(connected(), user("one"))
        await trio.sleep(0.01)
    made.recorder._file._one_at_a_time.release()
    assert time.monotonic() - began < 5
    assert "2 entries of the history were not written" in caplog.text


async def test_a_file_that_is_taken_away_is_made_anew(path: Path) -> None:
    async with open_recorder(path) as made:
        made.note(connected(), user("one"))
        await made.wait_written()
        shutil.rmtree(path.parent)
        made.note(user("two"))
        await made.wait_written()
    (transcript,) = read_all(path)
    assert [line.text for line in transcript.lines if isinstance(line, Turn)] == ["two"]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("PRAGMA application_id = 7", "it is the database of another program"),
        ("PRAGMA user_version = 9", r"was written by another convaid \(version 9 of its tables, not 2\)"),
    ],
)
def test_a_file_of_somebody_else_is_left_alone(path: Path, statement: str, words: str) -> None:
    file = HistoryFile(path)
    file.write([])
    file.close()
    with sqlite3.connect(path) as other:
        other.execute(statement)
    other.close()
    with pytest.raises(HistoryError, match=words):
        HistoryFile(path).write([])


# --- over several daemons -------------------------------------------------------------------------------------------


CRASH = """
import os, sys, trio
from pathlib import Path
from convaid import events
from convaid.config import HistoryConfig
from convaid.history.file import HistoryFile
from convaid.history.recording import Recorder, Terms
from convaid.protocol.from_agent import UserTranscript

async def main():
    terms = Terms(HistoryConfig("full"), "agent_1", str)
    recorder = Recorder(HistoryFile(Path(sys.argv[1])), lambda _: terms, lambda _: (), dict, {})
    recorder.observe(events.Connected("main", "conv_1", "pcm_16000", "pcm_16000"))
    recorder.observe(events.MessageReceived("main", "conv_1", UserTranscript("one", 1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        while recorder._waiting:
            await trio.sleep(0.005)
        os._exit(7)

trio.run(main)
"""


async def test_what_a_crash_left_open_is_marked_by_the_next_daemon_that_is_alone(path: Path) -> None:
    crashed = await trio.run_process([sys.executable, "-c", CRASH, str(path)], check=False)
    assert crashed.returncode == 7
    (transcript,) = read_all(path)
    assert transcript.session.cause is None
    async with open_recorder(path) as made:
        made.note(connected(2))
        await made.wait_written()
        cut_off, goes_on = read_all(path)
        assert (cut_off.session.cause, cut_off.session.detail) == ("cut off", "the daemon ended before it did")
        assert cut_off.session.ended == cut_off.lines[-1].at
        assert cut_off.session.seconds == cut_off.lines[-1].at - cut_off.session.began
        assert goes_on.session.cause is None
        other = HistoryFile(path)
        other.write([])  # a second daemon with the same folder
        assert read_all(path)[1].session.cause is None
        other.close()


async def test_what_is_old_enough_is_forgotten(path: Path) -> None:
    async with open_recorder(path, HistoryConfig("full", days=30)) as made:
        for number in range(1, 4):
            made.note(connected(number), user("Hello."), ended(number))
    with sqlite3.connect(path) as other:
        for number, days in ((1, 31), (2, 29), (3, 0)):
            other.execute(
                "UPDATE sessions SET began = began - ? WHERE conversation_id = ?", (days * DAY, f"conv_{number}")
            )
    other.close()
    for config, left in ((HistoryConfig("full", days=30), ["conv_2", "conv_3"]), (HistoryConfig(days=5), ["conv_3"])):
        async with open_recorder(path, config):
            pass
        assert [each.session.conversation_id for each in read_all(path)] == left
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM turns").fetchone() == (1,)
    other.close()


async def test_it_can_be_read_while_it_is_written(path: Path) -> None:
    async with open_recorder(path) as made:
        made.note(connected())
        for number in range(1, 30):
            made.note(user(str(number)))
            await made.wait_written()
            (transcript,) = read_all(path)
            assert transcript.session.turns == number
