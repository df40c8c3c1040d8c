"""The simulator's REST of agents, and that a conversation follows it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from convaid.protocol.to_agent import ConversationInitiationClientData
from convaid.simulator import Agent, Rule, Scenario, Simulator, load_scenario
from convaid.simulator.scenario import End, Silence
from convaid.simulator.workspace.agent_settings import describe_agent, read_agent
from convaid.simulator.workspace.agent_shapes import check_agent
from convaid.transport import LinkClosed

from .peers import open_peer
from .provisioning import AGENTS, find_faults, make_agent, make_tool, open_provisioning

NO_SUCH_AGENT = LinkClosed(3000, "The AI agent you are trying to reach does not exist.")
NAMED = Scenario(agent=Agent(id="agent_named", first_message="Hello", text_only=True), steps=[End()])
INLINE = [{"type": "client", "name": "x", "description": "x"}]


async def change(http: httpx.AsyncClient, agent_id: str, **settings: Any) -> dict[str, Any]:
    answer = await http.patch(f"{AGENTS}/{agent_id}", json=settings)
    assert answer.status_code == 200, answer.text
    agent = answer.json()
    assert (await http.get(f"{AGENTS}/{agent_id}")).json() == agent
    assert isinstance(agent, dict)
    return agent


async def converse(simulator: Simulator, agent_id: str, initiation: Any = None) -> list[Any]:
    """What the agent says in a conversation, and how that is closed."""
    query = f"agent_id={agent_id}"
    async with open_peer(simulator, query=query, initiation=initiation or ConversationInitiationClientData()) as peer:
        frames = await peer.receive_rest()
    return [
        frame if isinstance(frame, LinkClosed) else frame["agent_response_event"]["agent_response"]
        for frame in frames
        if isinstance(frame, LinkClosed) or frame["type"] == "agent_response"
    ]


@pytest.mark.parametrize(
    "scenario", [load_scenario("default"), load_scenario("demo"), NAMED], ids=lambda each: each.name
)
async def test_the_scenarios_agent_is_there_from_the_start(scenario: Scenario) -> None:
    agent_id = scenario.agent.id or "agent_demo"
    async with open_provisioning(scenario) as (_, http):
        agent = (await http.get(f"{AGENTS}/{agent_id}")).json()
        listed = (await http.get(AGENTS)).json()["agents"]
    config = agent["conversation_config"]
    assert config["agent"]["first_message"] == scenario.agent.first_message
    assert config["conversation"]["client_events"] == scenario.agent.client_events
    assert config["conversation"]["text_only"] == scenario.agent.text_only
    assert agent["platform_settings"]["overrides"]["conversation_config_override"]["conversation"]["text_only"] is True
    assert [each["agent_id"] for each in listed] == [agent_id]


def test_a_scenarios_agent_comes_back_as_it_went() -> None:
    agent = Agent(
        id="agent_a",
        requires_authorization=True,
        first_message="Hello {{name}}",
        language="de",
        text_only=True,
        client_events=["agent_response"],
        user_input_audio_format="ulaw_8000",
        agent_output_audio_format="pcm_44100",
        required_dynamic_variables=["city", "zone"],
        dynamic_variables={"name": "Ada"},
        allowed_overrides=["agent.first_message", "agent.prompt.prompt", "tts.voice_id"],
        metadata_delay=1.0,
        max_duration=60.0,
    )
    faults: list[Any] = []
    settings = check_agent(describe_agent(agent, "A"), (), faults)
    assert not faults
    again = read_agent("agent_a", settings, Agent(metadata_delay=1.0))
    assert sorted(again.allowed_overrides) == sorted(agent.allowed_overrides)
    agent.allowed_overrides.sort()
    again.allowed_overrides.sort()
    assert again == agent


async def test_dictionaries_are_merged_and_lists_and_the_workflow_replaced() -> None:
    async with open_provisioning() as (_, http):
        tools = [await make_tool(http), await make_tool(http)]
        agent_id = await make_agent(
            http,
            name="First",
            tags=["a"],
            conversation_config={
                "agent": {"first_message": "Hello", "prompt": {"tool_ids": tools, "temperature": 0.5}},
                "conversation": {"client_events": ["audio", "interruption"]},
            },
            platform_settings={"auth": {"enable_auth": True}, "privacy": {"record_voice": False}},
        )
        agent = await change(
            http,
            agent_id,
            name=None,
            tags=["b", "c"],
            conversation_config={
                "agent": {"prompt": {"tool_ids": tools[1:], "prompt": "Be kind"}},
                "conversation": {"client_events": ["agent_response"]},
            },
            version_description="dropped",
        )
        prompt = agent["conversation_config"]["agent"]["prompt"]
        assert (agent["name"], agent["tags"]) == ("First", ["b", "c"])
        assert (prompt["tool_ids"], prompt["temperature"], prompt["prompt"]) == (tools[1:], 0.5, "Be kind")
        assert agent["conversation_config"]["agent"]["first_message"] == "Hello"
        assert agent["conversation_config"]["conversation"]["client_events"] == ["agent_response"]
        assert agent["platform_settings"]["auth"]["enable_auth"] is True
        assert agent["platform_settings"]["privacy"] == {"record_voice": False}
        assert "version_description" not in agent

        end = {"type": "end", "position": {"x": 0, "y": 0}, "edge_order": [], "return_when_nested": True}
        agent = await change(http, agent_id, workflow={"nodes": {"end": end}})
        assert list(agent["workflow"]["nodes"]) == ["end"]


@pytest.mark.parametrize(
    ("settings", "places"),
    [
        ({}, ["body.conversation_config"]),
        ({"conversation_config": None}, ["body.conversation_config"]),
        ({"conversation_config": {"agent": None}}, ["body.conversation_config.agent"]),
        (
            {
                "name": 1,
                "tags": "a",
                "conversation_config": [],
                "platform_settings": 1,
                "workflow": "x",
            },
            ["body.name", "body.tags", "body.conversation_config", "body.platform_settings", "body.workflow"],
        ),
        (
            {
                "conversation_config": {
                    "agent": {"first_message": None, "prompt": {"tool_ids": "tool_1"}},
                    "conversation": {"client_events": ["noise"], "max_duration_seconds": 0, "text_only": 1},
                    "tts": {"agent_output_audio_format": "mp3"},
                },
                "platform_settings": {
                    "auth": {"enable_auth": "yes"},
                    "overrides": {"conversation_config_override": {"conversation": {"text_only": "maybe"}}},
                },
                "workflow": {"nodes": {"n": {"additional_tool_ids": 1}}},
            },
            [
                "body.conversation_config.agent.first_message",
                "body.conversation_config.agent.prompt.tool_ids",
                "body.conversation_config.conversation.text_only",
                "body.conversation_config.conversation.max_duration_seconds",
                "body.conversation_config.conversation.client_events.0",
                "body.conversation_config.tts.agent_output_audio_format",
                "body.platform_settings.auth.enable_auth",
                "body.platform_settings.overrides.conversation_config_override.conversation.text_only",
                "body.workflow.nodes.n.additional_tool_ids",
            ],
        ),
    ],
)
async def test_an_agent_that_the_platform_would_refuse(settings: dict[str, Any], places: list[str]) -> None:
    async with open_provisioning() as (simulator, http):
        assert list(find_faults(await http.post(f"{AGENTS}/create", json=settings))) == places
        assert list(simulator.workspace.agents) == ["agent_demo"]


@pytest.mark.parametrize(
    ("prompt", "status", "code"),
    [
        ({"tool_ids": ["tool_none"]}, 404, "document_not_found"),
        ({"tools": INLINE}, 400, "both_tools_and_tool_ids_provided"),
        ({"tools": INLINE, "tool_ids": []}, 400, "both_tools_and_tool_ids_provided"),
        ({"tools": []}, 200, None),
    ],
)
async def test_tools_are_given_to_an_agent_by_their_ids_alone(
    prompt: dict[str, Any], status: int, code: str | None
) -> None:
    config = {"agent": {"prompt": prompt}}
    async with open_provisioning() as (simulator, http):
        before = dict(simulator.workspace.agents)
        answers = [
            await http.post(f"{AGENTS}/create", json={"conversation_config": config}),
            await http.patch(f"{AGENTS}/agent_demo", json={"conversation_config": config}),
        ]
        assert [answer.status_code for answer in answers] == [status, status]
        if code:
            assert [answer.json()["detail"]["status"] for answer in answers] == [code, code]
            assert dict(simulator.workspace.agents) == before


async def test_agents_are_listed_by_name_tag_and_whether_they_are_archived() -> None:
    async def list_names(**query: Any) -> list[str]:
        page = (await http.get(AGENTS, params={"sort_by": "name", "sort_direction": "asc"} | query)).json()
        return [agent["name"] for agent in page["agents"]]

    async with open_provisioning(NAMED) as (_, http):
        await make_agent(http, name="Kitchen", tags=["home"])
        await make_agent(http, name="Old kitchen", tags=["home", "old"], platform_settings={"archived": True})
        assert await list_names() == ["Agent of the scenario scenario", "Kitchen"]
        assert await list_names(archived="true") == ["Old kitchen"]
        assert await list_names(search="KITCH") == ["Kitchen"]
        assert await list_names(tags=["old", "home"]) == ["Kitchen"]
        assert await list_names(page_size=1) == ["Agent of the scenario scenario"]


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_unknown_agent_is_not_found(method: str) -> None:
    async with open_provisioning() as (_, http):
        answer = await http.request(method, f"{AGENTS}/agent_none", json={})
    assert answer.status_code == 404
    assert answer.json()["detail"]["status"] == "agent_not_found"


# --- conversations --------------------------------------------------------------------------------------------------


async def test_an_agent_exists_from_its_making_to_its_deletion() -> None:
    async with open_provisioning(NAMED) as (simulator, http):
        assert await converse(simulator, "agent_other") == [NO_SUCH_AGENT]
        made = await make_agent(http, conversation_config={"agent": {"first_message": "I am new"}})
        assert "I am new" in await converse(simulator, made)
        assert await converse(simulator, "agent_named") == ["Hello", LinkClosed(1000)]
        for agent_id in (made, "agent_named"):
            assert (await http.delete(f"{AGENTS}/{agent_id}")).status_code == 200
            assert await converse(simulator, agent_id) == [NO_SUCH_AGENT]
            signed = await http.get("/v1/convai/conversation/get-signed-url", params={"agent_id": agent_id})
            assert signed.status_code == 404
        assert (await http.get(AGENTS)).json()["agents"] == []


async def test_a_changed_agent_is_what_one_converses_with() -> None:
    scenario = Scenario(agent=Agent(first_message="Hello {{name}}"), steps=[End()])
    async with open_provisioning(scenario) as (simulator, http):
        conversation = {"text_only": True, "client_events": ["agent_response"]}
        await change(http, "agent_demo", conversation_config={"conversation": conversation})
        named = ConversationInitiationClientData(dynamic_variables={"name": "Ada"})
        async with open_peer(simulator, initiation=named) as peer:
            frames = await peer.receive_rest()
        types = {frame["type"] for frame in frames if not isinstance(frame, LinkClosed)}
        assert types == {"conversation_initiation_metadata", "ping", "agent_response"}
        assert "'name'" in (await converse(simulator, "agent_demo"))[-1].reason

        placeholders = {"dynamic_variables": {"dynamic_variable_placeholders": {"name": "friend"}}}
        await change(http, "agent_demo", conversation_config={"agent": placeholders})
        assert await converse(simulator, "agent_demo") == ["Hello friend", LinkClosed(1000)]
        prompt = {"prompt": {"prompt": "{{city}} {{system__time}}"}}
        await change(http, "agent_demo", conversation_config={"agent": prompt})
        assert "{'city'}" in (await converse(simulator, "agent_demo"))[-1].reason
        await change(http, "agent_demo", conversation_config={"conversation": {"client_events": []}})
        city = ConversationInitiationClientData(dynamic_variables={"city": "Rome"})
        assert await converse(simulator, "agent_demo", city) == [LinkClosed(1000)]


async def test_a_changed_agent_ends_when_it_says() -> None:
    async with open_provisioning(Scenario(agent=Agent(text_only=True), steps=[Silence(30)])) as (simulator, http):
        await change(http, "agent_demo", conversation_config={"conversation": {"max_duration_seconds": 1}})
        ended = LinkClosed(1000, "Conversation has exceeded maximum duration.")
        assert await converse(simulator, "agent_demo") == [ended]


async def test_what_may_be_overridden_is_what_the_agent_says() -> None:
    wanted = ConversationInitiationClientData(conversation_config_override={"agent": {"first_message": "Ahoy"}})
    async with open_provisioning(NAMED) as (simulator, http):
        refused = await converse(simulator, "agent_named", wanted)
        assert refused[-1] == LinkClosed(1008, "Override for field 'first_message' is not allowed by config.")
        permission = {"overrides": {"conversation_config_override": {"agent": {"first_message": True}}}}
        await change(http, "agent_named", platform_settings=permission)
        assert await converse(simulator, "agent_named", wanted) == ["Ahoy", LinkClosed(1000)]


async def test_a_private_agent_asks_for_a_signed_url() -> None:
    async with open_provisioning(NAMED, api_key="sk_right") as (simulator, http):
        await change(http, "agent_named", platform_settings={"auth": {"enable_auth": True}})
        assert await converse(simulator, "agent_named") == [LinkClosed(3000, "Could not authorize the conversation.")]
        answer = await http.get("/v1/convai/conversation/get-signed-url", params={"agent_id": "agent_named"})
        query = answer.json()["signed_url"].partition("?")[2]
        async with open_peer(simulator, query=query) as peer:
            assert (await peer.receive_rest())[-1] == LinkClosed(1000)


async def test_the_agents_voice_follows_its_format() -> None:
    spoken = Scenario(agent=Agent(first_message="Hello", agent_output_audio_format="pcm_16000"), steps=[End()])
    async with open_provisioning(spoken) as (simulator, http):
        await change(http, "agent_demo", conversation_config={"tts": {"agent_output_audio_format": "ulaw_8000"}})
        async with open_peer(simulator) as peer:
            metadata = (await peer.receive())["conversation_initiation_metadata_event"]  # type: ignore[index]
            await peer.receive_rest()
    assert metadata["agent_output_audio_format"] == "ulaw_8000"


async def test_each_scenario_is_played_with_its_own_agent_until_rest_changes_that() -> None:
    scenarios = [
        Scenario(agent=Agent(first_message=text, text_only=True), steps=[End()]) for text in ("one", "two", "three")
    ]
    async with open_provisioning(*scenarios) as (simulator, http):
        assert (await converse(simulator, "agent_demo"))[0] == "one"
        assert (await converse(simulator, "agent_anything"))[0] == "two"
        await change(http, "agent_demo", conversation_config={"agent": {"first_message": "changed"}})
        assert (await converse(simulator, "agent_demo"))[0] == "changed"
        assert (await converse(simulator, "agent_anything"))[0] == "three"


async def test_the_rules_go_on_with_an_agent_of_rest() -> None:
    echo = Scenario(rules=[Rule(when="(.+)", say="You said $1", end=True)])
    async with open_provisioning(echo) as (simulator, http):
        made = await make_agent(http, conversation_config={"conversation": {"text_only": True}})
        async with open_peer(simulator, query=f"agent_id={made}") as peer:
            await peer.send('{"type": "user_message", "text": "moo"}')
            answer = (await peer.receive_type("agent_response"))["agent_response_event"]["agent_response"]
    assert answer == "You said moo"
