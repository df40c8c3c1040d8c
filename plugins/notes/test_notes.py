"""The notes' tools, called as an agent calls them: through the installed entry point, the lifespan and the room."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import convaid_notes
import pytest
import trio

from convaid.calls import ToolCalls, open_tool_calls
from convaid.config import ToolsConfig
from convaid.events import ToolAnswer
from convaid.plugins import Plugins, load_plugins
from convaid.protocol.from_agent import ClientToolCall


def load_notes(path: Path) -> Plugins:
    return load_plugins({"notes": {"path": str(path)}}, entry_points=entry_points(group="convaid", name="notes"))


@pytest.fixture
async def tool_calls(tmp_path: Path) -> AsyncIterator[ToolCalls]:
    async with open_tool_calls(load_notes(tmp_path / "deep" / "notes.sqlite"), ToolsConfig()) as tool_calls:
        yield tool_calls


async def ask(tool_calls: ToolCalls, tool_name: str, **parameters: Any) -> ToolAnswer:
    with trio.fail_after(10):
        return await tool_calls.call(ClientToolCall(tool_name, "call_1", parameters), "main", "conv_1")


async def test_adds_and_lists_the_newest_first(tool_calls: ToolCalls) -> None:
    assert json.loads((await ask(tool_calls, "add_note", text=" milk ")).result) == {"number": 1}
    assert json.loads((await ask(tool_calls, "add_note", text="bread")).result) == {"number": 2}
    listed = json.loads((await ask(tool_calls, "list_notes")).result)
    assert [(note["number"], note["text"]) for note in listed] == [(2, "bread"), (1, "milk")]
    assert len(json.loads((await ask(tool_calls, "list_notes", most=1)).result)) == 1


async def test_finds_whatever_the_case(tool_calls: ToolCalls) -> None:
    await ask(tool_calls, "add_note", text="ÖL für 100% der Räder")
    await ask(tool_calls, "add_note", text="Brot")
    found = json.loads((await ask(tool_calls, "search_notes", words="öl")).result)
    assert [note["number"] for note in found] == [1]
    assert (await ask(tool_calls, "search_notes", words="0% DER")).result != "[]"
    assert (await ask(tool_calls, "search_notes", words="_")).result == "[]"


async def test_deletes_for_good(tool_calls: ToolCalls) -> None:
    await ask(tool_calls, "add_note", text="milk")
    assert (await ask(tool_calls, "delete_note", number=1)).result == "Deleted: milk"
    missing = await ask(tool_calls, "delete_note", number=1)
    assert missing.is_error
    assert missing.result == "There is no note number 1. list_notes tells which there are."
    assert (await ask(tool_calls, "list_notes")).result == "[]"
    assert json.loads((await ask(tool_calls, "add_note", text="bread")).result) == {"number": 2}


async def test_refuses_what_it_cannot_write(tool_calls: ToolCalls) -> None:
    assert (await ask(tool_calls, "add_note", text="  ")).result.startswith("The note is empty.")
    assert (await ask(tool_calls, "add_note", text=5)).outcome == "invalid"


async def test_many_at_once_are_all_kept(tool_calls: ToolCalls) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(lambda text: ask(tool_calls, "add_note", text=text), f"note {number}")
    listed = json.loads((await ask(tool_calls, "list_notes", most=100)).result)
    assert sorted(note["text"] for note in listed) == sorted(f"note {number}" for number in range(50))


async def test_keeps_notes_from_one_run_to_the_next(tmp_path: Path) -> None:
    plugins = load_notes(tmp_path / "notes.sqlite")
    async with open_tool_calls(plugins, ToolsConfig()) as tool_calls:
        await ask(tool_calls, "add_note", text="milk")
    async with open_tool_calls(plugins, ToolsConfig()) as tool_calls:
        assert "milk" in (await ask(tool_calls, "list_notes")).result


async def test_a_database_that_cannot_be_opened_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_tool_calls(load_notes(tmp_path), ToolsConfig()) as tool_calls:
        answer = await ask(tool_calls, "list_notes")
        assert [plugin.status for plugin in tool_calls.plugins] == ["broken"]
    assert answer.is_error
    assert "out of service" in answer.result
    assert "unable to open database file" in caplog.text


def test_default_path_follows_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/convaid:/var/lib/other")
    assert convaid_notes.NotesSettings().path == Path("/var/lib/convaid/convaid-notes.sqlite")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    assert convaid_notes.NotesSettings().path == Path("/home/me/state/convaid-notes.sqlite")
