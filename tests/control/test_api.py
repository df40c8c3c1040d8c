"""The control API over its socket: what it does, and what it answers, held against its own description."""

from __future__ import annotations

from typing import Annotated

import attrs
import httpx
import pytest
import trio
from openapi_spec_validator import validate

from convaid import events, tool
from convaid.config import Configuration, parse_configuration
from convaid.errors import ConfigurationError, Problem
from convaid.protocol.from_agent import AgentResponse
from convaid.protocol.to_agent import Feedback, MultimodalMessage, UserMessage

from .serving import DOCUMENT, LISTEN, on_demand, open_api


@tool
def add(a: Annotated[int, "one"], b: Annotated[int, "the other"]) -> int:
    """Add two numbers."""
    return a + b


@tool
async def wait_long() -> None:
    """Wait for long."""
    await trio.sleep(30)


@tool
async def open_door(door: Annotated[str, "which one"], pin: Annotated[str, "the secret"]) -> str:
    """Open a door."""
    return f"{door} is open"


def test_the_description_is_valid() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")
    names = [each["operationId"] for path in DOCUMENT["paths"].values() for each in path.values()]
    assert len(names) == len(set(names))


async def test_the_description_is_served() -> None:
    async with open_api(LISTEN, configuration=on_demand("kitchen")) as api:
        assert await api.get("/v1/openapi.json") == DOCUMENT


async def test_a_conversation_from_start_to_stop() -> None:
    async with open_api(LISTEN, configuration=on_demand("kitchen", "hall")) as api:
        kitchen = "/v1/conversations/kitchen"
        assert [each["state"] for each in await api.get("/v1/conversations")] == ["closed", "closed"]
        started = await api.post(f"{kitchen}/start", {"wait": 5})
        assert started["state"] == "connected"
        assert await api.get(kitchen) | {"since": 0} == started | {"since": 0}
        sent = await api.post(f"{kitchen}/say", {"text": "Good morning"})
        assert sent == {"conversation": "kitchen", "conversation_id": started["conversation_id"]}
        await api.post(f"{kitchen}/context", {"text": "It rains", "context_id": "weather"})
        assert (await api.post(f"{kitchen}/mute"))["is_muted"]
        assert not (await api.post(f"{kitchen}/unmute"))["is_muted"]
        assert await api.post(f"{kitchen}/interrupt") == {"seconds": 0.0}
        status = await api.get("/v1/status")
        assert status["sentence"] == "1 of 1 conversation connected"
        stopped = await api.post(f"{kitchen}/stop", {"wait": 5})
        assert (stopped["state"], stopped["last_end"]["cause"]) == ("closed", "ended by the user")
        assert stopped["problem"] == ""
    (record,) = api.held.simulator.conversations
    assert record.received["contextual_update"] == 1
    assert record.received["user_message"] == 1


async def test_asking_opens_the_conversation_and_waits_for_the_answer() -> None:
    async with open_api(LISTEN, configuration=on_demand("kitchen")) as api:
        answer = await api.post("/v1/conversations/kitchen/ask", {"text": "Well?"})
        assert (answer["text"], answer["is_complete"]) == ("I see.", True)
        again = await api.post("/v1/conversations/kitchen/ask", {"text": "Well?"})
        assert (again["text"], again["conversation_id"]) == ("I see.", answer["conversation_id"])


async def test_an_answer_in_speech_is_that_to_the_question() -> None:
    # In speech a turn is complete when all of it is sent: that of the greeting comes after the question.
    scenario = f'steps = [{{say = "{"Hello and " * 8}."}}]\n[[rules]]\nsay = "I see."'
    configuration = '[conversations.kitchen]\nagent_id = "agent_test"\nstart = "on_demand"\n'
    async with open_api(scenario, configuration=configuration) as api:
        await api.post("/v1/conversations/kitchen/start", {"wait": 5})
        answer = await api.post("/v1/conversations/kitchen/ask", {"text": "Well?", "time_limit": 10})
        assert answer["text"] == "I see."


async def test_an_agent_that_does_not_come_or_does_not_answer_is_told() -> None:
    async with open_api("steps = [{refuse = {}}]", configuration=on_demand("kitchen")) as api:
        failure = await api.post("/v1/conversations/kitchen/ask", {"text": "Well?", "time_limit": 5}, 504)
        assert failure["error"]["code"] == "not_connected"
        assert "refused" in failure["error"]["message"]
        assert failure["error"]["remedy"]
        status = await api.get("/v1/status")
        assert not status["is_well"]
        assert status["sentence"] == "no conversation is open (1 could be); kitchen is closed: refused"
    async with open_api(
        'steps = [{say = "Hello."}, {silence = {seconds = 9}}]', configuration=on_demand("kitchen")
    ) as api:
        await api.post("/v1/conversations/kitchen/start", {"wait": 5})
        failure = await api.post("/v1/conversations/kitchen/ask", {"text": "Well?", "time_limit": 0.3}, 504)
        assert failure["error"]["code"] == "no_answer"


