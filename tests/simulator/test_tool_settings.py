"""What a tool's settings on the platform mean for the calls of it: time, answers, variables, mocks."""

from __future__ import annotations

import json
from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from convaid.protocol.to_agent import ClientToolResult, ConversationInitiationClientData
from convaid.simulator import Agent, Scenario
from convaid.simulator.agent import Guesses
from convaid.simulator.scenario import Call, End, ExpectResults, Say, Silence
from convaid.simulator.tool_settings import ToolSettings, find_mock, read_tool_settings
from convaid.simulator.workspace.tool_shapes import check_tool_request

from .peers import hold_conversation, open_peer
from .provisioning import AGENTS, make_agent, make_tool, open_provisioning
from .test_conversation import make_audio

TEXT = Agent(text_only=True, dynamic_variables={"room": "hall"})


def make_settings(mocks: list[Any] | None = None, **config: Any) -> ToolSettings:
    """Settings as they come from a tool that REST has made."""
    faults: list[Any] = []
    body = {"tool_config": {"type": "client", "name": "t", "description": "x"} | config, "response_mocks": mocks}
    tool = check_tool_request(body, (), faults)
    assert not faults
    return read_tool_settings(tool["tool_config"], tool["response_mocks"])


def test_the_defaults_of_the_platform_are_not_those_of_an_unknown_tool() -> None:
    settings = make_settings()
    assert (settings.expects_response, settings.response_timeout, settings.hides_errors) == (False, 20, True)
    assert ToolSettings().expects_response
    assert make_settings(response_timeout_secs=-1, expects_response=True).response_timeout == inf
    assert make_settings(disable_interruptions=True).interruption_mode == "disable_during_tool"


# --- parameters ----------------------------------------------------------------------------------------------------

PARAMETERS = {
    "type": "object",
    "properties": {
        "room": {"type": "string", "dynamic_variable": "room"},
        "unit": {"type": "string", "constant_value": "celsius"},
        "secret": {"type": "string", "is_omitted": True},
        "level": {"type": "integer", "description": "how much"},
        "at": {"type": "object", "properties": {"zone": {"type": "string", "dynamic_variable": "zone"}}},
    },
}


def test_the_platform_fills_in_what_the_agent_does_not() -> None:
    settings = make_settings(parameters=PARAMETERS)
    assert settings.required_variables == {"room", "zone"}
    filled = settings.fill_parameters({"level": 3, "secret": "x"}, {"room": "hall"})
    assert filled == {"level": 3, "room": "hall", "unit": "celsius"}
    filled = settings.fill_parameters({"at": {"hour": 5}}, {"zone": "UTC"})
    assert filled == {"at": {"hour": 5, "zone": "UTC"}, "unit": "celsius"}


def test_a_variable_with_a_value_in_the_tool_is_not_required() -> None:
    variables = {"dynamic_variable_placeholders": {"room": "attic", "zone": "UTC"}}
    settings = make_settings(parameters=PARAMETERS, dynamic_variables=variables)
    assert not settings.required_variables
    assert settings.fill_parameters({}, {"zone": "CET"})["at"] == {"zone": "CET"}


# --- results -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "values", "heard"),
    [
        ({"value_path": "user.name"}, {"v": "Ada"}, None),
        ({"value_path": "days.1.high"}, {"v": 21}, None),
        ({"value_path": "days.7.high"}, {}, None),
        ({"value_path": "user"}, {"v": '{"name": "Ada"}'}, None),
        ({"value_path": "user", "preserve_native_type": True}, {"v": {"name": "Ada"}}, None),
        ({"value_path": "user.name", "sanitize": True}, {"v": "Ada"}, {"user": {}, "days": [{}, {"high": 21}]}),
        (
            {"value_path": "days.0", "sanitize": True},
            {"v": "{}"},
            {"user": {"name": "Ada"}, "days": [None, {"high": 21}]},
        ),
    ],
)
def test_a_result_sets_dynamic_variables(assignment: dict[str, Any], values: Any, heard: Any) -> None:
    result = {"user": {"name": "Ada"}, "days": [{}, {"high": 21}]}
    settings = make_settings(assignments=[{"dynamic_variable": "v"} | assignment])
    got, text = settings.assign(json.dumps(result))
    assert got == values
    assert json.loads(text) == (result if heard is None else heard)


@pytest.mark.parametrize("result", ["sunny", "[1]", "3", '"x"'])
def test_a_result_without_such_a_value_sets_nothing(result: str) -> None:
    assignments = [{"dynamic_variable": "v", "value_path": "a.b", "sanitize": True}]
    assert make_settings(assignments=assignments).assign(result) == ({}, result)


# --- mocks ---------------------------------------------------------------------------------------------------------

