"""The notes' tools, called as an agent calls them: through the installed entry point, the lifespan and the room."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import convaid_notes
import pytest

from convaid.calls import open_tool_calls
from convaid.config import ToolsConfig
from convaid.plugins import load_plugins
from convaid.protocol.from_agent import ClientToolCall
from convaid.testing import CallTool


@pytest.fixture
def convaid_config(tmp_path: Path) -> dict[str, Any]:
    return {"plugins": {"notes": {"path": tmp_path / "deep" / "notes.sqlite"}}}


def test_adds_and_lists_the_newest_first(call_tool: CallTool) -> None:
    assert json.loads(call_tool("add_note", {"text": " milk "}).result) == {"number": 1}
    assert json.loads(call_tool("add_note", {"text": "bread"}).result) == {"number": 2}
    listed = json.loads(call_tool("list_notes").result)
    assert [(note["number"], note["text"]) for note in listed] == [(2, "bread"), (1, "milk")]
    assert len(json.loads(call_tool("list_notes", {"most": 1}).result)) == 1


def test_finds_whatever_the_case(call_tool: CallTool) -> None:
    call_tool("add_note", {"text": "ÖL für 100% der Räder"})
    call_tool("add_note", {"text": "Brot"})
    found = json.loads(call_tool("search_notes", {"words": "öl"}).result)
    assert [note["number"] for note in found] == [1]
    assert call_tool("search_notes", {"words": "0% DER"}).result != "[]"
    assert call_tool("search_notes", {"words": "_"}).result == "[]"


def test_deletes_for_good(call_tool: CallTool) -> None:
    call_tool("add_note", {"text": "milk"})
    assert call_tool("delete_note", {"number": 1}).result == "Deleted: milk"
    missing = call_tool("delete_note", {"number": 1})
    assert missing.is_error
    assert missing.result == "There is no note number 1. list_notes tells which there are."
    assert call_tool("list_notes").result == "[]"
    assert json.loads(call_tool("add_note", {"text": "bread"}).result) == {"number": 2}


def test_refuses_what_it_cannot_write(call_tool: CallTool) -> None:
    assert call_tool("add_note", {"text": "  "}).result.startswith("The note is empty.")
    assert call_tool("add_note", {"text": 5}).outcome == "invalid"


def test_many_at_once_are_all_kept(call_tool: CallTool) -> None:
    answers = [call_tool.start("add_note", {"text": f"note {number}"}) for number in range(50)]
    assert not any(answer.wait().is_error for answer in answers)
    listed = json.loads(call_tool("list_notes", {"most": 100}).result)
    assert sorted(note["text"] for note in listed) == sorted(f"note {number}" for number in range(50))


async def test_keeps_notes_from_one_run_to_the_next(tmp_path: Path) -> None:
    settings = {"notes": {"path": str(tmp_path / "notes.sqlite")}}
    plugins = load_plugins(settings, entry_points=entry_points(group="convaid", name="notes"))
    answers = []
    for call in ClientToolCall("add_note", "call_1", {"text": "milk"}), ClientToolCall("list_notes", "call_2", {}):
        async with open_tool_calls(plugins, ToolsConfig()) as tool_calls:
            answers.append(await tool_calls.call(call, "main", "conv_1"))
    assert "milk" in answers[1].result


class TestADatabaseThatCannotBeOpened:
    @pytest.fixture
    def convaid_config(self, tmp_path: Path) -> dict[str, Any]:
        return {"plugins": {"notes": {"path": tmp_path}}}

    def test_is_said(self, call_tool: CallTool, caplog: pytest.LogCaptureFixture) -> None:
        answer = call_tool("list_notes")
        assert answer.is_error
        assert "out of service" in answer.result
        (record, *_) = caplog.get_records("setup")
        assert "unable to open database file" in str(record.exc_info)


def test_default_path_follows_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/convaid:/var/lib/other")
    assert convaid_notes.NotesSettings().path == Path("/var/lib/convaid/convaid-notes.sqlite")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    assert convaid_notes.NotesSettings().path == Path("/home/me/state/convaid-notes.sqlite")
