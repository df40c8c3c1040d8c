"""What we send, held against the platform's own description of its REST calls, where a copy of it lies beside us."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from convaid import tool
from convaid.rest import Workspace

from .workspace import TOOLS, Bench, edit_parameter, make_plugins, open_bench

CONTRACT = Path(__file__).parents[3] / "shared" / "protocol" / "rest-openapi-subset.json"
BODIES = {
    "POST": "ToolRequestModel",
    "PATCH /tools": "ToolRequestModel",
    "PATCH /agents": "Body_Patches_an_Agent_settings_v1_convai_agents__agent_id__patch",
}


@cache
def make_validator(name: str) -> Any:
    if not CONTRACT.exists():
        reason = f"no {CONTRACT}; put the platform's OpenAPI file into ../shared/protocol, beside the repository"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    schema = {**json.loads(CONTRACT.read_text()), "$ref": f"#/components/schemas/{name}"}
    return jsonschema.Draft202012Validator(schema)


@tool(execution_mode="async", tool_call_sound="typing", assignments=[{"dynamic_variable": "a", "value_path": "b.0"}])
def report(weeks: int) -> str:
    """Write a report.

    Args:
        weeks: over how many weeks
    """
    return "{}"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Mapping[str, Any]]]:
    """The bodies that are sent, and the contract's name of each."""
    bodies: list[tuple[str, Mapping[str, Any]]] = []
    attempt = Workspace._attempt

    async def note(self: Workspace, method: str, path: str, *rest: Any) -> Any:
        if (body := rest[1]) is not None:
            what = method if method == "POST" else f"{method} /{path.split('/')[1]}"
            bodies.append((BODIES[what], json.loads(json.dumps(body))))
        return await attempt(self, method, path, *rest)

    monkeypatch.setattr(Workspace, "_attempt", note)
    return bodies


async def test_what_is_sent_is_what_the_platform_takes(
    sent: list[tuple[str, Mapping[str, Any]]], tmp_path: Path
) -> None:
    async with open_bench(tmp_path, is_pushed=False) as bench:
        bench.plugins = make_plugins(*TOOLS, report)
        await bench.push()
        await drift(bench)
        await bench.push()
    assert {name for name, _ in sent} == {*BODIES.values()}
    for name, body in sent:
        make_validator(name).validate(body)


async def drift(bench: Bench) -> None:
    """Change every tool, so that it is pushed again, with something set on the dashboard alone."""
    parameters = (await bench.find_tool("set_lamps")).config["parameters"]
    parameters = edit_parameter(parameters, "mood", description="", enum=None, constant_value="calm")
    await bench.edit_tool("set_lamps", description="Changed", parameters=parameters)
    for name in ("find_lamps", "blink", "report"):
        await bench.edit_tool(name, description="Changed", expects_response=False, response_timeout_secs=3)