MOCKS: list[dict[str, Any]] = [
    {
        "parameter_conditions": [{"path": "city", "eval": {"type": "exact", "expected_value": "Rome"}}],
        "mock_result": "hot",
    },
    {
        "parameter_conditions": [{"path": "city", "eval": {"type": "regex", "pattern": "^o"}}],
        "mock_result": "no",
        "is_error": True,
    },
    {
        "parameter_conditions": [{"path": "n", "eval": {"type": "anything"}}, {"path": "n", "eval": {"type": "llm"}}],
        "mock_result": "x",
    },
]


@pytest.mark.parametrize(
    ("parameters", "wanted", "result"),
    [
        ({"city": "Rome"}, None, None),
        ({"city": "Rome"}, {}, None),
        ({"city": "Rome"}, {"mocking_strategy": "none"}, None),
        ({"city": "Rome"}, {"mocking_strategy": "all"}, ("hot", False)),
        ({"city": "Oslo"}, {"mocking_strategy": "selected", "mocked_tool_names": ["t"]}, ("no", True)),
        ({"city": "Oslo"}, {"mocking_strategy": "selected", "mocked_tool_names": ["u"]}, None),
        ({"n": 5}, {"mocking_strategy": "all"}, ("No mock of the tool t fits this call.", True)),
        ({"n": 5}, {"mocking_strategy": "all", "fallback_strategy": "call_real_tool"}, None),
    ],
)
def test_a_mock_answers_in_a_tools_place(parameters: Any, wanted: Any, result: Any) -> None:
    mock = find_mock("t", parameters, make_settings(MOCKS).mocks, wanted)
    assert (None if mock is None else (mock.result, mock.is_error)) == result


async def test_a_mocked_tool_is_not_called(autojump_clock: MockClock) -> None:
    tools = {"t": make_settings(MOCKS, expects_response=True)}
    initiation = ConversationInitiationClientData(tool_mock_config={"mocking_strategy": "all"})
    scenario = Scenario(agent=TEXT, steps=[Call("t", {"city": "Rome"}, "hot"), Say("{result}"), End()])
    async with hold_conversation(scenario, initiation, tools) as (peer, record):
        pass
    assert record.problem is None
    assert record.calls[0].is_mocked
    assert "client_tool_call" not in peer.types()
    assert "agent_tool_response" in peer.types()


# --- calls ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "waits"), [(3, 3), (None, 20)])
async def test_the_tools_settings_say_how_long_the_agent_waits(
    seconds: int | None, waits: float, autojump_clock: MockClock
) -> None:
    config = {"response_timeout_secs": seconds} if seconds else {}
    tools = {"t": make_settings(None, expects_response=True, **config)}
    async with hold_conversation(Scenario(agent=TEXT, steps=[Call("t"), End()]), tools=tools):
        began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(waits)


async def test_the_scenarios_call_may_say_otherwise(autojump_clock: MockClock) -> None:
    tools = {"t": make_settings(response_timeout_secs=3)}
    call = Call("t", response_timeout_secs=7, expects_response=True)
    async with hold_conversation(Scenario(agent=TEXT, steps=[call, End()]), tools=tools) as (peer, _):
        began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(7)
    assert peer.find("client_tool_call")[0]["client_tool_call"]["expects_response"] is True


async def test_a_tool_that_is_set_to_be_waited_for_for_ever(autojump_clock: MockClock) -> None:
    tools = {"t": make_settings(expects_response=True, response_timeout_secs=-1)}
    agent = Agent(text_only=True, input_limit=10_000, max_duration=9000)
    async with hold_conversation(Scenario(agent=agent, steps=[Call("t"), End()]), tools=tools) as (peer, record):
        await trio.sleep(3000)
        peer.put(ClientToolResult(record.calls[0].tool_call_id, "at last", False))
    assert record.calls[0].result == "at last"
    assert peer.find("agent_tool_request")[0]["agent_tool_request"]["response_timeout_secs"] == -1


async def test_nothing_can_be_expected_of_a_tool_that_is_set_not_to_answer(autojump_clock: MockClock) -> None:
    steps = [Call("t"), Call("t", expect_result="x"), End()]
    async with hold_conversation(Scenario(agent=TEXT, steps=steps), tools={"t": make_settings()}) as (_, record):
        began = trio.current_time()
    assert trio.current_time() == began
    assert record.problem == "steps[1].call: t does not answer: expects_response is false, here or in its settings"


