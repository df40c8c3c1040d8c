"""An agent that a language model plays, over real sockets on both sides: the model's server, and the user."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from convaid.audio import make_tone
from convaid.errors import ConfigurationError
from convaid.protocol.to_agent import (
    ClientToolResult,
    ContextualUpdate,
    ConversationInitiationClientData,
    UserAudio,
    UserMessage,
)
from convaid.simulator import Agent, Scenario, SimulatorSettings, Voice, open_simulator
from convaid.simulator.brain.settings import Brain
from convaid.transport import LinkClosed

from .model_server import (
    END,
    Message,
    ModelServer,
    Pause,
    Reply,
    call,
    open_model_server,
    refuse,
    say,
    write_delta,
    write_event,
)
from .peers import BarePeer, open_peer

LAMP = {
    "type": "client",
    "name": "set_lamp",
    "description": "Switch a lamp of {{name}}'s",
    "expects_response": True,
    "response_timeout_secs": 2,
    "parameters": {
        "type": "object",
        "required": ["room", "on", "owner"],
        "properties": {
            "room": {"type": "string", "description": "Which", "enum": ["hall", "kitchen"]},
            "on": {"type": "boolean", "description": "On or off"},
            "owner": {"type": "string", "dynamic_variable": "name"},
            "source": {"type": "string", "constant_value": "voice"},
        },
    },
}
DING = {"type": "client", "name": "ding", "description": "Ring", "expects_response": False}
AGENT = Agent(
    first_message="Hello {{name}}.",
    prompt="You are {{name}}'s butler.",
    text_only=True,
    dynamic_variables={"name": "Ada"},
    allowed_overrides=["agent.prompt.prompt", "agent.language", "custom_llm_extra_body"],
)

NOTHING = "answers with nothing, neither words nor a tool call; its log may say why"


@asynccontextmanager
async def open_conversation(
    decide: Callable[[list[Message]], Reply],
    *,
    agent: Agent = AGENT,
    initiation: ConversationInitiationClientData | None = None,
    tools: tuple[dict[str, Any], ...] = (LAMP, DING),
    **settings: Any,
) -> AsyncIterator[tuple[ModelServer, BarePeer]]:
    """A conversation after the agent's first message."""
    async with open_model_server(decide) as server:
        brain = Brain(**{"base_url": server.base_url, "model": "m"} | settings)
        scenario = Scenario(agent=agent, voice=Voice(speed=50), brain=brain)
        async with (
            open_simulator(SimulatorSettings([scenario], tools=tools)) as simulator,
            open_peer(simulator, initiation=initiation or ConversationInitiationClientData()) as peer,
        ):
            if agent.first_message:
                await peer.receive_type("agent_response_complete")
            yield server, peer


async def receive_calls(peer: BarePeer, count: int) -> list[dict[str, Any]]:
    calls = [(await peer.receive_type("client_tool_call"))["client_tool_call"] for _ in range(count)]
    return sorted(calls, key=lambda each: str(each["tool_name"]))


def is_result(messages: list[Message]) -> bool:
    return bool(messages[-1]["role"] == "tool")


# --- text ------------------------------------------------------------------------------------------------------------


async def test_an_answer_is_streamed_as_it_comes() -> None:
    async with open_conversation(lambda _: say("Good ", "evening\u2028, ", "Ada.")) as (server, peer):
        await peer.send(UserMessage("Hi there"))
        assert await peer.receive_answer() == (["Good ", "evening\u2028, ", "Ada."], "Good evening\u2028, Ada.")
        await peer.receive_type("agent_response_complete")
        await peer.send(UserMessage("And?"))
        await peer.receive_answer()
    assert server.last_messages == [
        {"role": "system", "content": "You are Ada's butler."},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": "Hi there"},
        {"role": "assistant", "content": "Good evening\u2028, Ada."},
        {"role": "user", "content": "And?"},
    ]
    assert (server.bodies[0]["model"], server.bodies[0]["stream"]) == ("m", True)
    assert "temperature" not in server.bodies[0]
    assert server.authorizations == [None, None]


async def test_overrides_and_dynamic_variables_reach_the_model() -> None:
    override = {"agent": {"prompt": {"prompt": "Be short, {{name}}."}, "language": "de"}}
    initiation = ConversationInitiationClientData(override, {"session": 7}, {"name": "Eve"})
    async with open_conversation(lambda _: say("Ja."), initiation=initiation, temperature=0.5) as (server, peer):
        await peer.send(UserMessage("Los"))
        await peer.receive_answer()
    assert server.last_messages[0] == {"role": "system", "content": "Be short, Eve.\n\nSpeak the language 'de'."}
    assert server.last_messages[1]["content"] == "Hello Eve."
    assert server.bodies[0]["temperature"] == 0.5
    assert server.bodies[0]["elevenlabs_extra_body"] == {"session": 7}


