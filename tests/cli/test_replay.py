"""``convaid replay`` and `convaid chat --record`: what they write and print, and their exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.testing.recordings import Story

from .running import run_convaid

SCENARIO = """
agent.first_message = "Hello."  # it is waited for

[[steps]]
expect_text = { matches = "note" }
[[steps]]
call = { tool = "add_note", parameters = { text = "milk" } }
[[steps]]
call = { tool = "current_time", parameters = { zone = "Nowhere" } }
[[steps]]
say = "Noted: {result}"
[[steps]]
end = {}
"""


def make_story(number: int) -> bytes:
    """A recording in which the first note had this number."""
    story = Story.begin().call("add_note", {"text": "milk"}).result(f'{{"number":{number}}}')
    return story.call("current_time", {"zone": "Nowhere"}).result({"any": True}, is_error=True).close().write()


def test_a_conversation_is_recorded_and_replayed(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    arguments = ("chat", "--scenario", "scenario.toml", "--record", "deep/evening.jsonl")
    result = run_convaid(*arguments, folder=tmp_path, text="Note: milk\n", STATE_DIRECTORY=str(tmp_path / "state"))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "deep" / "evening.jsonl").stat().st_mode & 0o777 == 0o600
    result = run_convaid("replay", "deep/evening.jsonl", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("same  deep/evening.jsonl  (")
    assert result.stdout.rstrip().endswith(", 2 calls)")


def test_what_differs_is_told_and_accepted(tmp_path: Path) -> None:
    path = tmp_path / "evening.jsonl"
    path.write_bytes(make_story(7))
    result = run_convaid("replay", "evening.jsonl", folder=tmp_path)
    assert result.returncode == 1
    first, *rest = result.stdout.splitlines()
    assert first.startswith("DIFFERS  evening.jsonl  (")
    assert rest == [
        "    line 5: the result of add_note is another one",
        '        recorded: {"number":7}',
        '        now:      {"number":1}',
    ]
    result = run_convaid("replay", "evening.jsonl", "--update", "--json", folder=tmp_path)
    assert result.returncode == 0
    told = json.loads(result.stdout)
    assert told["same"] is False
    assert told["differences"] == [
        {
            "line": 5,
            "message": "the result of add_note is another one",
            "recorded": '{"number":7}',
            "now": '{"number":1}',
            "is_accepted": True,
        }
    ]
    assert [call["outcome"] for call in told["calls"]] == ["ok", "error"]
    assert path.read_bytes() == make_story(1)


def test_a_recording_can_be_made_a_scenario_and_both_are_tests(tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "evening.jsonl").write_bytes(make_story(1))
    result = run_convaid("replay", "recordings/evening.jsonl", "--scenario", "evening.toml", folder=tmp_path)
    assert (result.returncode, result.stdout) == (0, "written: evening.toml; `convaid test evening.toml` runs it\n")
    result = run_convaid("test", "evening.toml", "recordings", folder=tmp_path)
    assert result.returncode == 0, result.stdout
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [
        ["passed", "evening.toml"],
        ["passed", "recordings/evening.jsonl"],
    ]
    assert "2 passed" in lines[-1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "story.jsonl: cannot be read: No such file or directory"),
        ('{"recording":1}\n{"at":0,"by":"you","text":""}\n', "story.jsonl: line 2.by: expected one of"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_of_its_own(tmp_path: Path, content: str | None, problem: str) -> None:
    if content is not None:
        (tmp_path / "story.jsonl").write_text(content)
    result = run_convaid("replay", "story.jsonl", folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(problem)
    assert "Traceback" not in result.stderr


def test_what_cannot_be_accepted_still_differs_and_test_tells_of_all(tmp_path: Path) -> None:
    story = Story.begin().call("current_time").result({"pattern": "noon"}).call("sing").result("la")
    (tmp_path / "story.jsonl").write_bytes(story.call("add_note", {"text": "x"}).result('{"number":1}').close().write())
    (tmp_path / "bad.jsonl").write_text("no recording\n")
    result = run_convaid("test", "story.jsonl", "bad.jsonl", folder=tmp_path)
    assert result.returncode == 1
    assert "FAILED  story.jsonl" in result.stdout
    assert "    line 5: the result of current_time: expected what matches 'noon', got " in result.stdout
    assert "    line 7: the result of sing is another one" in result.stdout
    assert "bad.jsonl: line 1: is not JSON" in result.stdout
    assert "add_note" in result.stdout
    result = run_convaid("replay", "story.jsonl", "--update", folder=tmp_path)
    assert result.returncode == 1
    assert result.stdout.startswith("DIFFERS")
    assert result.stdout.count("line ") == 2


def test_a_line_that_was_cut_off_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "story.jsonl").write_bytes(Story.begin().close().write() + b'{"at":1,"by":"ag')
    result = run_convaid("replay", "story.jsonl", folder=tmp_path)
    assert (result.returncode, "the last line is cut off" in result.stdout) == (0, True)


def test_what_would_be_lost_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "story.jsonl").write_bytes(Story.begin().close().write())
    (tmp_path / "x.toml").touch()
    result = run_convaid("replay", "story.jsonl", "--scenario", "x.toml", folder=tmp_path)
    assert (result.returncode, "there is a file x.toml already" in result.stderr) == (2, True)


def test_a_configuration_that_cannot_be_used_is_no_difference(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[plugins.notes]\npaht = 1\n")
    (tmp_path / "story.jsonl").write_bytes(Story.begin().close().write())
    assert run_convaid("replay", "story.jsonl", folder=tmp_path).returncode == 78


def test_chat_writes_over_recordings_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[conversations.main]\nagent_id = "agent_demo"\n')
    result = run_convaid("chat", "--record", "config.toml", folder=tmp_path)
    assert (result.returncode, "is there already, and no recording" in result.stderr) == (2, True)
    assert (tmp_path / "config.toml").read_text().startswith("[conversations.main]")
    os.mkfifo(tmp_path / "pipe.jsonl")
    result = run_convaid("chat", "--record", "pipe.jsonl", folder=tmp_path)
    assert (result.returncode, "is there already, and no recording" in result.stderr) == (2, True)
