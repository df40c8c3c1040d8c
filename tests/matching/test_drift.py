"""Every kind of drift is found, each in a table's row, and none after a fresh push."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from convaid.config import parse_configuration
from convaid.matching.findings import Kind
from convaid.matching.matching import find_findings
from convaid.matching.view import PlatformAgent, PlatformView
from convaid.rest import PlatformTool

from .workspace import AGENT, TOOLS, Bench, edit_parameter, make_plugins, open_bench

Drift = Callable[[Bench], Awaitable[None]]

GERMAN = """
[conversations.main]
agent_id = "agent_demo"
overrides.language = "de"
"""
EXTRA_BODY = """
[conversations.main]
agent_id = "agent_demo"
custom_llm_extra_body = {a = 1}
"""
TWO = """
[conversations.main]
agent_id = "agent_demo"
[conversations.other]
agent_id = "agent_nobody"
"""
VOICE = """
[conversations.main]
agent_id = "agent_demo"
audio = "wav"
wav.speaker = "out.wav"
"""


def tool(of: str, /, **changes: Any) -> Drift:
    """Somebody changes a tool on the dashboard."""

    async def drift(bench: Bench) -> None:
        await bench.edit_tool(of, **changes)

    return drift


def parameter(name: str, /, **changes: Any) -> Drift:
    """Somebody changes a parameter of set_lamps."""

    async def drift(bench: Bench) -> None:
        parameters = (await bench.find_tool("set_lamps")).config["parameters"]
        await bench.edit_tool("set_lamps", parameters=edit_parameter(parameters, name, **changes))

    return drift


def lamp(**changes: Any) -> Drift:
    """Somebody changes a lamp's level, in the list of set_lamps."""

    async def drift(bench: Bench) -> None:
        parameters = (await bench.find_tool("set_lamps")).config["parameters"]
        items = edit_parameter(parameters["properties"]["lamps"]["items"], "level", **changes)
        await bench.edit_tool("set_lamps", parameters=edit_parameter(parameters, "lamps", items=items))

    return drift


def required(*names: str) -> Drift:
    """Somebody changes which parameters of set_lamps are required."""

    async def drift(bench: Bench) -> None:
        parameters = (await bench.find_tool("set_lamps")).config["parameters"]
        await bench.edit_tool("set_lamps", parameters={**parameters, "required": list(names)})

    return drift


def rename_parameter(old: str, new: str) -> Drift:
    async def drift(bench: Bench) -> None:
        parameters = (await bench.find_tool("set_lamps")).config["parameters"]
        properties = {new if name == old else name: node for name, node in parameters["properties"].items()}
        names = [new if name == old else name for name in parameters["required"]]
        await bench.edit_tool("set_lamps", parameters={**parameters, "properties": properties, "required": names})

    return drift


async def forget_fade(bench: Bench) -> None:
    parameters = (await bench.find_tool("set_lamps")).config["parameters"]
    properties = {name: node for name, node in parameters["properties"].items() if name != "fade"}
    await bench.edit_tool("set_lamps", parameters={**parameters, "properties": properties})


def forbid(**overrides: Any) -> Any:
    """Platform settings in which overrides are not allowed."""
    return {"overrides": {"conversation_config_override": overrides}}


def configure(text: str, **agent: Any) -> Drift:
    """The operator changes the configuration; the agent's owner, the agent."""

    async def drift(bench: Bench) -> None:
        bench.configure(text)
        if agent:
            await bench.edit_agent(**agent)

    return drift


def agent(**changes: Any) -> Drift:
    async def drift(bench: Bench) -> None:
        await bench.edit_agent(**changes)

    return drift


async def delete_tool(bench: Bench) -> None:
    await detach(bench)
    await bench.workspace.delete_tool((await bench.find_tool("blink")).id)


async def detach(bench: Bench) -> None:
    ids = [(await bench.find_tool(name)).id for name in ("set_lamps", "find_lamps")]
    await bench.edit_agent(conversation_config={"agent": {"prompt": {"tool_ids": ids}}})


async def attach_stranger(bench: Bench) -> None:
    await attach(bench, {"type": "client", "name": "set_lamp", "description": "d"})


async def attach_twin(bench: Bench) -> None:
    await attach(bench, (await bench.find_tool("blink")).config)


async def attach(bench: Bench, config: Any) -> None:
    created = await bench.workspace.create_tool(config)
    body = await bench.workspace.get_agent(AGENT)
    ids = [*body["conversation_config"]["agent"]["prompt"]["tool_ids"], created.id]
    await bench.edit_agent(conversation_config={"agent": {"prompt": {"tool_ids": ids}}})