async def test_a_contextual_update_is_known_and_replaced_by_its_id() -> None:
    async with open_conversation(lambda _: say("Fine.")) as (server, peer):
        for text, context_id in (("It is 8 pm.", None), ("Page 1", "page"), ("Page 2", "page")):
            await peer.send(ContextualUpdate(text, context_id))
        await peer.send(UserMessage("Well?"))
        await peer.receive_answer()
    (message,) = [message for message in server.last_messages if message["role"] == "user"]
    assert "It is 8 pm." in message["content"]
    assert "Page 2" in message["content"]
    assert "Page 1" not in message["content"]


async def test_an_interruption_ends_the_request_and_leaves_what_was_heard() -> None:
    def decide(messages: list[Message]) -> Reply:
        return say("One, ", "two, ", Pause(30), "three.") if messages[-1]["content"] == "Count" else say("Stopped.")

    async with open_conversation(decide) as (server, peer):
        await peer.send(UserMessage("Count"))
        for _ in range(3):  # its start, and two words
            await peer.receive_type("agent_chat_response_part")
        await peer.send(UserMessage("Stop"))
        frame = await peer.receive_type("agent_response")
        assert frame["agent_response_event"]["agent_response"] == "One, two, "
        await peer.receive_type("interruption")
        assert (await peer.receive_answer())[1] == "Stopped."
        with trio.fail_after(10):
            while not server.left_early:
                await trio.sleep(0.01)
    assert server.last_messages[-3:] == [
        {"role": "user", "content": "Count"},
        {"role": "assistant", "content": "One, two, "},
        {"role": "user", "content": "Stop"},
    ]


async def test_an_interruption_before_the_first_word_leaves_nothing() -> None:
    def decide(messages: list[Message]) -> Reply:
        return say("Both.") if "Second" in messages[-1]["content"] else Reply([Pause(30)])

    async with open_conversation(decide) as (server, peer):
        await peer.send(UserMessage("First"))
        with trio.fail_after(10):
            while not server.bodies:
                await trio.sleep(0.01)
        await peer.send(UserMessage("Second"))
        assert (await peer.receive_answer())[1] == "Both."
    assert server.last_messages[-1] == {"role": "user", "content": "First\n\nSecond"}


# --- speech ----------------------------------------------------------------------------------------------------------


async def test_speech_comes_by_the_sentence_and_what_was_cut_off_is_forgotten() -> None:
    def decide(messages: list[Message]) -> Reply:
        if "speech of" in messages[-1]["content"]:
            return say("Yes.")
        return say("One. ", "Two and three and four and five and six. ", Pause(30))

    agent = Agent(prompt="Count.")
    async with open_conversation(decide, agent=agent, tools=()) as (server, peer):
        await peer.send(UserMessage("Count"))
        await peer.receive_type("audio")
        for is_loud in (True, False):
            pcm = make_tone(440, 1.0, 16000, -20) if is_loud else bytes(32000)
            await peer.send(UserAudio(base64.b64encode(pcm).decode()))
        correction = (await peer.receive_type("agent_response_correction"))["agent_response_correction_event"]
        assert correction["original_agent_response"].startswith("One.")
        heard = correction["corrected_agent_response"]
        assert len(heard) < len("One. Two and three and four and five and six.")
        await peer.receive_type("user_transcript")
        frame = await peer.receive_type("agent_response")
        assert frame["agent_response_event"]["agent_response"] == "Yes."
    said = [message["content"] for message in server.last_messages if message["role"] == "assistant"]
    assert said == [heard] * bool(heard)


# --- tools -----------------------------------------------------------------------------------------------------------