async def test_feedback_is_for_the_latest_response() -> None:
    async with open_api(LISTEN, configuration=on_demand("kitchen")) as api:
        kitchen = "/v1/conversations/kitchen"
        await api.post(f"{kitchen}/feedback", {"score": "like"}, 409)
        await api.post(f"{kitchen}/ask", {"text": "Well?"})
        await api.post(f"{kitchen}/feedback", {"score": "like"})
        await api.post(f"{kitchen}/feedback", {"score": None, "event_id": 7})
        said = [event.message for event in api.held.of_kind(events.MessageReceived)]
        (*_, latest) = [message.event_id for message in said if isinstance(message, AgentResponse)]
        given = [event.message for event in api.held.of_kind(events.MessageSent)][1:]
        assert given == [Feedback(latest, "like"), Feedback(7)]


async def test_a_file_is_uploaded_and_shown() -> None:
    async with open_api(LISTEN, configuration=on_demand("kitchen")) as api:
        path = "/v1/conversations/kitchen/files?name=photo.png&text=What+is+this"
        await api.post(path, b"\x89PNG", 409)
        await api.post("/v1/conversations/kitchen/start", {"wait": 5})
        await api.post(path, b"\x89PNG")
        await api.post("/v1/conversations/kitchen/files", b"\x89PNG", 422)
        (sent,) = await api.held.wait_for(events.MessageSent)
        assert isinstance(sent.message, MultimodalMessage)
        assert sent.message.text == UserMessage("What is this")
        assert sent.message.file is not None
        assert sent.message.file.file_id.startswith("file_")


async def test_wrong_requests_are_told_what_is_wrong_with_them() -> None:
    async with open_api(LISTEN, configuration=on_demand("kitchen")) as api:
        failure = await api.get("/v1/conversations/kichen", 404)
        assert failure["error"]["message"] == 'there is no conversation "kichen"; did you mean kitchen?'
        failure = await api.post("/v1/conversations/kitchen/say", {"txt": 5}, 422)
        assert failure["error"]["problems"] == [
            "text: is required and missing",
            'txt: is not known; did you mean "text"?',
        ]
        failure = await api.post("/v1/conversations/kitchen/say", {"text": " "}, 422)
        assert failure["error"]["problems"] == ["text: is empty"]
        failure = await api.post("/v1/conversations/kitchen/say", b"{", 400)
        assert failure["error"]["code"] == "not_json"
        failure = await api.post("/v1/conversations/kitchen/say", {"text": "x"}, 409)
        assert failure["error"]["message"] == "conversation kitchen is not connected"
        failure = await api.post("/v1/conversations/kitchen/start", {"wait": 1e9}, 422)
        failure = await api.get("/v1/statsu", 404)
        assert "did you mean /v1/status?" in failure["error"]["message"]
        failure = await api.get("/v1/reload", 405)
        assert failure["error"]["message"] == "/v1/reload is not for GET, but for POST"
        failure = await api.get("/v1/status?verbose=1", 422)
        assert failure["error"]["problems"] == ['there is no parameter "verbose"']
        failure = await api.post("/v1/conversations/kitchen/say", b'"' + b"x" * 2**20 + b'"', 413)
        assert failure["error"]["message"] == "the request is longer than 1 MiB"


async def test_a_tool_is_run_by_hand_through_the_same_wall() -> None:
    configuration = on_demand("kitchen") + '[tools.wait_long]\npermission = "deny"\n'
    async with open_api(LISTEN, configuration=configuration, tools=[add, wait_long]) as api:
        names = [(each["name"], each["permission"], each["runs"]) for each in await api.get("/v1/tools")]
        assert names == [("add", "allow", "thread"), ("wait_long", "deny", "room")]
        done = await api.post("/v1/tools/add/run", {"arguments": {"a": 2, "b": 3}})
        assert (done["outcome"], done["result"], done["is_error"]) == ("ok", "5", False)
        wrong = await api.post("/v1/tools/add/run", {"arguments": {"a": "2"}})
        assert (wrong["outcome"], wrong["is_error"]) == ("invalid", True)
        assert (await api.post("/v1/tools/wait_long/run"))["outcome"] == "denied"
        failure = await api.post("/v1/tools/ad/run", {}, 404)
        assert failure["error"]["message"] == 'there is no tool "ad"; did you mean add?'
        recent = (await api.get("/v1/calls"))["recent"]
        assert [(call["tool"], call["outcome"]) for call in recent] == [
            ("wait_long", "denied"),
            ("add", "invalid"),
            ("add", "ok"),
        ]
        assert [event.conversation for event in api.held.of_kind(events.ToolCallEnded)] == ["by_hand"] * 3
        assert [each["name"] for each in await api.get("/v1/plugins")] == ["test"]


