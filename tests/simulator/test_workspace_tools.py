"""The simulator's REST of tools: what the platform would take, refuse and answer."""

from __future__ import annotations

import json
import os
from typing import Any

import httpx
import pytest

from .contract import DOCUMENT
from .provisioning import AGENTS, TOOLS, VOLUME, find_faults, make_agent, make_tool, open_provisioning

MUST = "Value error, Must set one of: description, dynamic_variable, is_system_provided, constant_value, or is_omitted"
CAN_ONLY = MUST.replace("Must", "Can only")
WORDS = {"type": "string", "description": "Words"}


def test_the_document_is_there() -> None:
    """Without it the answers in these tests are not held against it."""
    if not DOCUMENT.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{DOCUMENT} is not there")
        pytest.skip("no copy of the platform's REST document in ../shared/protocol")


async def test_a_tool_is_answered_with_its_defaults_filled_in() -> None:
    parameters = {"type": "object", "properties": {"level": {"type": "integer", "description": "0 to 100"}}}
    async with open_provisioning() as (simulator, http):
        answer = await http.post(TOOLS, json={"tool_config": VOLUME | {"parameters": parameters}})
        tool = answer.json()
        assert (await http.get(f"{TOOLS}/{tool['id']}")).json() == tool
        assert dict(simulator.workspace.tools[tool["id"]].config) == tool["tool_config"]
    config = tool["tool_config"]
    assert set(tool) == {"id", "tool_config", "access_info", "usage_stats", "response_mocks"}
    assert (config["expects_response"], config["response_timeout_secs"]) == (False, 20)
    assert (config["execution_mode"], config["interruption_mode"]) == ("immediate", "allow")
    assert (config["tool_error_handling_mode"], config["tool_call_sound"]) == ("auto", None)
    assert config["dynamic_variables"] == {"dynamic_variable_placeholders": {}}
    assert config["parameters"]["required"] == []
    assert config["parameters"]["properties"]["level"]["constant_value"] == ""
    assert tool["access_info"]["role"] == "admin"


@pytest.mark.parametrize(
    ("settings", "place", "words"),
    [
        ({"name": "two words"}, "name", "String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"),
        ({"name": "x" * 65}, "name", "String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"),
        ({"name": "x\n"}, "name", "String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"),
        ({"description": None}, "description", "Input should be a valid string"),
        ({"expects_response": "yes"}, "expects_response", "Input should be a valid boolean"),
        ({"response_timeout_secs": 0}, "response_timeout_secs", "Input should be greater than or equal to 1"),
        ({"response_timeout_secs": 121}, "response_timeout_secs", "Input should be less than or equal to 120"),
        ({"response_timeout_secs": 1.5}, "response_timeout_secs", "Input should be a valid integer"),
        ({"response_timeout_secs": True}, "response_timeout_secs", "Input should be a valid integer"),
        (
            {"response_timeout_secs": -1},
            "response_timeout_secs",
            "Value error, -1 (no time limit) requires expects_response to be true",
        ),
        ({"execution_mode": "later"}, "execution_mode", "Input should be 'immediate', 'post_tool_speech' or 'async'"),
        ({"tool_call_sound": "bell"}, "tool_call_sound", None),
        ({"assignments": [{"dynamic_variable": "x"}]}, "assignments.0.value_path", "Field required"),
        ({"assignments": {}}, "assignments", "Input should be a valid list"),
        ({"dynamic_variables": 1}, "dynamic_variables", None),
        ({"parameters": {"type": "array"}}, "parameters.type", "Input should be 'object'"),
        ({"parameters": {"$schema": "x"}}, "parameters.$schema", "Extra inputs are not permitted"),
        ({"parameters": {"additionalProperties": False}}, "parameters.additionalProperties", None),
        ({"parameters": {"properties": []}}, "parameters.properties", "Input should be a valid dictionary"),
        ({"parameters": []}, "parameters", None),
        (
            {"parameters": {"properties": {"a": WORDS}, "required": ["b"]}},
            "parameters.required",
            "Value error, 'b' is required but not in properties",
        ),
        (
            {"parameters": {"properties": {"a": {"type": "string", "is_omitted": True}}, "required": ["a"]}},
            "parameters.required",
            "Value error, 'a' is required and is_omitted",
        ),
    ],
)
async def test_a_setting_that_the_platform_would_refuse(
    settings: dict[str, Any], place: str, words: str | None
) -> None:
    async with open_provisioning() as (simulator, http):
        faults = find_faults(await http.post(TOOLS, json={"tool_config": VOLUME | settings}))
        assert not simulator.workspace.tools
    assert list(faults) == [f"body.tool_config.client.{place}"]
    assert words is None or list(faults.values()) == [words]