async def make_webhook(bench: Bench) -> None:
    await delete_tool(bench)
    schema = {"url": "https://example.org/", "method": "GET"}
    await bench.workspace.create_tool({"type": "webhook", "name": "blink", "description": "d", "api_schema": schema})


FINDINGS: list[tuple[str, Drift, Kind, str, str, str]] = [
    # what happened, how, and the one finding: its kind, tool, place, and a piece of what it says
    ("deleted", delete_tool, "missing_on_platform", "blink", "", "does not have this tool"),
    ("a webhook instead", make_webhook, "missing_on_platform", "blink", "", "is a webhook tool"),
    ("a stranger's", attach_stranger, "missing_here", "set_lamp", "", 'there is "set_lamps"'),
    ("case", tool("blink", name="Blink"), "name_case", "blink", "", '"Blink"'),
    ("renamed", tool("blink", name="flash"), "missing_on_platform", "blink", "", 'is called "flash" on the platform'),
    ("case of a parameter", rename_parameter("mood", "Mood"), "name_case", "set_lamps", "mood", '"Mood"'),
    ("twice", attach_twin, "duplicate_name", "blink", "", "2 tools"),
    ("detached", detach, "not_attached", "blink", "", "does not have"),
    ("forgotten", forget_fade, "parameter_missing", "set_lamps", "fade", "never passes it"),
    ("lost", required("lamps"), "parameter_required", "set_lamps", "mood", "optional on the platform"),
    ("demanded", required("lamps", "mood", "fade"), "parameter_required", "set_lamps", "fade", "optional here"),
    ("type", parameter("fade", type="string"), "parameter_type", "set_lamps", "fade", "is number here, and string"),
    ("deep type", lamp(type="string"), "parameter_type", "set_lamps", "lamps[].level", "integer here, and string"),
    ("enum", parameter("mood", enum=["calm"]), "parameter_enum", "set_lamps", "mood", "calm, bright here"),
    ("no enum", parameter("mood", enum=None), "parameter_enum", "set_lamps", "mood", "any on the platform"),
    (
        "extra",
        parameter("room", type="string", description="d"),
        "parameter_extra",
        "set_lamps",
        "room",
        "asks the agent for it",
    ),
    (
        "extra and filled",
        parameter("room", type="string", constant_value="hall"),
        "parameter_extra",
        "set_lamps",
        "room",
        "with a constant",
    ),
    (
        "constant",
        parameter("mood", description="", enum=None, constant_value="calm"),
        "parameter_filled",
        "set_lamps",
        "mood",
        "constant",
    ),
    (
        "variable",
        parameter("mood", description="", enum=None, dynamic_variable="system__time"),
        "parameter_filled",
        "set_lamps",
        "mood",
        "system__time",
    ),
    (
        "omitted",
        parameter("fade", description="", is_omitted=True),
        "parameter_filled",
        "set_lamps",
        "fade",
        "leaves it out",
    ),
    (
        "by the system",
        lamp(description="", is_system_provided=True),
        "parameter_filled",
        "set_lamps",
        "lamps[].level",
        "by itself",
    ),
    ("no response", tool("blink", expects_response=False), "expects_response", "blink", "", "thrown away"),
    ("impatient", tool("find_lamps", response_timeout_secs=20), "response_timeout", "find_lamps", "", "30 s here"),
    ("secretive", tool("blink", tool_error_handling_mode="hide"), "error_mode", "blink", "", '"hide"'),
    ("secretive by default", tool("blink", tool_error_handling_mode="auto"), "error_mode", "blink", "", '"auto"'),
    (
        "silent agent",
        agent(conversation_config={"conversation": {"client_events": ["audio", "interruption"]}}),
        "client_events",
        "",
        "",
        "client_tool_call",
    ),
    (
        "override",
        configure(GERMAN, platform_settings=forbid(agent={"language": False})),
        "override_refused",
        "",
        "agent.language",
        "does not allow",
    ),
    (
        "extra body",
        configure(EXTRA_BODY),
        "override_refused",
        "",
        "custom_llm_extra_body",
        "does not allow",
    ),
    (
        "variable of the prompt",
        agent(conversation_config={"agent": {"prompt": {"prompt": "Help {{ customer }} at {{system__time}}."}}}),
        "variable_missing",
        "",
        "customer",
        "{{customer}}",
    ),
    (
        "private",
        agent(platform_settings={"auth": {"enable_auth": True}}),
        "auth_required",
        "",
        "",
        "private",
    ),
    (
        "text alone",
        configure(VOICE, conversation_config={"conversation": {"text_only": True}}),
        "text_only",
        "",
        "",
        "text alone",
    ),
]

