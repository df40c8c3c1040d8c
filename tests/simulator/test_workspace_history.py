"""The simulator's REST of conversations: what has been recorded, told as the platform tells it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from convaid.protocol.to_agent import ConversationInitiationClientData, UserMessage
from convaid.simulator import Agent, Scenario, Simulator
from convaid.simulator.scenario import Call, End, ExpectText, Fail, Refuse, Say, Silence

from .peers import open_peer
from .provisioning import CONVERSATIONS, find_faults, open_provisioning

TALK = Scenario(
    name="talk",
    agent=Agent(first_message="Hello {{name}}", text_only=True),
    steps=[ExpectText(), Call("add", {"a": 2}), Say("It is {result}."), End()],
)
INITIATION = ConversationInitiationClientData(dynamic_variables={"name": "Ada"}, user_id="user_1")


async def tell(http: httpx.AsyncClient, simulator: Simulator, number: int = 0) -> dict[str, Any]:
    record = await simulator.wait_conversation(number)
    answer = await http.get(f"{CONVERSATIONS}/{record.conversation_id}")
    assert answer.status_code == 200
    told = answer.json()
    assert isinstance(told, dict)
    return told


async def test_a_conversation_is_told_with_its_calls() -> None:
    async with open_provisioning(TALK) as (simulator, http):
        async with open_peer(simulator, initiation=INITIATION) as peer:
            await peer.receive_type("agent_response")
            await peer.send(UserMessage("two and three"))
            await peer.answer_call("5")
            await peer.receive_rest()
        told = await tell(http, simulator)
    assert (told["agent_id"], told["status"], told["user_id"]) == ("agent_demo", "done", "user_1")
    assert told["agent_name"] == "Agent of the scenario talk"
    assert [(turn["role"], turn["message"]) for turn in told["transcript"]] == [
        ("agent", "Hello Ada"),
        ("user", "two and three"),
        ("agent", None),
        ("agent", "It is 5."),
    ]
    (call,), (result,) = told["transcript"][2]["tool_calls"], told["transcript"][2]["tool_results"]
    assert (call["tool_name"], call["params_as_json"]) == ("add", '{"a":2}')
    assert (result["result_value"], result["is_error"]) == ("5", False)
    assert call["request_id"] == result["request_id"]
    assert told["metadata"]["error"] is None
    assert told["metadata"]["termination_reason"] == "Agent ended the conversation: 1000"
    assert told["conversation_initiation_client_data"]["dynamic_variables"] == {"name": "Ada"}


async def test_a_call_with_a_number_beyond_64_bits_is_told_too() -> None:
    scenario = Scenario(name="big", agent=Agent(text_only=True), steps=[Call("add", {"a": 10**22}), End()])
    async with open_provisioning(scenario) as (simulator, http):
        async with open_peer(simulator) as peer:
            await peer.answer_call("5")
            await peer.receive_rest()
        told = await tell(http, simulator)
    (call,) = told["transcript"][0]["tool_calls"]
    assert call["params_as_json"] == '{"a":10000000000000000000000}'


async def test_a_failure_is_told_with_its_code() -> None:
    failing = Scenario(agent=Agent(text_only=True), steps=[Fail(1011, "unknown_websocket_crash", "Oh no")])
    async with open_provisioning(failing) as (simulator, http):
        async with open_peer(simulator) as peer:
            await peer.receive_rest()
        told = await tell(http, simulator)
    assert told["status"] == "failed"
    assert told["metadata"]["error"] == {"code": 1011, "reason": "Oh no"}
    assert told["metadata"]["termination_reason"] == "Oh no"


async def test_a_refused_conversation_is_none() -> None:
    async with open_provisioning(Scenario(steps=[Refuse()])) as (simulator, http):
        async with open_peer(simulator) as peer:
            await peer.receive_rest()
        record = await simulator.wait_conversation()
        assert (await http.get(CONVERSATIONS)).json()["conversations"] == []
        assert (await http.get(f"{CONVERSATIONS}/{record.conversation_id}")).status_code == 404


async def test_conversations_are_listed_by_agent_in_pages_the_newest_first() -> None:
    async with open_provisioning(Scenario(agent=Agent(text_only=True), steps=[End()])) as (simulator, http):
        for agent_id in ("agent_a", "agent_b", "agent_a"):
            async with open_peer(simulator, query=f"agent_id={agent_id}") as peer:
                await peer.receive_rest()
        records = [await simulator.wait_conversation(number) for number in range(3)]
        newest = (await http.get(CONVERSATIONS, params={"page_size": 2})).json()
        rest = (await http.get(CONVERSATIONS, params={"cursor": newest["next_cursor"]})).json()
        listed = [each["conversation_id"] for each in newest["conversations"] + rest["conversations"]]
        assert listed == [record.conversation_id for record in reversed(records)]
        assert (newest["has_more"], rest["has_more"]) == (True, False)
        of_b = (await http.get(CONVERSATIONS, params={"agent_id": "agent_b"})).json()["conversations"]
        assert [each["conversation_id"] for each in of_b] == [records[1].conversation_id]
        assert (of_b[0]["status"], of_b[0]["message_count"]) == ("done", 0)
        assert list(find_faults(await http.get(CONVERSATIONS, params={"page_size": 101}))) == ["query.page_size"]


async def test_conversations_are_listed_by_when_they_began() -> None:
    async with open_provisioning(Scenario(agent=Agent(text_only=True), steps=[End()])) as (simulator, http):
        async with open_peer(simulator) as peer:
            await peer.receive_rest()
        began = int((await simulator.wait_conversation()).started_at_unix)
        counts = []
        for after, before in [(began, began), (began + 1, began + 9), (began - 9, began - 1)]:
            times = {"call_start_after_unix": after, "call_start_before_unix": before}
            counts.append(len((await http.get(CONVERSATIONS, params=times)).json()["conversations"]))
        assert counts == [1, 0, 0]
        odd = {"call_start_after_unix": "abc", "call_start_before_unix": "1.5"}
        faults = find_faults(await http.get(CONVERSATIONS, params=odd))
        assert list(faults) == ["query.call_start_after_unix", "query.call_start_before_unix"]


async def test_a_conversation_is_told_while_it_lasts() -> None:
    async with open_provisioning(Scenario(agent=Agent(text_only=True), steps=[Silence(30)])) as (simulator, http):
        async with open_peer(simulator) as peer:
            await peer.receive()
            (told,) = (await http.get(CONVERSATIONS)).json()["conversations"]
            assert (told["status"], told["termination_reason"]) == ("in-progress", "")
        told = await tell(http, simulator)
        assert told["status"] == "done"
        assert told["metadata"]["termination_reason"].startswith("Connection ended the conversation: 1006")


async def test_what_cannot_be_written_again_is_left_out() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = {"a": deep}
    initiation = ConversationInitiationClientData(dynamic_variables={"deep": deep})
    async with open_provisioning(Scenario(agent=Agent(text_only=True), steps=[End()])) as (simulator, http):
        async with open_peer(simulator, initiation=None) as peer:
            frame = {"type": initiation.wire_type, "dynamic_variables": {"deep": deep}}
            await peer.send(json.dumps(frame))
            await peer.receive_rest()
        assert (await tell(http, simulator))["conversation_initiation_client_data"] == {}


async def test_feedback_needs_no_key_and_a_deleted_conversation_is_gone() -> None:
    async with open_provisioning(Scenario(agent=Agent(text_only=True), steps=[End()]), api_key="sk_right") as (
        simulator,
        http,
    ):
        async with open_peer(simulator) as peer:
            await peer.receive_rest()
        record = await simulator.wait_conversation()
        path = f"{CONVERSATIONS}/{record.conversation_id}"
        answer = await http.post(f"{path}/feedback", json={"feedback": "like"}, headers={"xi-api-key": ""})
        assert answer.status_code == 200
        assert (await http.post(f"{path}/feedback", json={"feedback": "love"})).status_code == 422
        feedback = (await http.get(path)).json()["metadata"]["feedback"]
        assert (feedback["overall_score"], feedback["likes"]) == ("like", 1)
        assert (await http.delete(path)).status_code == 200
        for method, where in (("GET", path), ("DELETE", path), ("POST", f"{path}/feedback")):
            assert (await http.request(method, where, json={})).status_code == 404
        assert (await http.get(CONVERSATIONS)).json()["conversations"] == []


@pytest.mark.parametrize("path", ["/v1/user", "/v1/user/subscription", "/v1/convai/settings"])
async def test_the_account_is_told(path: str) -> None:
    async with open_provisioning() as (_, http):
        assert (await http.get(path)).status_code == 200
