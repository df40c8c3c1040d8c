"""Pushing: what it changes, what it leaves alone, and what it does when it is stopped half-way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from convaid import tool
from convaid.errors import ConfigurationError, LinkError
from convaid.matching.push import PushFailed, push_plan
from convaid.matching.record import RecordedTool, load_record, open_record
from convaid.rest import PlatformTool, Workspace

from .workspace import AGENT, blink, edit_parameter, make_plugins, open_bench, set_lamps

RECORDED = RecordedTool("tool_0", "created")


async def test_a_fresh_push_creates_attaches_and_completes_the_events(tmp_path: Path) -> None:
    async with open_bench(tmp_path, is_pushed=False) as bench:
        told = await bench.push()
        view = await bench.look()
        assert await bench.match() == []
        assert (await bench.plan()).steps == ()
    assert [line.split(":")[0] for line in told] == ["set_lamps", "find_lamps", "blink", f"agent {AGENT}"]
    (agent,) = view.agents
    assert [tool.name for tool in view.list_attached(agent)] == ["blink", "find_lamps", "set_lamps"]
    assert {"client_tool_call", "ping", "audio"} <= {*agent.client_events}
    assert {*load_record(bench.record.path, bench.simulator.base_url).ids.values()} == agent.all_tool_ids


async def test_a_plan_shows_a_diff_and_changes_nothing(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.edit_tool("blink", description="Blink.")
        before = await bench.look()
        (step,) = (await bench.plan()).steps
        assert await bench.look() == before
    lines = step.write_diff().splitlines()
    assert '-  "description": "Blink.",' in lines
    assert '+  "description": "Blink once.",' in lines


async def test_what_was_set_on_the_dashboard_alone_survives(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        parameters = (await bench.find_tool("set_lamps")).config["parameters"]
        parameters = edit_parameter(parameters, "mood", description="", enum=None, constant_value="calm")
        parameters = edit_parameter(parameters, "unused", type="string", is_omitted=True)
        parameters = edit_parameter(parameters, "wrong", type="string", description="d")
        assignment = {"source": "response", "dynamic_variable": "lamp", "value_path": "lamp"}
        await bench.edit_tool(
            "set_lamps",
            description="Changed",
            parameters=parameters,
            assignments=[assignment],
            dynamic_variables={"dynamic_variable_placeholders": {"room": "hall"}},
        )
        await bench.push()
        config = (await bench.find_tool("set_lamps")).config
        assert (await bench.plan()).steps == ()
    assert config["description"] == "Set lamps."
    assert config["parameters"]["properties"]["mood"]["constant_value"] == "calm"
    assert {*config["parameters"]["properties"]} == {"lamps", "mood", "fade", "unused"}
    assert config["assignments"][0]["dynamic_variable"] == "lamp"
    assert config["dynamic_variables"] == {"dynamic_variable_placeholders": {"room": "hall"}}


async def test_the_tools_that_others_gave_to_the_agent_stay(tmp_path: Path) -> None:
    async with open_bench(tmp_path, is_pushed=False) as bench:
        other = await bench.workspace.create_tool({"type": "client", "name": "other", "description": "d"})
        await bench.edit_agent(conversation_config={"agent": {"prompt": {"tool_ids": [other.id]}}})
        await bench.push()
        view = await bench.look()
        assert other.config == (await bench.find_tool("other")).config
    assert other.id in view.agents[0].tool_ids


async def test_a_foreign_tool_of_the_same_name_is_refused_until_it_is_adopted(tmp_path: Path) -> None:
    async with open_bench(tmp_path, is_pushed=False) as bench:
        bench.plugins = make_plugins(blink)
        theirs = await bench.workspace.create_tool({"type": "client", "name": "blink", "description": "Theirs"})
        plan = await bench.plan()
        (refusal,) = plan.refusals
        assert "--adopt blink" in refusal
        assert theirs.id in refusal
        assert plan.tools == ()
        assert (await bench.find_tool("blink")).config["description"] == "Theirs"
        told = await bench.push(adopt=["blink"])
        assert told[0] == f"blink: adopted ({theirs.id})"
        assert (await bench.find_tool("blink")).config["description"] == "Blink once."
        assert (await bench.plan()).refusals == ()
    assert bench.record.tools["blink"].origin == "adopted"


async def test_a_foreign_tool_that_fits_is_attached_as_it_is(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.record.tools.clear()
        plan = await bench.plan()
    assert (plan.steps, plan.refusals) == ((), ())


async def test_a_tool_of_another_type_is_refused(tmp_path: Path) -> None:
    async with open_bench(tmp_path, is_pushed=False) as bench:
        schema = {"url": "https://example.org/", "method": "GET"}
        config = {"type": "webhook", "name": "blink", "description": "d", "api_schema": schema}
        await bench.workspace.create_tool(config)
        plan = await bench.plan(adopt=["blink"])
    assert "webhook" in plan.refusals[0]
    assert "blink" not in [step.name for step in plan.tools]


async def test_a_tool_is_ours_by_its_id_whatever_it_is_called(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        before = await bench.find_tool("blink")
        await bench.edit_tool("blink", name="flash")
        await bench.push()
        assert (await bench.find_tool("blink")).id == before.id


async def test_what_is_no_longer_offered_goes_with_prune_alone(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.record.tools["find_lamps"] = attrs.evolve(bench.record.tools["find_lamps"], origin="adopted")
        bench.plugins = make_plugins(set_lamps)
        plan = await bench.plan()
        assert (plan.steps, plan.leftovers) == ((), ("blink",))
        told = await bench.push(prunes=True)
        names = {tool.name for tool in await bench.workspace.list_tools()}
        attached = (await bench.look()).agents[0].tool_ids
    assert told[-1].startswith("blink: deleted")
    assert names == {"set_lamps", "find_lamps"}
    assert len(attached) == 2
    assert {*bench.record.tools} == {"set_lamps", "find_lamps"}


async def test_a_tool_that_another_agent_uses_is_not_deleted(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        tool_id = (await bench.find_tool("blink")).id
        config = {"conversation_config": {"agent": {"prompt": {"tool_ids": [tool_id]}}}}
        other = await bench.workspace._call("POST", "/agents/create", "create an agent on", config)
        bench.plugins = make_plugins(set_lamps)
        told = await bench.push(prunes=True)
        assert (await bench.find_tool("blink")).id == tool_id
    assert any(line.startswith("blink: not deleted") and other["agent_id"] in line for line in told)
    assert "blink" in bench.record.tools


async def test_what_was_done_before_a_failure_is_recorded_and_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Workspace.create_tool

    async def fail_at_blink(self: Workspace, config: Any) -> PlatformTool:
        if config["name"] == "blink":
            raise LinkError("the line is cut")
        return await create(self, config)

    told: list[str] = []
    async with open_bench(tmp_path, is_pushed=False) as bench:
        monkeypatch.setattr(Workspace, "create_tool", fail_at_blink)
        with pytest.raises(PushFailed, match="stopped at the tool blink: the line is cut"):
            await push_plan(await bench.plan(), bench.workspace, bench.record, told.append)
        monkeypatch.undo()
        assert len(told) == 2
        record = load_record(bench.record.path, bench.simulator.base_url)
        assert {*record.ids} == {"set_lamps", "find_lamps"}
        bench.record = record
        told = await bench.push()
        assert [line.split(":")[0] for line in told] == ["blink", f"agent {AGENT}"]
        assert await bench.match() == []


async def test_what_the_platform_drops_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get = Workspace.get_tool

    async def forget(self: Workspace, tool_id: str) -> PlatformTool:
        found = await get(self, tool_id)
        parameters = edit_parameter(found.config["parameters"], "mood", enum=["calm"])
        config = {**found.config, "parameters": parameters, "tool_error_handling_mode": "auto"}
        del config["pre_tool_speech"]
        return attrs.evolve(found, config=config)

    async with open_bench(tmp_path, is_pushed=False) as bench:
        bench.plugins = make_plugins(set_lamps)
        monkeypatch.setattr(Workspace, "get_tool", forget)
        odd = await push_plan(await bench.plan(), bench.workspace, bench.record, lambda line: None)
    assert sorted(odd) == [
        'set_lamps: parameters.properties.mood.enum became ["calm"]',
        'set_lamps: tool_error_handling_mode became "auto"',
    ]


async def test_nothing_is_created_that_could_not_be_remembered(tmp_path: Path) -> None:
    async with open_bench(tmp_path, is_pushed=False) as bench:
        bench.record.path = tmp_path / "nowhere" / "config.tools.json"
        with pytest.raises(ConfigurationError, match=r"config\.tools\.json: cannot be written: No such file"):
            await push_plan(await bench.plan(), bench.workspace, bench.record, lambda line: None)
        assert await bench.workspace.list_tools() == []


@pytest.mark.parametrize("fault", [LinkError("the answer is lost"), KeyboardInterrupt()])
async def test_a_tool_whose_creation_nobody_heard_of_is_ours_all_the_same(
    fault: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Workspace.create_tool

    async def lose(self: Workspace, config: Any) -> PlatformTool:
        await create(self, config)
        raise fault

    async with open_bench(tmp_path, is_pushed=False) as bench:
        bench.plugins = make_plugins(blink)
        monkeypatch.setattr(Workspace, "create_tool", lose)
        with pytest.raises((PushFailed, KeyboardInterrupt)):
            await push_plan(await bench.plan(), bench.workspace, bench.record, lambda line: None)
        monkeypatch.undo()
        bench.record = load_record(bench.record.path, bench.simulator.base_url)
        assert bench.record.ids == {}
        await bench.push()
        await bench.edit_tool("blink", description="Changed")
        plan = await bench.plan()
    assert (plan.refusals, [step.name for step in plan.tools]) == ((), ["blink"])


async def test_a_record_that_cannot_be_written_on_the_way_stops_the_push(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Workspace.create_tool

    async def fill(self: Workspace, config: Any) -> PlatformTool:
        bench.record.path = tmp_path / "nowhere" / "config.tools.json"
        return await create(self, config)

    async with open_bench(tmp_path, is_pushed=False) as bench:
        monkeypatch.setattr(Workspace, "create_tool", fill)
        with pytest.raises(PushFailed, match=r"stopped at the tool set_lamps: .* cannot be written"):
            await push_plan(await bench.plan(), bench.workspace, bench.record, lambda line: None)


def test_one_push_keeps_another_out(tmp_path: Path) -> None:
    configuration = tmp_path / "config.toml"
    configuration.touch()
    with open_record(configuration, "w"), pytest.raises(ConfigurationError, match=r"another .* is under way"):
        open_record(configuration, "w").__enter__()
    with open_record(configuration, "w") as record:
        assert record.path == tmp_path / "config.tools.json"


def test_a_record_keeps_what_it_knows_of_other_workspaces(tmp_path: Path) -> None:
    path = tmp_path / "config.tools.json"
    one = load_record(path, "https://one")
    one.tools["a"] = attrs.evolve(RECORDED, id="tool_1")
    one.save()
    two = load_record(path, "https://two")
    assert two.tools == {}
    two.save()
    assert load_record(path, "https://one").ids == {"a": "tool_1"}


TWICE = {name: {"id": "tool_1", "origin": "created"} for name in ("a", "b")}  # --prune would delete what is in use


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"version": 2}',
        '{"version": 1, "workspaces": {"w": {"a": 1}}}',
        json.dumps({"version": 1, "workspaces": {"w": TWICE}}),
    ],
)
def test_a_record_that_is_none_is_an_error_of_its_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.tools.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"config\.tools\.json"):
        load_record(path, "w")


async def test_two_conversations_with_one_agent_are_one_step(tmp_path: Path) -> None:
    text = '[conversations.a]\nagent_id = "agent_demo"\n[conversations.b]\nagent_id = "agent_demo"\n'
    async with open_bench(tmp_path, text, is_pushed=False) as bench:
        assert len((await bench.plan()).agents) == 1


async def test_assignments_of_the_code_reach_the_platform(tmp_path: Path) -> None:
    @tool(assignments=[{"dynamic_variable": "high", "value_path": "days.0.high"}], runs="thread")
    def forecast() -> str:
        """Tell the weather."""
        return "{}"

    async with open_bench(tmp_path, is_pushed=False) as bench:
        bench.plugins = make_plugins(forecast)
        await bench.push()
        assert await bench.match() == []
        await bench.edit_tool("forecast", assignments=[])
        (note,) = await bench.match()
    assert (note.kind, note.place, note.is_note) == ("setting", "assignments", True)


def test_the_record_can_be_read_by_a_person(tmp_path: Path) -> None:
    record = load_record(tmp_path / "config.tools.json", "simulator")
    record.tools["a"] = RECORDED
    record.save()
    content = json.loads(record.path.read_text())
    assert content["workspaces"] == {"simulator": {"a": {"id": "tool_0", "origin": "created"}}}
    assert "push" in content["about"]
