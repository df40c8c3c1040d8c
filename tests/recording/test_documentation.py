"""docs/recordings.md cannot lie: its table is that of the lines, its limits are kept, its examples are read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import attrs
import pytest

from convaid.recording import CloseLine, EndLine, FrameLine, Header, LostLine, Redactor, file
from convaid.recording.lines import Line, parse_recording
from convaid.recording.redaction import SHORTEST_VALUE
from convaid.testing.recorded import check_result

PAGE = (Path(__file__).parents[2] / "docs" / "recordings.md").read_text()


@pytest.mark.parametrize(
    ("row", "shape"),
    [("the first", Header), ("a frame", FrameLine), ("a close", CloseLine), ("a gap", LostLine), ("the last", EndLine)],
)
def test_the_table_has_the_keys_of_each_line(row: str, shape: type[Header | Line]) -> None:
    (keys,) = re.findall(rf"^\| {row} \| (.*?) \|", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", keys)) == {field.name for field in attrs.fields(shape)}


def test_the_limits_are_those_of_the_code() -> None:
    assert f"at most {file.LARGEST >> 20} MiB, all together at most {file.KEPT >> 20} MiB" in PAGE
    assert (file.LONGEST_FRAME, SHORTEST_VALUE) == (2**20, 4)
    assert "more than a million characters" in PAGE
    assert "whole words of at least four characters" in PAGE


def test_what_the_page_says_looks_like_a_secret_does() -> None:
    (row,) = re.findall(r"^\| what looks like a key or a signature, in any text: (.*?) \|", PAGE, re.MULTILINE)
    shapes = re.findall(r"`(.*?)`", row)
    assert len(shapes) == 6
    for shape in shapes:
        text = shape.replace("…", "0123456789abcdef")
        assert "***" in Redactor().redact_text(text), shape


def test_the_names_of_secrets_that_the_page_has_are_some() -> None:
    (names,) = re.findall(r"under a secret's name, such as (.*?);", PAGE)
    for name in re.findall(r"`(\w+)`", names):
        frame = {"type": "x", "y": {name: "value"}}
        assert Redactor().redact_frame(frame)["y"] == {name: "***"}


def test_the_example_is_a_line() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    recording = parse_recording(b'{"recording":1}\n' + example.encode(), "x.jsonl")
    assert list(check_result(json.loads(example)["frame"], "x")) == []
    assert len(recording.lines) == 1


def test_an_expectation_of_the_page_is_json() -> None:
    for text in re.findall(r'`(\{"(?:pattern|any)".*?\})`', PAGE):
        assert json.loads(text)
