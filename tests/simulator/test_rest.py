"""The simulator's REST side, as httpx sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from trio.testing import MockClock

from convaid.simulator import Agent, Scenario, Simulator, SimulatorSettings, open_simulator
from convaid.simulator.answers import Request
from convaid.simulator.rest import Authorization
from convaid.simulator.scenario import End, Refuse
from convaid.transport import LinkClosed

from .peers import open_peer

PATH = "/v1/convai/conversation/get-signed-url"
PRIVATE = Scenario(agent=Agent(id="agent_a", requires_authorization=True, text_only=True), steps=[End()])


@asynccontextmanager
async def open_rest(api_key: str | None = "sk_right") -> AsyncIterator[tuple[Simulator, httpx.AsyncClient]]:
    async with (
        open_simulator(SimulatorSettings([PRIVATE], api_key)) as simulator,
        httpx.AsyncClient(base_url=simulator.base_url, headers={"xi-api-key": "sk_right"}) as http,
    ):
        yield simulator, http


@pytest.mark.parametrize("path", [PATH, PATH.replace("-", "_")])
async def test_a_signed_url_opens_a_private_agent_as_often_as_wanted(path: str) -> None:
    async with open_rest() as (simulator, http):
        answer = await http.get(path, params={"agent_id": "agent_a"})
        assert answer.status_code == 200
        url = answer.json()["signed_url"]
        address = simulator.base_url.removeprefix("http://")
        assert url.startswith(f"ws://{address}/v1/convai/conversation?agent_id=agent_a&conversation_signature=")
        for _ in range(2):
            async with open_peer(simulator, query=url.partition("?")[2]) as peer:
                assert (await peer.receive_rest())[-1] == LinkClosed(1000)
        (request,) = simulator.requests
    assert (request.method, request.path, request.api_key, request.status) == ("GET", path, "sk_right", 200)
    assert "sk_right" not in repr(request)


async def test_a_signed_url_with_a_conversation_id_is_good_for_one_conversation() -> None:
    async with open_rest() as (simulator, http):
        params = {"agent_id": "agent_a", "include_conversation_id": "true"}
        url = (await http.get(PATH, params=params)).json()["signed_url"]
        codes = []
        for _ in range(2):
            async with open_peer(simulator, query=url.partition("?")[2]) as peer:
                codes.append((await peer.receive_rest())[-1])
    assert codes == [LinkClosed(1000), LinkClosed(3000, "Could not authorize the conversation.")]


async def test_a_signature_is_for_one_agent_and_for_15_minutes(autojump_clock: MockClock) -> None:
    authorization = Authorization("sk")
    signature = authorization.mint_signature("agent_a", 900, is_single_use=False)

    def ask(agent_id: str) -> Refuse | None:
        request = Request("GET", "/", {"agent_id": agent_id, "conversation_signature": signature}, {})
        return authorization.find_refusal(Agent(), request)

    assert ask("agent_b") == Refuse()
    await trio.sleep(899)
    assert ask("agent_a") is None
    await trio.sleep(2)
    assert ask("agent_a") == Refuse()


@pytest.mark.parametrize("key", ["sk_wrong", ""])
async def test_a_wrong_key_is_refused_in_the_platforms_words(key: str) -> None:
    async with open_rest() as (_, http):
        answer = await http.get(PATH, params={"agent_id": "agent_a"}, headers={"xi-api-key": key})
    assert answer.status_code == 401
    assert answer.json()["detail"]["status"] == "invalid_api_key"


async def test_without_a_key_of_its_own_any_key_is_right() -> None:
    async with open_rest(api_key=None) as (_, http):
        assert (await http.get(PATH, params={"agent_id": "agent_a"}, headers={"xi-api-key": "x"})).status_code == 200


async def test_an_unknown_agent_is_not_found() -> None:
    async with open_rest() as (_, http):
        answer = await http.get(PATH, params={"agent_id": "agent_b"})
    assert answer.status_code == 404
    assert answer.json()["detail"]["message"] == "Agent with ID 'agent_b' not found."


async def test_a_missing_agent_is_a_validation_error() -> None:
    async with open_rest() as (_, http):
        answer = await http.get(PATH)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", "agent_id"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/convai/conversation/token", 400),
        ("GET", "/", 404),
        ("HEAD", "/", 404),
        ("POST", PATH, 405),
        ("GET", "/v1/convai/conversation", 426),
        ("POST", "/v1/convai/conversation", 426),
        ("OPTIONS", PATH, 204),
        ("OPTIONS", "/anything", 204),
    ],
)
async def test_everything_else_has_an_answer_too(method: str, path: str, status: int) -> None:
    async with open_rest() as (_, http):
        answer = await http.request(method, path, content=b"{}" if method == "POST" else None)
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == "*"
    if status >= 400 and method != "HEAD":
        assert answer.json()["detail"]["message"]


async def test_one_connection_serves_many_requests() -> None:
    async with open_rest() as (simulator, http):
        for number in range(20):
            assert (await http.post(f"/{number}", content=b"x" * number)).status_code == 404
        pool = http._transport._pool  # type: ignore[attr-defined]  # that it is one connection shows nowhere else
        assert len(pool.connections) == 1
        assert len(simulator.requests) == 20