@pytest.mark.parametrize(
    ("node", "place", "words"),
    [
        ({"type": "string"}, "", MUST),
        ({"type": "string", "description": ""}, "", MUST),
        ({"type": "string", "constant_value": None}, "", MUST),
        (WORDS | {"constant_value": "x"}, "", CAN_ONLY),
        (WORDS | {"constant_value": False}, "", CAN_ONLY),
        (WORDS | {"dynamic_variable": "x"}, "", CAN_ONLY),
        (WORDS | {"is_omitted": True}, "", CAN_ONLY),
        ({"description": "no type"}, ".type", "Field required"),
        (WORDS | {"type": "date"}, ".type", "Input should be 'boolean', 'string', 'integer' or 'number'"),
        (WORDS | {"type": ["string", "null", "integer"]}, ".type", "List should have 2 items"),
        (WORDS | {"enum": ["a", 1]}, ".enum.1", "Input should be a valid string"),
        (WORDS | {"constant_value": {}}, ".constant_value", None),
        ({"type": "array", "description": "x", "items": {"type": "string"}}, ".items", MUST),
        ({"type": "array", "items": WORDS, "minItems": 1}, ".minItems", "Extra inputs are not permitted"),
        ({"type": "object", "title": "x"}, ".title", "Extra inputs are not permitted"),
        ({"type": "object", "description": "x", "dynamic_variable": "y"}, "", CAN_ONLY),
        ({"type": "object", "properties": {"deep": {"type": "number"}}}, ".properties.deep", MUST),
        ("text", "", None),
        (None, "", None),
    ],
)
async def test_a_parameter_that_the_platform_would_refuse(node: Any, place: str, words: str | None) -> None:
    parameters = {"type": "object", "properties": {"p": node}}
    async with open_provisioning() as (_, http):
        faults = find_faults(await http.post(TOOLS, json={"tool_config": VOLUME | {"parameters": parameters}}))
    assert list(faults) == [f"body.tool_config.client.parameters.properties.p{place}"]
    assert words is None or list(faults.values()) == [words]


@pytest.mark.parametrize(
    "node",
    [
        WORDS,
        WORDS | {"type": ["string", "null"]},
        WORDS | {"enum": ["a", "b"], "allowed_values": {"dynamic_variable": "those"}},
        {"type": "string", "dynamic_variable": "x"},
        {"type": "integer", "constant_value": 0},
        {"type": "boolean", "constant_value": False},
        {"type": "string", "is_omitted": True},
        {"type": "string", "is_system_provided": True},
        {"type": "array", "items": WORDS},
        {"type": "array"},
        {"type": "array", "items": {"type": "array", "items": {"type": "object", "properties": {"x": WORDS}}}},
        {"type": "object", "property_kind": "object", "properties": {"x": WORDS}, "required": ["x"]},
        {"type": "object", "constant_value": {"a": 1}},
        WORDS | {"format": "date", "minimum": 3},
    ],
)
async def test_a_parameter_that_the_platform_takes(node: dict[str, Any]) -> None:
    parameters = {"type": "object", "properties": {"p": node}}
    async with open_provisioning() as (_, http):
        answer = await http.post(TOOLS, json={"tool_config": VOLUME | {"parameters": parameters}})
        assert answer.status_code == 200, answer.text
        again = await http.post(TOOLS, json={"tool_config": answer.json()["tool_config"]})
    assert again.json()["tool_config"] == answer.json()["tool_config"]
    kept = answer.json()["tool_config"]["parameters"]["properties"]["p"]
    assert {name: kept[name] for name in node if name in kept}.keys() == node.keys() - {
        "format",  # dropped without a word, as the platform does with what its literals do not know
        "minimum",
        "property_kind",
    }


async def test_everything_that_is_wrong_is_told_at_once_and_nothing_of_it_is_kept() -> None:
    async with open_provisioning() as (simulator, http):
        faults = find_faults(await http.post(TOOLS, json={"tool_config": {"type": "client", "expects_response": 1}}))
        assert faults == {
            "body.tool_config.client.name": "Field required",
            "body.tool_config.client.description": "Field required",
            "body.tool_config.client.expects_response": "Input should be a valid boolean",
        }
        assert not simulator.workspace.tools


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "Unable to extract tag using discriminator 'type'"),
        ({"type": "smoke"}, "Input tag 'smoke' found using 'type' does not match any of the expected tags"),
        ({"type": []}, "Input tag '[]' found using 'type' does not match any of the expected tags"),
        (7, "Input should be a valid dictionary or object to extract fields from"),
    ],
)
async def test_a_tool_of_no_kind(config: Any, words: str) -> None:
    async with open_provisioning() as (_, http):
        faults = find_faults(await http.post(TOOLS, json={"tool_config": config}))
    (place,) = faults
    assert place == "body.tool_config"
    assert faults[place].startswith(words)


