"""``convaid history``: what it prints, and how it fails."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from convaid import events
from convaid.cli.history import history
from convaid.config.places import find_state_folder
from convaid.history import reading
from convaid.history.charges import Charge
from convaid.history.file import FILE_NAME
from convaid.history.reading import find_history_path
from convaid.protocol.from_agent import AgentResponseCorrection

from ..cli.running import run_convaid
from .recorded import agent, called, connected, cut, ended, heard, open_recorder, read_all, user


@pytest.fixture
def path() -> Path:
    return find_state_folder() / FILE_NAME


@pytest.fixture
async def talked(path: Path) -> Path:
    """Three sessions: two of main, and one of kitchen that goes on."""
    async with open_recorder(path) as made:
        made.note(connected(1), user("Open *it*."), called({"door": "front", "wide": True}, "open"))
        made.note(agent("It is open now.", 2), cut(events.Heard(2, 0.42, 0.9, "It is o")))
        made.note(heard(AgentResponseCorrection("It is open now.", "It is", 2)))
        session = made.recorder.observe(ended(1))
        assert session is not None
        made.recorder.note_charge(session, Charge(12, 137, {"tier": "pro"}))
        made.note(connected(2), user("\x1b[31mred"), ended(2), connected(31, "kitchen"))
        await made.wait_written()
    return path


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(history, arguments, standalone_mode=False)
    if result.exception is not None:
        assert code, result.exception
        return str(getattr(result.exception, "message", result.exception))
    return result.output


async def test_it_lists_the_latest_first(talked: Path) -> None:
    lines = run().splitlines()
    assert lines[0].split() == ["BEGAN", "CONVERSATION", "ID", "LASTED", "TURNS", "CALLS", "COST", "ENDED"]
    assert [line.split()[2:4] for line in lines[1:]] == [["kitchen", "conv_31"], ["main", "conv_2"], ["main", "conv_1"]]
    assert lines[1].endswith("no end is recorded")
    assert lines[3].split()[4:] == ["12", "s", "2", "1", "137", "link", "lost"]
    assert run("list", "-n", "kitchen") == f"{lines[0]}\n{lines[1]}\n".replace("kitchen     ", "kitchen     ")
    assert run("list", "-n", "cellar") == "nothing is kept of cellar\n"
    (latest,) = json.loads(run("list", "-l", "1", "--json"))
    assert (latest["conversation"], latest["cause"]) == ("kitchen", None)
    assert "id" not in latest


async def test_it_shows_one_as_chat_does(talked: Path) -> None:
    shown = run("show", "conv_1").splitlines()
    assert shown[0].startswith("main: conv_1, ")
    assert [line[9:].partition("  [")[0] for line in shown[1:-1]] == [
        "  open_door(door='front', wide=True) -> open",
        "user: Open *it*.",
        'agent, heard according to the platform: It is (cut off here after 0.4 s: "It is o")',
    ]
    assert shown[-1] == "link lost after 12.5 s, billed 12 s, cost 137 credits: gone"
    assert "\\x1b[31mred" in run("show", "_2")
    assert run("show").splitlines() == [
        run("show", "conv_31").splitlines()[0],
        "no end is recorded: it goes on, or its daemon was cut off",
    ]
    lines = json.loads(run("show", "conv_1", "--json"))["lines"]
    assert lines[0]["arguments"] == {"door": "front", "wide": True}
    assert (lines[2]["text"], lines[2]["original"]) == ("It is", "It is open now.")
    assert (lines[2]["heard"], lines[2]["heard_seconds"]) == ("It is o", 0.42)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "conv_77"), 'no conversation with the id "conv_77" is kept; did you mean conv_'),
        (("show", "xyz"), "`convaid history` lists what there is"),
        (("show", ""), "`convaid history` lists what there is"),
        (("show", "conv_3%"), 'no conversation with the id "conv_3%"'),
        (("show", "conv_"), '"conv_" may be one of several: conv_1, conv_2, conv_31'),
        (("purge",), "say what is to be forgotten: --older-than DAYS"),
        (("purge", "--all", "-n", "main"), "say what is to be forgotten"),
        (("purge", "--older-than", "-1"), "not in the range"),
    ],
)
async def test_what_cannot_be_is_told(talked: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in run(*arguments, code=1)
    assert len(read_all(talked)) == 3


async def test_it_exports_all(talked: Path) -> None:
    exported = json.loads(run("export"))
    assert [each["conversation_id"] for each in exported] == ["conv_1", "conv_2", "conv_31"]
    assert exported[0]["charging"] == {"tier": "pro"}
    lines = run("export", "--jsonl", "-n", "main").splitlines()
    assert [json.loads(line) for line in lines] == exported[:2]
    assert json.loads(run("export", "-n", "nobody")) == []
    markdown = run("export", "--markdown", "-n", "main")
    assert "## main, " in markdown
    assert "**user**: Open \\*it\\*." in markdown
    assert '**agent**: It is (was about to say: It is open now.) (cut off here after 0.4 s: "It is o")' in markdown
    assert 'tool `open_door {"door":"front","wide":true}` ok in 0.250 s: open' in markdown


async def test_it_forgets(talked: Path) -> None:
    assert run("purge", "--older-than", "1") == "0 conversations forgotten\n"
    assert run("purge", "--conversation", "main") == "2 conversations forgotten\n"
    assert [each.session.conversation for each in read_all(talked)] == ["kitchen"]
    assert b"Open *it*" not in find_bytes(talked)
    assert run("purge", "--all") == "1 conversation forgotten\n"
    assert run() == "no conversation is kept\n"
    assert run("show", code=1) == "no conversation is kept"


async def test_it_forgets_beside_a_daemon(path: Path) -> None:
    async with open_recorder(path) as made:
        made.note(connected(1), user("one"))
        await made.wait_written()
        assert run("purge", "--all") == "1 conversation forgotten\n"
        made.note(user("two"))
        await made.wait_written()
        (transcript,) = read_all(path)
        assert [line.text for line in transcript.lines if hasattr(line, "text")] == ["two"]


def find_bytes(path: Path) -> bytes:
    return b"".join(each.read_bytes() for each in path.parent.iterdir())


def test_there_is_none_yet(tmp_path: Path) -> None:
    result = run_convaid("history", "--file", str(tmp_path / "none.sqlite"))
    assert result.returncode == 1
    assert result.stderr.startswith(f"convaid: there is no history yet at {tmp_path}/none.sqlite: `convaid run` writes")
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE a (b)").connection.close()
    assert "file is not a database" in run("--file", str(tmp_path / "text"), code=1)
    assert "is the database of another program" in run("--file", str(tmp_path / "other"), code=1)


def test_it_is_found_where_the_systems_daemon_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SYSTEM_FOLDER", tmp_path)
    assert find_history_path() == find_state_folder() / FILE_NAME
    for folder in ("convaid-door", "convaid"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / FILE_NAME).write_text("")
        assert find_history_path() == tmp_path / folder / FILE_NAME