async def test_a_call_is_listed_and_cancelled() -> None:
    scenario = 'steps = [{call = {tool = "wait_long"}}, {say = "Well."}]'
    async with open_api(scenario, configuration=on_demand("kitchen"), tools=[wait_long]) as api:
        await api.post("/v1/conversations/kitchen/start")
        await api.held.wait_for(events.ToolCallStarted)
        (call,) = (await api.get("/v1/calls"))["running"]
        assert (call["tool"], call["conversation"], call["arguments"]) == ("wait_long", "kitchen", "{}")
        assert (await api.get("/v1/status"))["calls_running"] == 1
        assert await api.post(f"/v1/calls/{call['tool_call_id']}/cancel") == {"count": 1}
        (ended,) = await api.held.wait_for(events.ToolCallEnded)
        assert ended.answer.outcome == "stopped"
        assert "by the operator" in ended.answer.result
        await api.post(f"/v1/calls/{call['tool_call_id']}/cancel", status=404)


async def test_people_allow_and_deny_calls() -> None:
    calls = ", ".join(
        f'{{call = {{tool = "open_door", parameters = {{door = "{door}", pin = "1234"}}}}}}'
        for door in ("front", "back")
    )
    configuration = on_demand("kitchen") + '[tools.open_door]\npermission = "ask"\nredact = ["pin"]\n'
    async with open_api(f"steps = [{calls}]", configuration=configuration, tools=[open_door]) as api:
        assert await api.get("/v1/approvals") == []
        await api.post("/v1/conversations/kitchen/start")
        for is_allowed in (True, False):
            await api.held.wait_for(events.ApprovalAsked, 1 if is_allowed else 2)
            (asked,) = await api.get("/v1/approvals")
            assert asked["arguments"]["pin"] == "***"
            assert (await api.get("/v1/status"))["approvals_pending"] == 1
            await api.post(f"/v1/approvals/{asked['id']}", {"allow": is_allowed})
            await api.post(f"/v1/approvals/{asked['id']}", {"allow": True}, 404)
        ended = await api.held.wait_for(events.ToolCallEnded, 2)
        assert [event.answer.outcome for event in ended] == ["ok", "denied"]
        answered = api.held.of_kind(events.ApprovalAnswered)
        assert all("process" in event.by for event in answered)


async def test_reload_tells_its_outcome() -> None:
    async with open_api(LISTEN, configuration=on_demand("kitchen")) as api:

        def read_again() -> Configuration:
            more = parse_configuration(on_demand("kitchen", "hall"), "test").conversations
            return attrs.evolve(api.held.daemon.configuration, conversations=more)

        api.held.daemon.read_configuration = read_again
        done = await api.post("/v1/reload")
        assert (done["opened"], done["unchanged"]) == (["hall"], ["kitchen"])

        def refuse() -> Configuration:
            raise ConfigurationError("config.toml", [Problem("daemon.stop_grace", "is too short")])

        api.held.daemon.read_configuration = refuse
        failure = await api.post("/v1/reload", status=422)
        assert failure["error"]["code"] == "configuration"
        assert failure["error"]["problems"] == ["daemon.stop_grace: is too short"]


async def test_the_configuration_shows_no_secret() -> None:
    configuration = on_demand("kitchen") + 'dynamic_variables = { secret__pin = "1234", mood = "good" }\n'
    async with open_api(LISTEN, configuration=configuration) as api:
        shown = await api.get("/v1/configuration")
        kitchen = shown["configuration"]["conversations"]["kitchen"]
        assert kitchen["dynamic_variables"] == {"secret__pin": "***", "mood": "good"}
        assert kitchen["limits"]["life"] == "inf"


async def test_who_asked_for_a_change_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with open_api(LISTEN, configuration=on_demand("kitchen")) as api:
        await api.get("/v1/status")
        await api.post("/v1/conversations/kitchen/mute")
    lines = [record.getMessage() for record in caplog.records if record.name == "convaid.control.application"]
    assert len(lines) == 1
    assert lines[0].startswith("POST /v1/conversations/kitchen/mute, by ")
    assert lines[0].endswith(")")


async def test_stop_is_answered_and_ends_everything() -> None:
    async with open_api(LISTEN, configuration=on_demand("kitchen")) as api:
        await api.post("/v1/conversations/kitchen/start", {"wait": 5})
        assert await api.post("/v1/stop", status=202) == {"state": "stopping"}
        await api.held.over.wait()
        assert not api.socket.exists()
        with pytest.raises(httpx.TransportError):
            await api.http.get("/v1/status")


async def test_nobody_waits_for_what_will_not_be_tried_in_time() -> None:
    configuration = on_demand("kitchen").replace("on_demand", "always") + "[budget]\nminutes_per_day = 0\n"
    async with open_api(LISTEN, configuration=configuration) as api:
        with trio.fail_after(3):
            found = await api.post("/v1/conversations/kitchen/start", {"wait": 10})
            assert found["state"] == "waiting"
            failure = await api.post("/v1/conversations/kitchen/ask", {"text": "Hi", "time_limit": 10}, 504)
        assert "0 minutes a day" in failure["error"]["message"]
