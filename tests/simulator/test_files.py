"""Files for a conversation by REST, and what a page in a browser or a key with few rights meets there."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from convaid.protocol.to_agent import Feedback, FileInput, MultimodalMessage, UserMessage
from convaid.simulator import Agent, Rule, Scenario, Simulator, SimulatorSettings, open_simulator
from convaid.simulator.agent import Limits
from convaid.simulator.scenario import Close, End, ExpectText, Say
from convaid.simulator.workspace.multipart import Part, read_form
from convaid.transport import LinkClosed

from .peers import open_peer
from .provisioning import AGENTS, CONVERSATIONS, TOOLS, make_agent, open_provisioning

TALK = Scenario(
    agent=Agent(text_only=True, limits=Limits(max_files=2)), rules=[Rule("bye", end=True), Rule(say="Nice.")]
)
PHOTO = ("photo.png", b"\x89PNG\r\n\r\n--x\x00\xff\r", "image/png")


async def upload(
    http: httpx.AsyncClient, simulator: Simulator, file: Any = PHOTO, name: str = "file"
) -> httpx.Response:
    path = f"{CONVERSATIONS}/{simulator.conversations[-1].conversation_id}/files"
    http.headers.pop("xi-api-key", None)  # the official JavaScript client sends none
    return await http.post(path, files={name: file})


async def test_a_file_is_uploaded_shown_given_back_and_deleted() -> None:
    async with open_provisioning(TALK, api_key="sk") as (simulator, http), open_peer(simulator) as peer:
        await peer.receive_type("conversation_initiation_metadata")
        answer = await upload(http, simulator)
        assert answer.status_code == 200
        file_id = answer.json()["file_id"]
        await peer.send(MultimodalMessage(UserMessage("Look!"), files=[FileInput(file_id)]))
        said = (await peer.receive_type("user_transcript"))["user_transcription_event"]["user_transcript"]
        assert said == "Look! (file photo.png)"
        url = f"{CONVERSATIONS}/{simulator.conversations[-1].conversation_id}/files/{file_id}"
        assert (await http.get(url)).status_code == 401
        http.headers["xi-api-key"] = "sk"
        content = await http.get(url)
        assert (content.content, content.headers["content-type"]) == (PHOTO[1], "image/png")
        assert (await http.delete(url)).json() == {"file_id": file_id}
        assert (await http.get(url)).status_code == (await http.delete(url)).status_code == 404
        await peer.send(MultimodalMessage(file=FileInput(file_id)))
        assert (await peer.receive_rest())[-1] == LinkClosed(1008, f"File with id {file_id} not found.")


@pytest.mark.parametrize(
    ("file", "name", "status", "words"),
    [
        (("a.txt", b"x", "text/plain"), "file", 400, "Files are images or PDF, and a.txt is text/plain."),
        (PHOTO, "picture", 422, "Field required"),
        (("a.pdf", b"%PDF", "application/pdf"), "file", 200, "file_id"),
        (("b.png", b"x" * 5_000_000, "image/png"), "file", 200, "file_id"),
        (("c.png", b"x" * 21_000_000, "image/png"), "file", 413, "too large"),
    ],
)
async def test_not_every_file_is_taken(file: Any, name: str, status: int, words: str) -> None:
    async with open_provisioning(TALK) as (simulator, http), open_peer(simulator) as peer:
        await peer.receive_type("conversation_initiation_metadata")
        answer = await upload(http, simulator, file, name)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_the_agent_takes_so_many_files_and_only_while_it_talks() -> None:
    async with open_provisioning(TALK) as (simulator, http):
        async with open_peer(simulator) as peer:
            await peer.receive_type("conversation_initiation_metadata")
            codes = [(await upload(http, simulator)).status_code for _ in range(3)]
            await peer.send(UserMessage("bye"))
            await peer.receive_rest()
        await simulator.wait_conversation()
        late = await upload(http, simulator)
        unknown = await http.post(f"{CONVERSATIONS}/conv_none/files", files={"file": PHOTO})
    assert codes == [200, 200, 400]
    assert late.json()["detail"]["status"] == "conversation_ended"
    assert unknown.status_code == 404


def test_forms_are_read_to_the_byte() -> None:
    body = (
        b'preamble\r\n--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n--b\r\n'
        b'content-disposition: form-data; name="file"; filename="x y.png"\r\ncontent-type: image/png\r\n\r\n'
        b"\r\n--\r\n\x00\xff\r\n--b--\r\nepilogue"
    )
    assert read_form('multipart/form-data; boundary="b"', body) == [
        Part("a", None, "text/plain", b""),
        Part("file", "x y.png", "image/png", b"\r\n--\r\n\x00\xff"),
    ]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b"x"),
        ("multipart/form-data", b"--b--"),
        ("multipart/mixed; boundary=b", b"--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx'),
        ("multipart/form-data; boundary=b", b""),
    ],
)
def test_what_is_no_form_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(ValueError, match="form"):
        read_form(content_type, body)


# --- what else REST tells of a conversation ------------------------------------------------------------------------


async def test_what_was_thought_of_a_turn_is_told_with_it() -> None:
    steps = [Say("Hello."), ExpectText("go"), End()]
    async with open_provisioning(Scenario(agent=Agent(text_only=True), steps=steps)) as (simulator, http):
        async with open_peer(simulator) as peer:
            event_id = (await peer.receive_type("agent_response"))["agent_response_event"]["event_id"]
            await peer.send(Feedback(event_id, "like"))
            await peer.send(UserMessage("go"))
            await peer.receive_rest()
        record = await simulator.wait_conversation()
        told = (await http.get(f"{CONVERSATIONS}/{record.conversation_id}")).json()
        audio = await http.get(f"{CONVERSATIONS}/{record.conversation_id}/audio")
    assert told["metadata"]["feedback"]["likes"] == 1
    assert told["transcript"][0]["feedback"]["score"] == "like"
    assert told["transcript"][0]["source_event_id"] == event_id
    assert told["environment"] == "production"
    assert audio.status_code == 404
    assert "keeps no audio" in audio.json()["detail"]["message"]


# --- pages and keys ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "requires_origin", "is_welcome"),
    [
        ("https://shop.example", False, True),
        ("https://shop.example:8443", False, True),
        ("http://localhost:3000", False, True),
        ("http://localhost:3001", False, False),
        ("https://evil.example", False, False),
        ("null", False, False),
        (None, False, True),
        (None, True, False),
    ],
)
async def test_pages_of_some_hosts_may_talk_to_the_agent(
    origin: str | None, requires_origin: bool, is_welcome: bool
) -> None:
    hosts = ["shop.example", "localhost:3000"]
    agent = Agent(allowlist=hosts, require_origin_header=requires_origin)
    headers = [(b"Origin", origin.encode())] if origin else []
    async with (
        open_simulator(SimulatorSettings([Scenario(agent=agent, steps=[Close(4000)])])) as simulator,
        open_peer(simulator, headers=headers) as peer,
    ):
        closed = (await peer.receive_rest())[-1]
    refusal = LinkClosed(3000, "Could not authorize the conversation.")
    assert closed == (LinkClosed(4000) if is_welcome else refusal)


async def test_a_browser_may_ask_for_anything_first() -> None:
    async with open_simulator() as simulator, httpx.AsyncClient(base_url=simulator.base_url) as http:
        answer = await http.options(
            TOOLS,
            headers={
                "Origin": "https://shop.example",
                "Access-Control-Request-Method": "PATCH",
                "Access-Control-Request-Headers": "xi-api-key,content-type",
                "Access-Control-Request-Private-Network": "true",
            },
        )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "xi-api-key,content-type"
    assert answer.headers["access-control-allow-private-network"] == "true"


async def test_a_key_may_lack_a_permission() -> None:
    settings = SimulatorSettings(api_key="sk", scopes={"convai_read"})
    async with (
        open_simulator(settings) as simulator,
        httpx.AsyncClient(base_url=simulator.base_url, headers={"xi-api-key": "sk"}) as http,
    ):
        assert (await http.get(AGENTS)).status_code == 200
        assert (await http.get("/v1/user")).status_code == 200
        answer = await http.delete(f"{AGENTS}/agent_demo")
    assert answer.status_code == 401
    detail = answer.json()["detail"]
    assert (detail["type"], detail["code"], detail["status"]) == (
        "authentication_error",
        "unauthorized",
        "missing_permissions",
    )
    assert "convai_write" in detail["message"]


# --- settings of the platform's ------------------------------------------------------------------------------------


async def test_an_agent_of_rest_has_its_silences_and_limits() -> None:
    async with open_provisioning(Scenario(agent=Agent(text_only=True))) as (simulator, http):
        agent_id = await make_agent(
            http,
            conversation_config={
                "turn": {"turn_timeout": 5, "soft_timeout_config": {"timeout_seconds": 2, "message": "Hm."}},
                "conversation": {"file_input": {"enabled": False}},
                "agent": {"max_conversation_duration_message": "Time is up."},
            },
            platform_settings={
                "auth": {"allowlist": [{"hostname": "shop.example"}], "require_origin_header": True},
                "call_limits": {"agent_concurrency_limit": 3},
                "queueing_config": {"enabled": True},
                "overrides": {"custom_llm_extra_body": True, "enable_procedure_ids_from_client": True},
            },
        )
        plain = await make_agent(http)
        agents = [simulator.workspace.find_agent(each, Agent()) for each in (agent_id, plain)]
        wrong = await http.post(
            f"{AGENTS}/create",
            json={
                "conversation_config": {"turn": {"turn_timeout": "long"}},
                "platform_settings": {"queueing_config": {"wait_timeout_seconds": 0}},
            },
        )
    agent, other = agents
    assert agent is not None
    assert other is not None
    assert (agent.silences.turn_timeout, agent.silences.soft_timeout, agent.silences.soft_timeout_message) == (
        5,
        2,
        "Hm.",
    )
    assert agent.limits == Limits(agent_concurrency_limit=3, queue_wait=180, max_files=0)
    assert (agent.allowlist, agent.require_origin_header) == (["shop.example"], True)
    assert agent.max_duration_message == "Time is up."
    assert {"custom_llm_extra_body", "procedure_ids"} <= set(agent.allowed_overrides)
    assert (other.silences.turn_timeout, other.silences.silence_end_call_timeout) == (7, None)
    assert other.limits == Limits()
    assert wrong.status_code == 422
    assert len(wrong.json()["detail"]) == 2


async def test_guesses_about_rest_are_switches() -> None:
    from convaid.simulator.agent import Guesses

    guesses = Guesses(new_agent_events=["audio"], in_use_status=409)
    async with open_provisioning(Scenario(agent=Agent(guesses=guesses))) as (_, http):
        tool = await http.post(TOOLS, json={"tool_config": {"type": "client", "name": "t", "description": "x"}})
        prompt = {"tool_ids": [tool.json()["id"]]}
        agent = await make_agent(http, conversation_config={"agent": {"prompt": prompt}})
        body = (await http.get(f"{AGENTS}/{agent}")).json()
        refused = await http.delete(f"{TOOLS}/{tool.json()['id']}")
    assert body["conversation_config"]["conversation"]["client_events"] == ["audio"]
    assert refused.status_code == 409
