"""The lines of a recording: written and read again; what is wrong with a file is told by the line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from convaid.errors import ConfigurationError
from convaid.recording import CloseLine, EndLine, FrameLine, Header, LostLine, read_recording
from convaid.recording.lines import Line, parse_recording, write_line

HEADER = Header(1, "0.1.0", "main", "agent_1", "2026-01-02T03:04:05+00:00", ["audio"])
LINES: list[Line] = [
    FrameLine(0.0, "us", frame={"type": "conversation_initiation_client_data"}),
    FrameLine(0.1, "agent", text="{no JSON"),
    FrameLine(0.1, "agent", text=""),
    FrameLine(0.2, "agent", binary="AAE="),
    FrameLine(0.3, "agent", left_out=2_000_000),
    LostLine(0.4, 12),
    FrameLine(0.5, "agent", frame={}),
    CloseLine(0.6, "agent", 1000, "bye"),
    EndLine(0.7, "ended by the agent", 1000, "bye", None, {"unknown type": 2}),
]
WHOLE = b"".join(map(write_line, [HEADER, *LINES]))


def test_what_is_written_is_read_again() -> None:
    recording = parse_recording(WHOLE, "x.jsonl")
    assert recording.header == HEADER
    assert list(recording.lines.values()) == LINES
    assert list(recording.lines) == list(range(2, 11))
    assert (recording.end, recording.close) == (LINES[-1], LINES[-2])
    assert not recording.is_cut
    assert recording.texts[1] == '{"at":0.0,"by":"us","frame":{"type":"conversation_initiation_client_data"}}'


def test_a_recording_can_be_cut_off_anywhere_behind_its_first_line() -> None:
    first = WHOLE.index(b"\n") + 1
    for length in range(first, len(WHOLE)):
        recording = parse_recording(WHOLE[:length], "x.jsonl")
        complete = WHOLE[:length].count(b"\n")
        is_whole = WHOLE[length : length + 1] == b"\n"  # but for the end of the line
        assert len(recording.texts) == complete + is_whole
        assert recording.is_cut == (not is_whole and WHOLE[length - 1 : length] != b"\n")


def test_empty_lines_are_passed_over_and_still_counted() -> None:
    recording = parse_recording(WHOLE.replace(b"\n", b"\n\n", 2), "x.jsonl")
    assert list(recording.lines) == [3, *range(5, 13)]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "x.jsonl: is empty"),
        (b" \n", "x.jsonl: line 1: is not JSON"),
        (b'{"recording":1', "x.jsonl: line 1: is cut off"),
        (b"hello\n", "x.jsonl: line 1: is not JSON"),
        (b'{"type":"ping"}\n', 'x.jsonl: line 1: is not the first line of a recording, which begins {"recording":1'),
        (b"[]\n", "x.jsonl: line 1: expected a table (object), got a list"),
        (b'{"recording":2}\n', "x.jsonl: line 1.recording: is version 2 of the format"),
        (b'{"recording":1}\n{"at":0,"by":"us"}\n', "x.jsonl: line 2: a line has one of frame, text,"),
        (b'{"recording":1}\n{"at":0,"by":"us","frame":{},"text":""}\n', "x.jsonl: line 2: a line has one of"),
        (b'{"recording":1}\n{"at":0,"by":"me","text":""}\n', 'x.jsonl: line 2.by: expected one of "agent", "us"'),
        (b'{"recording":1}\n{"at":-1,"by":"us","text":""}\n', "x.jsonl: line 2.at: must be 0 or more"),
        (b'{"recording":1}\n{"by":"us","text":""}\n', "x.jsonl: line 2.at: is required and missing"),
        (
            b'{"recording":1}\n{"at":0,"by":"us","fame":{}}\n',
            'x.jsonl: line 2.fame: is not known; did you mean "frame"',
        ),
        (b'{"recording":1}\n{"at":0,"end":"x"}\n{"at":0,"by":"us","text":""}\n', "line 3: stands behind the end"),
        (b'{"recording":1}\n\xff\n', "x.jsonl: line 2: is not JSON"),
        (b'{"recording":1}\n{"at":0,"lost":-3}\n', "x.jsonl: line 2.lost: must be 0 or more"),
        (b'{"recording":1}\n{"at":0,"by":"us","left_out":-3}\n', "x.jsonl: line 2.left_out: must be 0 or more"),
    ],
)
def test_what_is_wrong_is_told_by_the_line(content: bytes, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_recording(content, "x.jsonl")
    assert problem in str(caught.value)


def test_all_that_is_wrong_is_told_but_not_without_end(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"recording":1}\n' + b"?\n" * 100)
    with pytest.raises(ConfigurationError) as caught:
        read_recording(path)
    assert 3 < len(caught.value.problems) < 50
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_recording(tmp_path / "none.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(ConfigurationError, match="cannot be read: it is no regular file"):
        read_recording(tmp_path / "pipe.jsonl")
