"""The message classes against the platform's own contracts, where a copy of them lies beside the repository."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from convaid.protocol import (
    FROM_AGENT,
    KNOWN_AND_IGNORED,
    TO_AGENT,
    FromAgent,
    ToAgent,
    decode_from_agent,
    decode_to_agent,
    encode,
)
from convaid.protocol import from_agent as f
from convaid.protocol import to_agent as t
from convaid.protocol.verdicts import CLOSE_CODES, ERROR_TYPES

CONTRACTS = Path(__file__).parents[3] / "shared" / "protocol"
AGENT, SWIFT = "agent.asyncapi.yaml", "swift-agent.asyncapi.yaml"

MCP_CALL: dict[str, Any] = {
    "service_id": "s",
    "tool_call_id": "c",
    "tool_name": "n",
    "parameters": {},
    "timestamp": "2026-11-22T10:00:00Z",
}
EXAMPLES: list[FromAgent | ToAgent] = [
    f.ConversationInitiationMetadata("conv_1", "pcm_16000", "ulaw_8000"),
    f.Ping(1),
    f.Ping(2, 40),
    f.Error(1000),
    f.Error(1008, "m", "override_error", "r", "d", {"field": "x"}),
    f.ClientError(1, "n"),
    f.ClientError(1, "n", "m"),
    f.QueueStatus("waiting"),
    f.Audio("AAAA", 1),
    f.Audio("AAAA", 1, f.AudioAlignment(["a"], [0], [50]), is_final=True),
    f.Interruption(1),
    f.UserTranscript("t", 1),
    f.TentativeUserTranscript("t", 1),
    f.AgentResponse("t", 1),
    f.AgentResponse("t", 1, "r", [f.Attachment("https://x", "n", "text/plain")]),
    f.AgentResponseCorrection("o", "c", 1),
    f.AgentChatResponsePart("", "start", 1),
    f.AgentReasoningResponsePart("t", "delta", "1"),
    f.AgentResponseComplete(1),
    f.AgentResponseMetadata({"a": 1}, 1),
    f.RichContent("r", "item_card", {"a": 1}, 1),
    f.ClientToolCall("n", "c", {"a": 1}, 1),
    f.ClientToolCall("n", "c", {}, 1, expects_response=False),
    f.AgentToolRequest("n", "c", "client", 1),
    f.AgentToolRequest("n", "c", "client", 1, True, False, 20, "immediate"),
    f.AgentToolResponse("n", "c", "client", is_error=False, is_called=True, event_id=1),
    f.AgentToolResponse("n", "c", "client", True, True, 1, is_blocked=True, status="blocked"),
    f.AgentToolResponseFullPayload("n", "c", "client", False, True, 1, "result", truncated=True),
    f.McpToolCall(**MCP_CALL, state="loading", tool_description="d"),
    f.McpToolCall(**MCP_CALL, state="awaiting_approval", approval_timeout_secs=300),
    f.McpToolCall(**MCP_CALL, state="success", result=[{"type": "text"}]),
    f.McpToolCall(**MCP_CALL, state="failure", error_message="m"),
    f.McpConnectionStatus([f.McpIntegration("i", "mcp_server", is_connected=True, tool_count=2)]),
    f.VadScore(0.5),
    f.ContextUsage(1, "m", 10, 100),
    f.AsrInitiationMetadata({"a": 1}),
    f.GuardrailTriggered("g"),
    f.AgentTyping(is_typing=True),
    f.AgentTyping(is_typing=True, duration_ms=500),
    f.ExternalAgentConnected(),
    f.ExternalAgentDisconnected(),
    f.InternalTurnProbability(0.5),
    f.InternalTentativeAgentResponse("t"),
    t.ConversationInitiationClientData(),
    t.ConversationInitiationClientData(
        conversation_config_override={
            "agent": {"prompt": {"prompt": "p"}, "first_message": "f", "language": "en"},
            "tts": {"voice_id": "v"},
            "conversation": {"text_only": True},
        },
        custom_llm_extra_body={"temperature": 0.5},
        dynamic_variables={"name": "Ada", "age": 36, "tags": ["a"]},
        user_id="u",
        source_info={"source": "unknown", "version": "1"},
        branch_id="b",
        environment="e",
        tool_mock_config={"mocking_strategy": "none"},
        starting_workflow_node_id="w",
        procedure_ids=["p"],
        start_procedure_ids=["p"],
    ),
    t.UserAudio("AAAA"),
    t.Pong(1),
    t.UserMessage("t", "r", "i"),
    t.UserMessage(None),
    t.UserActivity(),
    t.ContextualUpdate("t"),
    t.ContextualUpdate("t", "c"),
    t.MultimodalMessage(t.UserMessage("t"), t.FileInput("f"), [t.FileInput("f")]),
    t.ClientToolResult("c", "r", is_error=False),
    t.ClientToolResult("c", "r", is_error=True, error_type="client_timeout"),
    t.McpToolApprovalResult("c", is_approved=False),
    t.Feedback(1, "like"),
    t.Feedback(1, None),
]
"""At least one of every class, with and without its optional fields: every kind of frame that convaid can send."""

FROM_OTHER_SOURCES = {
    "agent_response.attachments",  # the types package's TypeScript declarations
    "agent_response.response_id",  # third-party servers
    "agent_tool_response.status",  # third-party servers
    "conversation_initiation_client_data.procedure_ids",  # the Python SDK's REST types, as the next one
    "conversation_initiation_client_data.start_procedure_ids",
    "multimodal_message.files",  # the Python SDK
    "queue_status.status",  # the JavaScript SDK
}
"""Fields that we model and neither contract has."""


@cache
def load_contract(name: str) -> Any:
    path = CONTRACTS / name
    if not path.exists():
        reason = f"no {path}; put the platform's AsyncAPI files into ../shared/protocol, beside the repository"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return amend(yaml.safe_load(path.read_text()))


def amend(contract: Any) -> Any:
    """What JSON Schema has no word for, or that contradicts itself.

    ``nullable`` is OpenAPI's. The parts of ``mcp_tool_call`` are joined by ``allOf`` while each of them forbids the
    other's fields: as written, no frame at all is valid.
    """
    for name, schema in contract["components"]["schemas"].items():
        if name.startswith("MCPToolCall"):
            for part in [schema, *schema.get("allOf", [])]:
                part.pop("additionalProperties", None)
    return allow_null(contract)


def allow_null(node: Any) -> Any:
    if isinstance(node, list):
        return [allow_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: allow_null(value) for key, value in node.items()}
    return {"anyOf": [node, {"type": "null"}]} if node.pop("nullable", False) is True else node


def schemas_by_type(contract: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The schema of each message's frame by its wire type; user audio under the empty one."""
    found = {}
    for message in contract["components"]["messages"].values():
        schema = contract["components"]["schemas"][message["payload"]["$ref"].rsplit("/", 1)[1]]
        mark = schema["properties"].get("type", {})
        found[mark.get("const", mark.get("x-fern-type", "").removeprefix('literal<"').removesuffix('">'))] = schema
    return found