@pytest.mark.parametrize(
    ("body", "headers", "status", "kind"),
    [
        (b"", {}, 422, "missing"),
        (b"{", {}, 422, "json_invalid"),
        (b"\xff", {}, 422, "json_invalid"),
        (b'{"tool_config": NaN}', {}, 422, "json_invalid"),
        (b"[" * 2000, {}, 422, "json_invalid"),
        (b"[" * 500 + b"]" * 500, {}, 422, "value_error"),
        (b"null", {}, 422, "model_attributes_type"),
        (b"[]", {}, 422, "model_attributes_type"),
        (b"{}", {}, 422, "missing"),
        (json.dumps({"tool_config": VOLUME}).encode(), {"content-type": "text/plain"}, 422, "model_attributes_type"),
        (b" " * 2**21, {}, 413, None),
    ],
)
async def test_a_body_that_makes_no_sense_gets_an_answer(
    body: bytes, headers: dict[str, str], status: int, kind: str | None
) -> None:
    async with open_provisioning() as (_, http):
        answer = await http.post(TOOLS, content=body, headers={"content-type": "application/json"} | headers)
        assert answer.status_code == status
        assert answer.headers.get("connection") == ("close" if status == 413 else None)
        assert kind is None or [fault["type"] for fault in answer.json()["detail"]] == [kind]
        assert (await http.get(TOOLS)).status_code == 200


@pytest.mark.parametrize(
    "config",
    [
        {
            "type": "webhook",
            "name": "hook",
            "description": "x",
            "api_schema": {"url": "https://example.org", "method": "POST", "request_headers": {"a": "b"}},
            "response_timeout_secs": 300,
        },
        {
            "type": "system",
            "name": "end_call",
            "params": {"system_tool_type": "end_call"},
        },
    ],
)
async def test_tools_of_other_kinds_are_kept_as_they_came(config: dict[str, Any]) -> None:
    async with open_provisioning() as (_, http):
        made = (await http.post(TOOLS, json={"tool_config": config})).json()
        kept = (await http.get(f"{TOOLS}/{made['id']}")).json()["tool_config"]
        assert config.items() <= kept.items()
        assert (await http.get(TOOLS, params={"types": "client"})).json()["tools"] == []


async def test_a_change_replaces_the_whole_configuration_but_not_the_mocks() -> None:
    mocks = [{"mock_result": "done"}]
    async with open_provisioning() as (_, http):
        body = {"tool_config": VOLUME | {"expects_response": True}, "response_mocks": mocks}
        made = (await http.post(TOOLS, json=body)).json()
        answer = await http.patch(f"{TOOLS}/{made['id']}", json={"tool_config": VOLUME | {"response_timeout_secs": 5}})
        changed = answer.json()
        assert (changed["tool_config"]["expects_response"], changed["tool_config"]["response_timeout_secs"]) == (
            False,
            5,
        )
        assert changed["response_mocks"] == made["response_mocks"] != []
        assert changed["id"] == made["id"]
        faults = find_faults(await http.patch(f"{TOOLS}/{made['id']}", json={"tool_config": {"type": "client"}}))
        assert len(faults) == 2
        assert (await http.get(f"{TOOLS}/{made['id']}")).json() == changed


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_unknown_tool_is_not_found(method: str) -> None:
    async with open_provisioning() as (_, http):
        answer = await http.request(method, f"{TOOLS}/tool_none", json={"tool_config": VOLUME})
    assert answer.status_code == 404
    assert answer.json()["detail"]["status"] == "document_not_found"


def make_workflow(tool_id: str) -> dict[str, Any]:
    """A workflow with a node of each kind that names tools."""
    common = {"position": {"x": 0, "y": 0}, "edge_order": []}
    agent = {
        "type": "override_agent",
        "label": "Ask",
        "additional_prompt": "",
        "additional_knowledge_base": [],
        "additional_tool_ids": [tool_id],
        "conversation_config": {},
        "entry_behavior": "auto",
    }
    tools = {"type": "tool", "tools": [{"tool_id": tool_id}]}
    return {"nodes": {"ask": common | agent, "do": common | tools}, "edges": {}, "prevent_subagent_loops": False}


