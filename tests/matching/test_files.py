"""The platform as files have it: a folder of the official command line, and a snapshot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convaid.config import parse_configuration
from convaid.errors import ConfigurationError
from convaid.matching.findings import Finding
from convaid.matching.folder import export_tools, load_folder
from convaid.matching.matching import find_findings
from convaid.matching.snapshot import load_snapshot, write_snapshot
from convaid.matching.view import PlatformView, find_response_timeouts, list_tools

from .workspace import AGENT, MAIN, TOOLS, Bench, make_plugins, open_bench

CONFIGURATION = parse_configuration(MAIN, "test")
OFFERED = list_tools(make_plugins(*TOOLS), CONFIGURATION.tools)
NOTE = "the folder does not have the agent"


def match(view: PlatformView) -> list[Finding]:
    return find_findings(OFFERED, CONFIGURATION.conversations, view)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


async def pull(bench: Bench, folder: Path) -> None:
    """Write the folder that the official command line pulls: tools and the agent."""
    view = await bench.look()
    entries = []
    for tool in view.tools:
        write_json(folder / "tool_configs" / f"{tool.name}.json", tool.config)
        entries.append({"type": tool.config["type"], "config": f"tool_configs/{tool.name}.json", "id": tool.id})
    write_json(folder / "tools.json", {"tools": entries})
    (agent,) = view.agents
    body = {name: agent.body[name] for name in ("conversation_config", "name", "platform_settings", "workflow")}
    write_json(folder / "agent_configs" / "Demo.json", body)
    write_json(folder / "agents.json", {"agents": [{"config": "agent_configs/Demo.json", "id": agent.id}]})


async def test_a_pulled_folder_is_matched_as_the_platform_is(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await pull(bench, tmp_path)
        assert match(load_folder(tmp_path)) == []
        await bench.edit_tool("blink", expects_response=False)
        await pull(bench, tmp_path)
    (finding,) = match(load_folder(tmp_path))
    assert finding.kind == "expects_response"
    assert "`convaid tools export`" in finding.remedy


async def test_a_folder_without_agents_says_what_is_not_checked(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await pull(bench, tmp_path)
    (tmp_path / "agents.json").unlink()
    (note,) = match(load_folder(tmp_path))
    assert (note.kind, note.is_note) == ("agent_missing", True)
    assert "elevenlabs agents pull" in note.remedy
    (tmp_path / "tool_configs" / "blink.json").write_text('{"type": "client", "name": "Blink"}')
    assert [finding.kind for finding in match(load_folder(tmp_path))] == ["name_case", "agent_missing"]


async def test_tools_that_a_folder_lacks_are_named(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await pull(bench, tmp_path)
        tool_id = (await bench.find_tool("blink")).id
    index = json.loads((tmp_path / "tools.json").read_text())
    index["tools"] = [entry for entry in index["tools"] if entry["id"] != tool_id]
    write_json(tmp_path / "tools.json", index)
    missing, unseen = match(load_folder(tmp_path))
    assert (missing.kind, missing.tool) == ("missing_on_platform", "blink")
    assert (unseen.kind, unseen.is_note) == ("tool_unseen", True)
    assert tool_id in unseen.message
    assert "elevenlabs tools pull" in unseen.remedy


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "has no tools.json; `elevenlabs tools pull --all` makes one"),
        ({"tools.json": "{"}, "is not JSON"),
        ({"tools.json": "[]"}, "is not a JSON object"),
        ({"tools.json": '{"tools": {}}'}, "tools: is not a list"),
        ({"tools.json": '{"tools": [{"type": "client"}]}'}, r"tools\[0\]: does not name a file"),
        ({"tools.json": '{"tools": [{"config": "../x.json"}]}'}, r"tools\[0\]: does not name a file"),
        ({"tools.json": '{"tools": [{"config": "a\\u0000b"}]}'}, r"tools\[0\]: does not name a file"),
        ({"tools.json": "[" * 500 + "]" * 500}, "is nested too deeply"),
        ({"tools.json": '\ufeff{"tools": []}'}, "byte order mark"),
        ({"tools.json": '{"tools": [{"config": "a.json"}]}'}, "a.json: cannot be read"),
        ({"tools.json": '{"tools": [{"config": "a.json"}]}', "a.json": "{}"}, "is not a tool's configuration"),
        ({"tools.json": '{"tools": []}', "agents.json": "3"}, "agents.json: is not a JSON object"),
    ],
)
def test_a_folder_that_is_none_is_an_error_of_its_file(files: dict[str, str], complaint: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=complaint):
        load_folder(tmp_path)


def test_the_folder_of_the_configurations_alone_is_recognised(tmp_path: Path) -> None:
    write_json(tmp_path / "tools.json", {"tools": []})
    (tmp_path / "tool_configs").mkdir()
    with pytest.raises(ConfigurationError, match=f"is it {tmp_path}"):
        load_folder(tmp_path / "tool_configs")


def test_an_export_is_complete_and_comes_to_the_same_again(tmp_path: Path) -> None:
    folder = tmp_path / "agents"
    done = export_tools(folder, OFFERED, {"blink": "tool_1"})
    assert done[0] == "set_lamps: added (tool_configs/set_lamps.json)"
    index = (folder / "tools.json").read_text()
    assert json.loads(index)["tools"][2] == {"type": "client", "config": "tool_configs/blink.json", "id": "tool_1"}
    view = load_folder(folder)
    assert [finding.kind for finding in match(view)] == ["agent_missing"]
    assert all("is up to date" in line for line in export_tools(folder, OFFERED, {}))
    assert (folder / "tools.json").read_text() == index


def test_an_export_leaves_alone_what_others_have_written(tmp_path: Path) -> None:
    hook = {"type": "webhook", "name": "blink", "url": "https://example.org"}
    theirs = {"type": "client", "name": "blink", "description": "Old", "dynamic_variables": {"a": 1}, "new_field": True}
    write_json(tmp_path / "tool_configs" / "hook.json", hook)
    write_json(tmp_path / "tool_configs" / "Blink-1.json", theirs)
    write_json(tmp_path / "tool_configs" / "set_lamps.json", {"a": "stray"})
    entries = [
        {"type": "webhook", "config": "tool_configs/hook.json", "id": "tool_h"},
        {"type": "client", "config": "tool_configs/Blink-1.json", "id": "tool_b", "more": 1},
    ]
    write_json(tmp_path / "tools.json", {"tools": entries, "kept": True})
    done = export_tools(tmp_path, OFFERED, {"blink": "tool_other"})
    assert "blink: updated (tool_configs/Blink-1.json)" in done
    assert "set_lamps: added (tool_configs/set_lamps-1.json)" in done
    index = json.loads((tmp_path / "tools.json").read_text())
    assert index["tools"][:2] == entries
    assert index["kept"] is True
    assert json.loads((tmp_path / "tool_configs" / "hook.json").read_text()) == hook
    blink = json.loads((tmp_path / "tool_configs" / "Blink-1.json").read_text())
    assert (blink["description"], blink["new_field"], blink["dynamic_variables"]) == ("Blink once.", True, {"a": 1})
    assert json.loads((tmp_path / "tool_configs" / "set_lamps.json").read_text()) == {"a": "stray"}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/snapshot\.json'$"):
        write_snapshot(tmp_path / "nowhere" / "snapshot.json", PlatformView("platform", (), ()))


async def test_an_export_gives_nothing_to_an_agent(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.edit_agent(conversation_config={"agent": {"prompt": {"tool_ids": []}}})
        await pull(bench, tmp_path)
    findings = match(load_folder(tmp_path))
    assert {finding.kind for finding in findings} == {"not_attached"}
    assert "export" not in findings[0].remedy


def test_an_export_refuses_a_folder_with_a_tool_twice(tmp_path: Path) -> None:
    for number in (1, 2):
        write_json(tmp_path / f"{number}.json", {"type": "client", "name": "blink"})
    entries = [{"type": "client", "config": f"{number}.json"} for number in (1, 2)]
    write_json(tmp_path / "tools.json", {"tools": entries})
    with pytest.raises(ConfigurationError, match='has the tool "blink" twice'):
        export_tools(tmp_path, OFFERED, {})


async def test_a_snapshot_is_matched_as_the_platform_is_and_holds_no_secrets(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    async with open_bench(tmp_path) as bench:
        await bench.edit_agent(
            conversation_config={
                "agent": {
                    "prompt": {"prompt": "A secret plan for {{customer}}."},
                    "dynamic_variables": {"dynamic_variable_placeholders": {"customer": "Ada", "secret__a": "sk_1"}},
                }
            }
        )
        constant = {"type": "object", "properties": {"pin": {"type": "string", "constant_value": "sk_2"}}}
        await bench.edit_tool("blink", response_timeout_secs=7, parameters=constant)
        live = await bench.look()
        write_snapshot(path, live)
    text = path.read_text()
    assert not [word for word in ("Ada", "sk_1", "sk_2", "secret plan") if word in text]
    view = load_snapshot(path)
    assert [finding.describe() for finding in match(view)] == [finding.describe() for finding in match(live)]
    assert find_response_timeouts(view, AGENT) == {"set_lamps": 20, "find_lamps": 35, "blink": 7}
    write_snapshot(path, view)
    assert path.read_text() == text


async def test_a_snapshot_finds_what_the_agent_wants(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    async with open_bench(tmp_path) as bench:
        await bench.edit_agent(
            conversation_config={
                "agent": {"prompt": {"prompt": "For {{customer}}."}},
                "conversation": {"client_events": ["audio"]},
            },
            platform_settings={"auth": {"enable_auth": True}},
        )
        write_snapshot(path, await bench.look())
    assert [finding.kind for finding in match(load_snapshot(path))] == [
        "client_events",
        "variable_missing",
        "auth_required",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is not JSON"),
        ("{}", "is not a snapshot"),
        ('{"convaid_snapshot": 2}', "is not a snapshot"),
        ('{"convaid_snapshot": 1}', "is damaged"),
        ('{"convaid_snapshot": 1, "tools": [{"id": 1, "tool_config": {}}], "agents": []}', "is damaged"),
        (
            '{"convaid_snapshot": 1, "tools": [], "agents": [{"agent_id": "a", "branch_id": "", "agent": 3}]}',
            "is damaged",
        ),
    ],
)
def test_a_snapshot_that_is_none_is_an_error_of_its_file(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=complaint):
        load_snapshot(path)


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ({"expects_response": True, "response_timeout_secs": 9}, 9),
        ({"expects_response": True}, 20),
        ({"expects_response": True, "response_timeout_secs": "9"}, 20),
        ({"expects_response": True, "response_timeout_secs": -1}, None),
        ({"expects_response": True, "response_timeout_secs": 9, "execution_mode": "async"}, None),
        ({"response_timeout_secs": 9}, None),
    ],
)
def test_how_long_the_platform_waits(config: dict[str, Any], seconds: float | None, tmp_path: Path) -> None:
    tool = {"id": "tool_1", "tool_config": {"type": "client", "name": "a", **config}}
    agent = {"conversation_config": {"agent": {"prompt": {"tool_ids": ["tool_1", "tool_2"]}}}}
    agents = [{"agent_id": "agent_a", "branch_id": "b", "agent": agent}]
    path = tmp_path / "snapshot.json"
    write_json(path, {"convaid_snapshot": 1, "tools": [tool], "agents": agents})
    view = load_snapshot(path)
    assert find_response_timeouts(view, "agent_a", "b") == {"a": seconds}
    assert find_response_timeouts(view, "agent_a") == {}