async def test_a_tool_is_called_and_its_result_goes_back() -> None:
    def decide(messages: list[Message]) -> Reply:
        if is_result(messages):
            return say(f"Done: {messages[-1]['content']}")
        return call(("set_lamp", {"room": "hall", "on": True}), words="A moment. ")

    async with open_conversation(decide) as (server, peer):
        await peer.send(UserMessage("Light!"))
        assert (await peer.receive_answer())[1] == "A moment. "
        (made,) = await receive_calls(peer, 1)
        assert made["tool_name"] == "set_lamp"
        assert made["parameters"] == {"room": "hall", "on": True, "owner": "Ada", "source": "voice"}
        await peer.send(ClientToolResult(made["tool_call_id"], "the lamp is on", False))
        assert (await peer.receive_answer())[1] == "Done: the lamp is on"
        await peer.receive_type("agent_response_complete")
    assert server.last_messages[-2:] == [
        {
            "role": "assistant",
            "content": "A moment. ",
            "tool_calls": [
                {
                    "id": "id_set_lamp_0",
                    "type": "function",
                    "function": {"name": "set_lamp", "arguments": '{"room": "hall", "on": true}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "id_set_lamp_0", "content": "the lamp is on"},
    ]


async def test_the_model_is_told_of_the_tools_without_what_the_platform_fills_in() -> None:
    async with open_conversation(lambda _: say("Hm.")) as (server, peer):
        await peer.send(UserMessage("Hi"))
        await peer.receive_answer()
    lamp, ding, end = server.bodies[0]["tools"]
    assert lamp == {
        "type": "function",
        "function": {
            "name": "set_lamp",
            "description": "Switch a lamp of Ada's",
            "parameters": {
                "type": "object",
                "properties": {
                    "room": {"type": "string", "description": "Which", "enum": ["hall", "kitchen"]},
                    "on": {"type": "boolean", "description": "On or off"},
                },
                "required": ["room", "on"],
            },
        },
    }
    assert ding["function"]["parameters"] == {"type": "object", "properties": {}}
    assert end["function"]["name"] == "end_call"
    assert server.bodies[0]["tool_choice"] == "auto"


async def test_calls_run_at_once_and_each_gets_an_answer() -> None:
    def decide(messages: list[Message]) -> Reply:
        if is_result(messages):
            return say("All done.")
        kitchen = ("set_lamp", {"room": "kitchen", "on": False})
        return call(("set_lamp", {"room": "hall", "on": True}), ("ding", ""), kitchen, ("bark", {}), ("ding", "[1"))

    async with open_conversation(decide) as (server, peer):
        await peer.send(UserMessage("Everything"))
        ding, *lamps = await receive_calls(peer, 3)
        assert ding["parameters"] == {}
        assert ding["expects_response"] is False
        for lamp in reversed(lamps):
            await peer.send(ClientToolResult(lamp["tool_call_id"], lamp["parameters"]["room"], False))
        assert (await peer.receive_answer())[1] == "All done."
    results = {each["tool_call_id"]: each["content"] for each in server.last_messages if each["role"] == "tool"}
    assert list(results) == ["id_set_lamp_0", "id_ding_1", "id_set_lamp_2", "id_bark_3", "id_ding_4"]
    assert (results["id_set_lamp_0"], results["id_set_lamp_2"]) == ("hall", "kitchen")
    assert "does not answer" in results["id_ding_1"]
    assert results["id_bark_3"] == "There is no tool bark; there is ding, end_call, set_lamp."
    assert results["id_ding_4"] == "The arguments are not a JSON object."
    assert server.last_messages[3]["tool_calls"][4]["function"]["arguments"] == "{}"  # servers read them again


async def test_what_is_said_while_a_tool_runs_is_answered_afterwards() -> None:
    def decide(messages: list[Message]) -> Reply:
        last = messages[-1]
        if last["role"] == "tool":
            return say("It is on.")
        return (
            say("You are welcome.") if last["content"] == "Thanks" else call(("set_lamp", {"room": "hall", "on": True}))
        )

    async with open_conversation(decide) as (_, peer):
        await peer.send(UserMessage("Light!"))
        (made,) = await receive_calls(peer, 1)
        await peer.send(UserMessage("Thanks"))
        await peer.receive_type("user_transcript")
        await peer.send(ClientToolResult(made["tool_call_id"], "ok", False))
        assert (await peer.receive_answer())[1] == "It is on."
        assert (await peer.receive_answer())[1] == "You are welcome."


async def test_a_tool_that_does_not_answer_is_given_up() -> None:
    def decide(messages: list[Message]) -> Reply:
        return say(messages[-1]["content"]) if is_result(messages) else call(("set_lamp", {}))

    async with open_conversation(decide) as (_, peer):
        await peer.send(UserMessage("Light!"))
        assert (await peer.receive_answer())[1] == "The tool has not answered in time."


async def test_a_model_that_calls_tools_for_ever_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    async with open_conversation(lambda _: call(("ding", {})), tool_rounds=2) as (server, peer):
        await peer.send(UserMessage("Ring"))
        await receive_calls(peer, 2)
        with trio.fail_after(10):
            while len(server.bodies) < 3:
                await trio.sleep(0.01)
        assert [body["tool_choice"] for body in server.bodies] == ["auto", "auto", "none"]
        assert (await peer.receive_answer())[1] == "I have called tools again and again, and still have no answer."
    assert "the brain goes on calling tools after brain.tool_rounds = 2 for one turn" in caplog.text


async def test_the_model_hangs_up() -> None:
    async with open_conversation(lambda _: call(("end_call", {"reason": "done"}), words="Bye.")) as (_, peer):
        await peer.send(UserMessage("Bye"))
        assert (await peer.receive_answer())[1] == "Bye."
        *_, closed = await peer.receive_rest()
    assert closed == LinkClosed(1000)


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (refuse(401, "Incorrect API key: sk-secret"), "answers 401: Incorrect API key: ***; brain.api_key_env"),
        (refuse(404, 'model "m" not found'), 'answers 404: model "m" not found; is brain.model = "m" one'),
        (refuse(400, "m does not support tools"), "does not support tools; not every model takes tools"),
        (refuse(503, "loading"), "answers 503: loading; its log may say why"),
        (Reply([b"data: {oops\n\n"]), "does not answer as it should: it sent something else than JSON: {oops"),
        (Reply([b'data: {"error": {"message": "out of memory"}}\n\n']), "does not answer as it should: out of memory"),
        (Reply([b"data: " + b"x" * 2**21]), "it sent a line of more than"),
        (Reply(say("Well, ").pieces[:-3]), "broke off in the middle of an answer"),
        (Reply([b": still here\n\n", Pause(0.1)] * 20), "nothing came from the model in 0.5 s; brain.time_limit"),
        (Reply([b'{"oops": 1}'], 200, "application/json"), "broke off in the middle of an answer"),
        (Reply([END]), NOTHING),
        (say(" ", "\n"), NOTHING),
        (Reply([write_event({"choices": None}), END]), NOTHING),
        (Reply([write_delta({"content": 3}, "stop")]), NOTHING),
        (Reply([write_delta({"tool_calls": 3}, "stop")]), NOTHING),
        (
            Reply([b"moved"], 302, headers={"Location": "https://x/v1/chat/completions"}),
            "answers 302, a redirect to https://x/v1/chat/completions: let brain.base_url be where it really is",
        ),
    ],
)
async def test_a_server_that_fails_ends_the_conversation_in_words(
    reply: Reply, complaint: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MODEL_KEY", "sk-secret")
    time_limit = 0.5 if "nothing came" in complaint else 30
    async with open_conversation(lambda _: reply, time_limit=time_limit, api_key_env="MODEL_KEY") as (server, peer):
        await peer.send(UserMessage("Hi"))
        error = (await peer.receive_type("error"))["error_event"]
        *_, closed = await peer.receive_rest()
    assert isinstance(closed, LinkClosed)
    assert (error["code"], closed.code) == (1002, 1002)
    assert error["error_type"] == ("llm_timeout" if "nothing came" in complaint else "custom_llm_error")
    assert complaint in error["message"]
    assert complaint in caplog.text
    assert error["message"].startswith(server.base_url)
    assert server.authorizations == ["Bearer sk-secret"]


async def test_a_server_that_is_not_there_is_named() -> None:
    async with open_conversation(lambda _: say("x"), base_url="http://127.0.0.1:9/v1") as (_, peer):
        await peer.send(UserMessage("Hi"))
        error = (await peer.receive_type("error"))["error_event"]
    assert "http://127.0.0.1:9/v1 cannot be reached" in error["message"]
    assert "`ollama serve`" in error["message"]


async def test_a_server_that_does_not_stream_will_do() -> None:
    message = {"role": "assistant", "content": "Whole.", "tool_calls": None}
    body = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    reply = Reply([json.dumps(body).encode()], 200, "application/json; charset=utf-8")
    async with open_conversation(lambda _: reply) as (_, peer):
        await peer.send(UserMessage("Hi"))
        assert (await peer.receive_answer())[1] == "Whole."


async def test_without_a_name_the_first_model_is_asked() -> None:
    async with open_conversation(lambda _: say("Hm."), model="") as (server, peer):
        await peer.send(UserMessage("Hi"))
        await peer.receive_answer()
        assert server.bodies[0]["model"] == "first"
    async with open_conversation(lambda _: say("Hm."), model="") as (server, peer):
        server.models = ()
        await peer.send(UserMessage("Hi"))
        assert "lists no models" in (await peer.receive_type("error"))["error_event"]["message"]


async def test_a_key_that_is_not_there_is_missed_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODEL_KEY", raising=False)
    scenario = Scenario("brain", brain=Brain(api_key_env="MODEL_KEY"))
    with pytest.raises(ConfigurationError, match=r"brain\.api_key_env: MODEL_KEY is not set"):
        async with open_simulator(SimulatorSettings([scenario])):
            pass