async def test_a_tool_in_use_is_deleted_only_by_force_which_detaches_it() -> None:
    async with open_provisioning() as (simulator, http):
        tool, other = await make_tool(http), await make_tool(http)
        attached = await make_agent(http, conversation_config={"agent": {"prompt": {"tool_ids": [tool, other]}}})
        await make_agent(http, workflow=make_workflow(tool))
        dependents = (await http.get(f"{TOOLS}/{tool}/dependent-agents")).json()["agents"]
        assert len(dependents) == 2

        answer = await http.delete(f"{TOOLS}/{tool}")
        assert answer.status_code == 400
        assert attached in answer.json()["detail"]["message"]
        assert tool in simulator.workspace.tools

        assert (await http.delete(f"{TOOLS}/{tool}", params={"force": "perhaps"})).status_code == 422
        assert (await http.delete(f"{TOOLS}/{tool}", params={"force": "true"})).status_code == 200
        assert list(simulator.workspace.tools) == [other]
        agent = (await http.get(f"{AGENTS}/{attached}")).json()
        assert agent["conversation_config"]["agent"]["prompt"]["tool_ids"] == [other]
        assert all(tool not in agent.tool_ids for agent in simulator.workspace.agents.values())
        assert (await http.get(f"{TOOLS}/{tool}/dependent-agents")).status_code == 404


async def list_names(http: httpx.AsyncClient, **query: Any) -> list[list[str]]:
    """The names on each page."""
    pages, cursor = [], None
    while True:
        page = (await http.get(TOOLS, params=query | ({"cursor": cursor} if cursor else {}))).json()
        pages.append([tool["tool_config"]["name"] for tool in page["tools"]])
        cursor = page["next_cursor"]
        assert page["has_more"] == (cursor is not None)
        if cursor is None:
            return pages


async def test_tools_are_listed_in_pages() -> None:
    async with open_provisioning() as (_, http):
        for name in ("b", "ab", "c", "a"):
            await make_tool(http, name=name)
        assert await list_names(http) == [["a", "c", "ab", "b"]]
        assert await list_names(http, sort_direction="asc", page_size=3) == [["b", "ab", "c"], ["a"]]
        assert await list_names(http, sort_by="name", page_size=1) == [["c"], ["b"], ["ab"], ["a"]]
        assert await list_names(http, sort_by="name", sort_direction="asc", page_size=4) == [["a", "ab", "b", "c"]]
        assert await list_names(http, search="a", sort_by="name", sort_direction="asc") == [["a", "ab"]]
        assert await list_names(http, search="B") == [[]]
        assert await list_names(http, types=["client", "webhook"], page_size=2) == [["a", "c"], ["ab", "b"]]


async def test_what_is_deleted_between_two_pages_moves_nothing() -> None:
    async with open_provisioning() as (_, http):
        ids = [await make_tool(http, name=name) for name in "abcd"]
        first = (await http.get(TOOLS, params={"page_size": 2, "sort_direction": "asc"})).json()
        await http.delete(f"{TOOLS}/{ids[1]}")
        rest = await http.get(TOOLS, params={"cursor": first["next_cursor"], "sort_direction": "asc"})
        assert [tool["id"] for tool in rest.json()["tools"]] == ids[2:]


async def test_a_cursor_is_for_the_order_in_which_it_was_given() -> None:
    async with open_provisioning() as (_, http):
        for name in "ab":
            await make_tool(http, name=name)
        for one, other in (("name", "created_at"), ("created_at", "name")):
            cursor = (await http.get(TOOLS, params={"page_size": 1, "sort_by": one})).json()["next_cursor"]
            answer = await http.get(TOOLS, params={"cursor": cursor, "sort_by": other})
            assert list(find_faults(answer)) == ["query.cursor"]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ({"page_size": 0}, "page_size"),
        ({"page_size": 101}, "page_size"),
        ({"page_size": "many"}, "page_size"),
        ({"page_size": "9" * 5000}, "page_size"),
        ({"sort_by": "size"}, "sort_by"),
        ({"sort_direction": "up"}, "sort_direction"),
        ({"types": ["client", "magic"]}, "types.1"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "e30="}, "cursor"),
    ],
)
async def test_a_list_is_not_had_by_nonsense(query: dict[str, Any], place: str) -> None:
    async with open_provisioning() as (_, http):
        assert list(find_faults(await http.get(TOOLS, params=query))) == [f"query.{place}"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", TOOLS),
        ("POST", TOOLS),
        ("DELETE", f"{TOOLS}/x"),
        ("GET", AGENTS),
        ("POST", f"{AGENTS}/create"),
        ("GET", "/v1/convai/conversations"),
        ("GET", "/v1/user"),
        ("GET", "/v1/user/subscription"),
        ("GET", "/v1/convai/settings"),
    ],
)
async def test_each_call_asks_for_the_key(method: str, path: str) -> None:
    async with open_provisioning(api_key="sk_right") as (_, http):
        answer = await http.request(method, path, headers={"xi-api-key": "sk_wrong"})
        assert answer.status_code == 401
        assert answer.json()["detail"]["status"] == "invalid_api_key"
        if method == "GET":
            assert (await http.get(path)).status_code == 200