async def test_what_a_result_sets_is_filled_in_from_then_on(autojump_clock: MockClock) -> None:
    assignments = [{"dynamic_variable": "high", "value_path": "high", "sanitize": True}]
    tools = {"t": make_settings(expects_response=True, assignments=assignments, parameters=PARAMETERS)}
    agent = Agent(text_only=True, dynamic_variables={"room": "hall", "zone": "UTC"})
    steps = [Call("t", expect_parameters={"room": "hall"}), Say("{{high}} in the {{room}}, {result}"), End()]
    async with hold_conversation(Scenario(agent=agent, steps=steps), tools=tools) as (peer, record):
        await trio.sleep(1)
        peer.put(ClientToolResult(record.calls[0].tool_call_id, '{"high": 21, "low": 3}', False))
    assert record.problem is None
    assert record.transcript[0].text == '21 in the hall, {"low": 3}'


@pytest.mark.parametrize(("mode", "is_heard"), [("auto", False), ("hide", False), ("passthrough", True)])
async def test_an_error_may_be_kept_from_the_agent(mode: str, is_heard: bool, autojump_clock: MockClock) -> None:
    tools = {"t": make_settings(expects_response=True, tool_error_handling_mode=mode)}
    async with hold_conversation(Scenario(agent=TEXT, steps=[Call("t"), Say("{result}"), End()]), tools=tools) as (
        peer,
        record,
    ):
        await trio.sleep(1)
        peer.put(ClientToolResult(record.calls[0].tool_call_id, "no such room", True))
    assert ("no such room" in record.transcript[0].text) is is_heard
    assert record.calls[0].result == "no such room"


@pytest.mark.parametrize("guess", ["later", "awaited"])
async def test_an_async_tool_is_gone_on_without(guess: str, autojump_clock: MockClock) -> None:
    agent = Agent(text_only=True, guesses=Guesses(async_result=guess))  # type: ignore[arg-type]
    tools = {"t": make_settings(expects_response=True, execution_mode="async")}
    steps = [Call("t", expect_result="done"), Say("Meanwhile."), ExpectResults(), Say("{result}"), End()]
    async with hold_conversation(Scenario(agent=agent, steps=steps), tools=tools) as (peer, record):
        await trio.sleep(5)
        peer.put(ClientToolResult(record.calls[0].tool_call_id, "done", False))
    assert [line.text for line in record.transcript] == ["Meanwhile.", "done"]
    assert round(record.transcript[0].at) == (0 if guess == "later" else 5)
    assert (
        len([each for each in peer.find("agent_tool_response") if each["agent_tool_response"]["tool_name"] == "t"]) == 1
    )


async def test_a_tool_may_wait_for_the_speech_before_it(autojump_clock: MockClock) -> None:
    tools = {"t": make_settings(execution_mode="post_tool_speech")}
    scenario = Scenario(steps=[Say("x" * 60), Call("t"), End()])  # four seconds
    async with hold_conversation(scenario, tools=tools) as (peer, _):
        began = trio.current_time()
    assert peer.when("client_tool_call")[0] - began == pytest.approx(4)


@pytest.mark.parametrize("mode", ["allow", "disable_during_tool", "disable_during_tool_and_turn"])
@pytest.mark.parametrize("is_running", [True, False])
async def test_a_tool_may_forbid_interruptions(mode: str, is_running: bool, autojump_clock: MockClock) -> None:
    tools = {"t": make_settings(expects_response=True, interruption_mode=mode)}
    steps = [Say("x" * 75), Call("t"), Say("y" * 75), Silence(10), End()]
    async with hold_conversation(Scenario(steps=steps), tools=tools) as (peer, record):
        await trio.sleep(2)
        if not is_running:
            peer.put(ClientToolResult(record.calls[0].tool_call_id, "done", False))
            await trio.sleep(0.5)
        peer.put(make_audio(0.2, is_loud=True))
    is_allowed = mode == "allow" or (mode == "disable_during_tool" and not is_running)
    assert ("interruption" in peer.types()) is is_allowed


async def test_rest_says_how_the_tools_of_an_agent_are_called() -> None:
    scenario = Scenario(agent=Agent(text_only=True), steps=[Call("set_volume"), End()])
    async with open_provisioning(scenario) as (simulator, http):
        tool = await make_tool(http, response_timeout_secs=5, expects_response=False)
        agent = await make_agent(http, conversation_config={"agent": {"prompt": {"tool_ids": [tool]}}})
        async with open_peer(simulator, query=f"agent_id={agent}") as peer:
            call = (await peer.receive_type("client_tool_call"))["client_tool_call"]
        await http.patch(f"{AGENTS}/{agent}", json={"conversation_config": {"agent": {"prompt": {"tool_ids": []}}}})
        async with open_peer(simulator, query=f"agent_id={agent}") as peer:
            again = (await peer.receive_type("client_tool_call"))["client_tool_call"]
    assert (call["expects_response"], again["expects_response"]) == (False, True)