def fields_of(contract: dict[str, Any], schema: dict[str, Any]) -> tuple[set[str], set[str]]:
    """All fields of an object schema, and those that are required in each of its variants."""
    if "$ref" in schema:
        return fields_of(contract, contract["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    names, required = set(schema.get("properties", {})), set(schema.get("required", ()))
    for part in schema.get("allOf", ()):
        part_names, part_required = fields_of(contract, part)
        names, required = names | part_names, required | part_required
    variants = [fields_of(contract, part) for key in ("oneOf", "anyOf") for part in schema.get(key, ())]
    if variants:
        names |= set.union(*(variant for variant, _ in variants))
        required |= set.intersection(*(variant for _, variant in variants))
    return names, required


def payload_of(schema: dict[str, Any], cls: type[Any]) -> dict[str, Any]:
    return schema["properties"].get(cls.payload_key, {}) if cls.payload_key else schema


MODELLED: dict[str, type[Any]] = FROM_AGENT | TO_AGENT


def test_there_is_an_example_of_every_class() -> None:
    assert {type(example) for example in EXAMPLES} == set(MODELLED.values())


@pytest.mark.parametrize("name", [AGENT, SWIFT])
def test_every_type_is_modelled_or_named_as_ignored(name: str) -> None:
    types = set(schemas_by_type(load_contract(name)))
    assert types <= set(MODELLED) | KNOWN_AND_IGNORED
    assert len(types) > 20


def test_every_event_that_an_agent_can_be_set_to_send_is_modelled() -> None:
    events = load_contract(AGENT)["components"]["schemas"]["ClientEvent"]["enum"]
    assert set(events) <= set(FROM_AGENT) | KNOWN_AND_IGNORED


@pytest.mark.parametrize("name", [AGENT, SWIFT])
def test_every_field_is_modelled_and_no_field_is_wanted_that_may_be_missing(name: str) -> None:
    contract = load_contract(name)
    for wire_type, schema in schemas_by_type(contract).items():
        cls = MODELLED[wire_type]
        names, required = fields_of(contract, payload_of(schema, cls))
        ours = {a.name for a in attrs.fields(cls)}
        wanted = {a.name for a in attrs.fields(cls) if a.default is attrs.NOTHING}
        assert names - {"type"} <= ours, wire_type
        assert wanted <= required, wire_type


def test_every_field_has_a_source() -> None:
    sources: dict[str, set[str]] = {}
    for contract in map(load_contract, (AGENT, SWIFT)):
        for wire_type, schema in schemas_by_type(contract).items():
            names, _ = fields_of(contract, payload_of(schema, MODELLED[wire_type]))
            sources.setdefault(wire_type, set()).update(names)
    unsourced = {
        f"{wire_type}.{a.name}"
        for wire_type, cls in MODELLED.items()
        for a in attrs.fields(cls)
        if a.name not in sources.get(wire_type, set())
    }
    assert unsourced == FROM_OTHER_SOURCES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_every_frame_that_we_can_send_is_valid(example: FromAgent | ToAgent) -> None:
    contract = load_contract(AGENT)
    schema = schemas_by_type(contract).get(example.wire_type)
    if schema is None:  # a type that only newer sources have
        newer = {"queue_status", "client_error", "agent_response_complete", "agent_response_metadata"}
        assert example.wire_type in newer
        return
    validator = jsonschema.Draft202012Validator(schema | {"components": contract["components"]})
    validator.validate(json.loads(encode(example)))


def test_the_validation_would_find_a_wrong_frame() -> None:
    contract = load_contract(AGENT)
    for wire_type, frame in (
        ("pong", '{"type":"pong"}'),
        ("mcp_tool_call", encode(f.McpToolCall(**MCP_CALL, state="success"))),
        ("client_tool_result", '{"type":"client_tool_result","tool_call_id":"c","result":{},"is_error":false}'),
    ):
        schema = schemas_by_type(contract)[wire_type] | {"components": contract["components"]}
        assert list(jsonschema.Draft202012Validator(schema).iter_errors(json.loads(frame)))


def platform_examples() -> Iterator[tuple[str, dict[str, Any]]]:
    (channel,) = load_contract(SWIFT)["channels"].values()
    for example in channel["x-fern-examples"][0]["messages"]:
        yield example["type"], example["value"]


def test_the_platforms_own_examples_come_back_as_they_were() -> None:
    examples = list(platform_examples())
    assert len(examples) > 10
    for direction, value in examples:
        decode = decode_to_agent if direction == "publish" else decode_from_agent
        decoded = decode(json.dumps(value))
        assert decoded.unknown_fields == ()
        assert isinstance(decoded.message, FromAgent | ToAgent), decoded.message
        written = json.loads(encode(decoded.message))
        payload_key = decoded.message.payload_key
        if payload_key:
            assert written[payload_key].items() >= value[payload_key].items()
        else:
            assert written == value


def test_every_error_type_and_close_code_has_its_verdict() -> None:
    schemas = load_contract(AGENT)["components"]["schemas"]
    assert set(ERROR_TYPES) == set(schemas["ErrorType"]["enum"]) - {"unknown"}
    assert set(CLOSE_CODES) >= set(schemas["WebSocketCloseCode"]["enum"])