NOTES: list[tuple[str, Drift, Kind, str, str]] = [
    ("words", tool("blink", description="Blink."), "description", "blink", ""),
    ("words of a parameter", parameter("mood", description="Mood"), "description", "set_lamps", "mood"),
    ("patient", tool("blink", response_timeout_secs=60), "setting", "blink", "response_timeout_secs"),
    ("mute", tool("find_lamps", pre_tool_speech="off"), "setting", "find_lamps", "pre_tool_speech"),
    ("summary", tool("blink", tool_error_handling_mode="summarized"), "setting", "blink", "tool_error_handling_mode"),
]


@pytest.mark.parametrize("row", FINDINGS, ids=[row[0] for row in FINDINGS])
async def test_drift_is_found(row: tuple[str, Drift, Kind, str, str, str], tmp_path: Path) -> None:
    _, drift, kind, name, place, words = row
    async with open_bench(tmp_path) as bench:
        assert await bench.match() == []
        await drift(bench)
        (finding,) = [finding for finding in await bench.match() if not finding.is_note]
    assert (finding.kind, finding.tool, finding.place) == (kind, name, place)
    assert words in finding.message
    assert finding.remedy
    assert finding.conversations == ("main",)


@pytest.mark.parametrize("row", NOTES, ids=[row[0] for row in NOTES])
async def test_what_differs_and_does_no_harm_is_a_note(row: tuple[str, Drift, Kind, str, str], tmp_path: Path) -> None:
    _, drift, kind, name, place = row
    async with open_bench(tmp_path) as bench:
        await drift(bench)
        (note,) = await bench.match()
    assert (note.kind, note.tool, note.place, note.is_note) == (kind, name, place, True)


async def test_an_agent_that_is_not_there_is_found_and_the_others_are_matched(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.configure(TWO)
        await detach(bench)
        findings = await bench.match()
    kinds = [(finding.kind, finding.conversations) for finding in findings]
    assert kinds == [("not_attached", ("main",)), ("agent_missing", ("other",))]


async def test_what_two_conversations_share_is_told_once(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.configure(TWO.replace("agent_nobody", "agent_demo"))
        await detach(bench)
        (finding,) = await bench.match()
    assert finding.conversations == ("main", "other")


async def test_the_remedy_says_whose_tool_it_is(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.edit_tool("blink", expects_response=False)
        (own,) = await bench.match()
        bench.record.tools.clear()
        (other,) = await bench.match()
    assert own.remedy.startswith("`convaid tools push`")
    assert other.remedy.startswith("`convaid tools push --adopt blink`")


async def test_the_remedy_for_what_is_called_otherwise_is_a_push_where_it_is_ours(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.edit_tool("blink", name="Blink")
        (own,) = await bench.match()
        bench.record.tools.clear()
        (other,) = await bench.match()
    assert own.remedy.startswith("`convaid tools push`")
    assert other.remedy.startswith("rename one of the two")


async def test_the_remedy_for_what_is_no_longer_offered_is_to_prune_it(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.plugins = make_plugins(*TOOLS[1:])
        (finding,) = await bench.match()
    assert (finding.kind, finding.tool) == ("missing_here", "set_lamps")
    assert finding.remedy.endswith("`convaid tools push --prune`")


def test_tools_that_were_not_found_do_not_fill_the_screen() -> None:
    ids = [f"tool_{number:03}" for number in range(200)]
    body = {"conversation_config": {"agent": {"prompt": {"tool_ids": ids}}}}
    conversations = parse_configuration('[conversations.main]\nagent_id = "agent_demo"\n', "test").conversations
    view = PlatformView("platform", (), (PlatformAgent(AGENT, "", body),))
    (unseen,) = [finding for finding in find_findings({}, conversations, view) if finding.kind == "tool_unseen"]
    assert unseen.message.endswith("tool_003, tool_004 and 195 more")


def test_every_kind_is_in_a_test() -> None:
    tested = {kind for _, _, kind, *_ in FINDINGS} | {kind for _, _, kind, *_ in NOTES}
    assert {*get_args(Kind)} - tested == {"agent_missing", "tool_unseen"}  # each has a test of its own


def test_a_tool_of_the_platform_shows_no_mocks() -> None:
    assert "sk_" not in repr(PlatformTool("t", {"name": "n"}, ["sk_secret"]))
