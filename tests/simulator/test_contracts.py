"""The platform's AsyncAPI contracts, where copies of them lie beside the repository, held against the simulator."""

from __future__ import annotations

import json
from typing import Any

import attrs
import jsonschema  # type: ignore[import-untyped]
import pytest
import trio
from trio.testing import MockClock

from convaid.protocol import FROM_AGENT, TO_AGENT, FromAgent, ToAgent, encode
from convaid.protocol.from_agent import ClientToolCall
from convaid.protocol.to_agent import ClientToolResult, McpToolApprovalResult, UserMessage
from convaid.simulator import Agent, Rule, Scenario
from convaid.simulator.fields import EVENTS
from convaid.simulator.messages import ELSEWHERE, read_message
from convaid.simulator.record import UploadedFile
from convaid.simulator.scenario import Call, Close, End, ExpectAudio, ExpectText, Interrupt, McpCall, Say, Send
from convaid.simulator.starting import GATED
from convaid.transport import LinkClosed

from ..protocol.test_contract import AGENT, EXAMPLES, SWIFT, load_contract, schemas_by_type
from .peers import hold_conversation
from .test_conversation import make_audio

FROM_USER = [example for example in EXAMPLES if isinstance(example, ToAgent)]
SENDABLE = [
    attrs.evolve(example, tool_call_id=f"call_{number}") if isinstance(example, ClientToolCall) else example
    for number, example in enumerate(EXAMPLES)
    if isinstance(example, FromAgent) and example.wire_type not in ELSEWHERE
]


def list_types(direction: type[FromAgent] | type[ToAgent]) -> set[str]:
    """The types of one direction that the contracts know."""
    known = FROM_AGENT if direction is FromAgent else TO_AGENT
    return {wire_type for name in (AGENT, SWIFT) for wire_type in schemas_by_type(load_contract(name))} & known.keys()


def validate(frame: dict[str, Any]) -> None:
    """Hold a frame against the newer contract, or the other one where that does not know the type."""
    for contract in map(load_contract, (AGENT, SWIFT)):
        if schema := schemas_by_type(contract).get(frame["type"]):
            complete = schema | {"components": contract["components"]}
            jsonschema.Draft202012Validator(complete).validate(frame)
            return
    raise AssertionError(f"no contract knows the type {frame['type']}")


async def test_every_message_of_the_contracts_can_be_sent_by_a_step(autojump_clock: MockClock) -> None:
    assert list_types(FromAgent) <= {message.wire_type for message in SENDABLE} | ELSEWHERE.keys()
    tables = [json.loads(encode(message)) for message in SENDABLE]
    assert [read_message(table) for table in tables] == SENDABLE
    steps = [*map(Send, SENDABLE), Close(4000)]
    async with hold_conversation(Scenario(agent=Agent(client_events=[], ping_interval=float("inf")), steps=steps)) as (
        peer,
        _,
    ):
        pass
    assert peer.closed == LinkClosed(4000)
    assert [frame for _, frame in peer.sent if frame in tables] == tables


@pytest.mark.parametrize("message", FROM_USER, ids=lambda message: type(message).__name__)
async def test_every_message_of_the_users_is_taken(message: ToAgent, autojump_clock: MockClock) -> None:
    allowed = ["conversation.text_only", "agent.prompt.prompt", "agent.first_message", "agent.language", "tts.voice_id"]
    agent = Agent(allowed_overrides=[*allowed, *GATED.values()])
    async with hold_conversation(Scenario(agent=agent)) as (peer, record):
        record.files["f"] = UploadedFile("f", "photo.png", "image/png", b"")
        peer.put(message)
        await trio.sleep(1)
        peer.put(LinkClosed(1000))
    assert record.ending is not None
    assert record.ending.closed_by == "user", record.ending


def test_there_is_a_test_of_each_of_the_users_messages() -> None:
    assert list_types(ToAgent) | {""} == {message.wire_type for message in FROM_USER}


async def test_every_message_that_the_simulator_sends_by_itself_is_as_the_contracts_want_it(
    autojump_clock: MockClock,
) -> None:
    agent = Agent(client_events=EVENTS, first_message="Hello.")
    steps = [ExpectAudio(), Say("one two three four"), Interrupt(), Call("a"), McpCall("b"), ExpectText(), Say("Bye.")]
    frames: list[dict[str, Any]] = []
    for is_text_only in (False, True):
        chosen = attrs.evolve(agent, text_only=is_text_only)
        played = [step for step in steps if not (is_text_only and isinstance(step, ExpectAudio))]
        async with hold_conversation(Scenario(agent=chosen, steps=[*played, End()])) as (peer, record):
            await trio.sleep(5)
            if not is_text_only:
                for is_loud in (True, True, True, True, True, True, False, False, False, False, False, False, False):
                    peer.put(make_audio(0.1, is_loud=is_loud))
                    await trio.sleep(0.1)
            await trio.sleep(3)
            peer.put(ClientToolResult(record.calls[0].tool_call_id, "done", False))
            await trio.sleep(1)
            call = peer.find("mcp_tool_call")[0]["mcp_tool_call"]
            peer.put(McpToolApprovalResult(call["tool_call_id"], True))
            await trio.sleep(1)
            peer.put(UserMessage("bye"))
        assert record.problem is None
        frames += [frame for _, frame in peer.sent]
    async with hold_conversation(Scenario(agent=Agent(max_duration=3), rules=[Rule(say="x")])) as (peer, _):
        pass
    frames += [frame for _, frame in peer.sent]
    for frame in frames:
        validate(frame)
    assert {frame["type"] for frame in frames} == {
        "agent_chat_response_part",
        "agent_response",
        "agent_response_complete",
        "agent_response_correction",
        "agent_tool_request",
        "agent_tool_response",
        "agent_tool_response_full_payload",
        "asr_initiation_metadata",
        "audio",
        "client_tool_call",
        "context_usage",
        "conversation_initiation_metadata",
        "error",
        "interruption",
        "mcp_tool_call",
        "ping",
        "tentative_user_transcript",
        "user_transcript",
        "vad_score",
    }
