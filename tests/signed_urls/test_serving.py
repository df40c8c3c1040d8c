"""The server over real HTTP, before the simulator and before platforms that refuse."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from convaid.config import Secret
from convaid.errors import ConfigurationError, ConvaidError
from convaid.events import Connected
from convaid.rest import fetch_signed_url
from convaid.signed_urls import serving
from convaid.signed_urls.serving import find_shared_secret, make_office, serve_office
from convaid.simulator import Agent, Scenario, SimulatorSettings, open_simulator
from convaid.transport import open_link
from tests.daemon.holding import hold
from tests.doctor.subjects import serve_platform
from tests.transport.servers import serve_raw

from .serving import KEY, MAIN, PAGE, SECRET, configure, open_served

TWO = MAIN + '[conversations.shop]\nagent_id = "agent_shop"\nbranch_id = "b 1"\nenvironment = "staging"\n'
PRIVATE = SimulatorSettings([Scenario(agent=Agent(requires_authorization=True))], KEY)


async def test_a_url_that_opens_a_conversation_and_is_kept_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_simulator(PRIVATE) as simulator, open_served(simulator.base_url) as served:
        answer = await served.ask()
        assert answer.status_code == 200
        assert list(answer.json()) == ["signed_url"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-origin" not in answer.headers
        url = answer.json()["signed_url"]
        async with open_link(url):
            pass
        assert [request.api_key for request in simulator.requests] == [KEY]
    assert "a signed URL of main for 127.0.0.1, a program" in caplog.text
    signature = url.partition("conversation_signature=")[2]
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("convaid", "httpx"))]
    assert signature
    assert signature not in "".join(ours)
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("text", "settings", "query", "found"),
    [
        (MAIN, "", "", "agent_id=agent_demo"),
        (MAIN, "", "?agent_id=agent_demo", "agent_id=agent_demo"),
        (TWO, "", "?conversation=shop", "agent_id=agent_shop&environment=staging&branch_id=b+1"),
        (TWO, "", "?agent_id=agent_shop", "agent_id=agent_shop&environment=staging&branch_id=b+1"),
        (TWO, 'conversations = ["main"]', "", "agent_id=agent_demo"),
        (TWO, 'conversations = ["main"]', "?conversation=shop", (404, "unknown_agent")),
        (TWO, "", "", (422, "invalid")),
        (TWO, "", "?conversation=main&agent_id=agent_shop", (422, "invalid")),
        (TWO, "", "?conversation=main&conversation=shop", (422, "invalid")),
        (TWO, "", "?agent_id=agent_of_somebody_else", (404, "unknown_agent")),
        (TWO, "", "?conversation=", (404, "unknown_agent")),
        (TWO, "", "?agentId=agent_shop", (422, "invalid")),
        (TWO, "", "?conversation=main&branch_id=other", (422, "invalid")),
    ],
)
async def test_agents_of_the_configuration_alone(
    text: str, settings: str, query: str, found: str | tuple[int, str]
) -> None:
    seen: list[str] = []
    url = "wss://api.elevenlabs.io/v1/convai/conversation?agent_id=a&conversation_signature=s"
    async with (
        serve_platform(lambda *_: (200, {"signed_url": url}), seen) as platform,
        open_served(platform, text, settings) as served,
    ):
        answer = await served.ask(f"/signed-url{query}")
    if isinstance(found, str):
        assert answer.json() == {"signed_url": url}
        assert seen == [f"GET /v1/convai/conversation/get-signed-url?{found}"]
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == found
        assert not seen


async def test_pages_of_listed_origins_and_their_preflight() -> None:
    async with (
        open_simulator(PRIVATE) as simulator,
        open_served(simulator.base_url, settings=f'origins = ["{PAGE}"]', secret=SECRET) as served,
    ):
        asking = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
        asking["Access-Control-Request-Headers"] = "authorization"
        answer = await served.http.options("/signed-url", headers=asking)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-headers"] == "Authorization"
        assert answer.headers["access-control-allow-methods"] == "GET"
        assert "access-control-allow-credentials" not in answer.headers
        answer = await served.http.options("/signed-url", headers=asking | {"Origin": "https://evil.example"})
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
        answer = await served.ask(Origin=PAGE, Authorization=f"Bearer {SECRET}")
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)
        answer = await served.ask(Origin=PAGE, Authorization="Bearer wrong")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.headers["access-control-allow-origin"] == PAGE  # so that the page can read why
        answer = await served.ask(Origin="https://evil.example", Authorization=f"Bearer {SECRET}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_refused")
        assert len(simulator.requests) == 1


async def test_rates_of_each_address_and_of_all() -> None:
    settings = f'origins = ["{PAGE}"]\nrate = "3/h"\nrate_in_all = "5/h"\nproxies = ["127.0.0.1"]'
    async with (
        open_simulator(SimulatorSettings()) as simulator,
        open_served(simulator.base_url, settings=settings) as served,
    ):

        async def ask(client: str, origin: str = PAGE) -> int:
            answer = await served.ask(X_Forwarded_For=client, Origin=origin)
            if answer.status_code == 429:
                assert 1 <= int(answer.headers["retry-after"]) <= 1200
                assert answer.headers["access-control-expose-headers"] == "Retry-After"
            return answer.status_code

        assert [await ask("198.51.100.1") for _ in range(4)] == [200, 200, 200, 429]
        assert [await ask("198.51.100.2", "https://evil.example") for _ in range(3)] == [403, 403, 403]
        assert await ask("198.51.100.2") == 429  # who is refused has used up what is his, and nothing of the others'
        assert [await ask("198.51.100.3") for _ in range(3)] == [200, 200, 429]
        assert len(simulator.requests) == 5
        assert (await served.ask("/health")).status_code == 200


@pytest.mark.parametrize(
    ("status", "content", "headers", "code", "told"),
    [
        (401, {"detail": {"message": f"Invalid API key {KEY}"}}, {}, 502, "platform_refuses"),
        (403, {"detail": "workspace of Ada"}, {}, 502, "platform_refuses"),
        (404, {"detail": "no agent"}, {}, 502, "platform_refuses"),
        (500, {}, {}, 502, "platform_refuses"),
        (429, {"detail": "busy"}, {"Retry-After": "17"}, 429, "platform_busy"),
        (429, {"detail": "busy"}, {}, 429, "platform_busy"),
        (200, {"signed_url": "https://evil.example/"}, {}, 502, "platform_unreachable"),
    ],
)
async def test_what_the_platform_refuses(
    status: int, content: Any, headers: Mapping[str, str], code: int, told: str
) -> None:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    async with (
        serve_platform(lambda *_: (status, content, *lines)) as platform,
        open_served(platform) as served,
    ):
        answer = await served.ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (code, told)
    assert answer.headers.get("retry-after") == (headers.get("Retry-After", "5") if code == 429 else None)
    for leak in ("Ada", KEY, "evil", "agent_demo", platform):
        assert leak not in answer.text


async def test_a_platform_that_is_not_there() -> None:
    async with open_served("http://127.0.0.1:9") as served:
        answer = await served.ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "platform_unreachable")


async def test_other_requests_are_told_what_there_is() -> None:
    async with open_served("http://127.0.0.1:9") as served:
        assert (await served.ask("/health")).json() == {"status": "ok"}
        answer = await served.ask("/")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        for method in ("POST", "HEAD", "DELETE"):
            answer = await served.http.request(method, "/signed-url")
            assert (answer.status_code, "GET" in answer.headers["allow"]) == (405, True), method
        answer = await served.http.request("GET", "/signed-url", content=b"x" * 1000)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


async def test_a_fault_of_ours_tells_nobody_outside(caplog: pytest.LogCaptureFixture) -> None:
    async with open_served("http://127.0.0.1:9") as served:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("convaid.signed_urls.application.mint_signed_url", None)
            answer = await served.ask()
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "fault")
        assert "TypeError" not in answer.text
    assert "TypeError" in caplog.text


# --- peers with bad manners, and the end -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\xff" * 100,
        b"GET /signed-url HTTP/1.1\r\n" + b"X: y\r\n" * 10_000,
        b"GET /signed-url?" + b"x" * 100_000,
        b"GET /signed-url HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"GET /signed-url HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
    ],
)
async def test_senseless_requests_cost_their_own_connection(request_bytes: bytes) -> None:
    async with open_served("http://127.0.0.1:9") as served:
        host, _, port = served.address.removeprefix("http://").rpartition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        try:
            with trio.move_on_after(0.2):
                await stream.send_all(request_bytes)
                while await stream.receive_some(4096):
                    pass
        except trio.BrokenResourceError:
            pass
        await stream.aclose()
        assert (await served.ask("/health")).status_code == 200


async def test_connections_are_bounded_in_number_and_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "CONNECTIONS", 5)
    monkeypatch.setattr(serving, "LIFE", 1.0)
    async with open_served("http://127.0.0.1:9") as served:
        host, _, port = served.address.removeprefix("http://").rpartition(":")
        streams = [await trio.open_tcp_stream(host, int(port)) for _ in range(8)]
        for stream in streams[:5]:
            await stream.send_all(b"GET /health HTTP/1.1\r\nX-Drip: ")
        refused = [await stream.receive_some(12) for stream in streams[5:]]
        assert refused == [b"HTTP/1.1 503"] * 3
        for stream in streams:
            try:
                while await stream.receive_some(4096):
                    pass
            except trio.BrokenResourceError:
                pass
            await stream.aclose()
        assert (await served.ask("/health")).status_code == 200


async def test_a_stop_lets_what_was_asked_be_answered_and_waits_for_nobody_else() -> None:
    asked, answered = trio.Event(), trio.Event()

    async def platform(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        asked.set()
        await answered.wait()
        body = b'{"signed_url": "wss://api.elevenlabs.io/v1/convai/conversation?conversation_signature=s"}'
        await stream.send_all(
            b"HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    codes: list[int] = []
    async with serve_raw(platform) as port, open_served(f"http://127.0.0.1:{port}", grace=math.inf) as served:
        host, _, own = served.address.removeprefix("http://").rpartition(":")
        idle = await trio.open_tcp_stream(host, int(own))

        async def ask() -> None:
            codes.append((await served.ask()).status_code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await asked.wait()
            served.stop.set()
            assert await idle.receive_some(1) == b""
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream(host, int(own))
            assert not served.ended.is_set()
            answered.set()
        await served.ended.wait()
        await idle.aclose()
    assert codes == [200]


async def test_a_stop_does_not_wait_for_longer_than_its_grace() -> None:
    async def platform(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with serve_raw(platform) as port, open_served(f"http://127.0.0.1:{port}", grace=0.1) as served:
        host, _, own = served.address.removeprefix("http://").rpartition(":")
        stream = await trio.open_tcp_stream(host, int(own))
        await stream.send_all(b"GET /signed-url HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await trio.sleep(0.05)
        served.stop.set()
        await served.ended.wait()
        await stream.aclose()


# --- what it begins with ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ('host = "0.0.0.0"', KEY, "signed_urls.host: leads to requests from elsewhere, and nothing says who may ask"),
        ('host = "::"', KEY, "signed_urls.host: leads to"),
        ('proxies = ["127.0.0.1"]', KEY, "signed_urls.proxies: leads to"),
        ('conversations = ["mian"]', KEY, 'there is no conversation "mian" with an agent_id; did you mean "main"?'),
        ("", "", "API key: there is none, and it is what buys signed URLs; set the environment variable"),
    ],
)
def test_what_it_does_not_begin_with(settings: str, key: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_office(configure("eu", settings=settings), Secret(key) if key else None, None)
    assert words in str(caught.value)


def test_beyond_this_machine_with_a_secret_or_origins() -> None:
    make_office(configure("eu", settings='host = "0.0.0.0"'), Secret(KEY), Secret(SECRET))
    make_office(configure("eu", settings=f'host = "0.0.0.0"\norigins = ["{PAGE}"]'), Secret(KEY), None)


def test_the_secret_is_in_a_file_a_credential_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure("eu").signed_urls
    assert find_shared_secret(config) is None
    monkeypatch.setenv("CONVAID_SIGNED_URLS_SECRET", SECRET)
    found = find_shared_secret(config)
    assert found
    assert (found.secret, found.place) == (Secret(SECRET), "$CONVAID_SIGNED_URLS_SECRET")
    (tmp_path / serving.CREDENTIAL).write_text(f"{SECRET}-2\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    found = find_shared_secret(config)
    assert found
    assert found.secret == Secret(f"{SECRET}-2")
    (tmp_path / "file").write_text("short")
    with pytest.raises(ConfigurationError, match="a shared secret of less than 16 characters; make a better one"):
        find_shared_secret(evolve(config, secret_file=tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        find_shared_secret(evolve(config, secret_file=tmp_path / "none"))


async def test_a_port_that_is_taken_is_one_line() -> None:
    async with open_served("http://127.0.0.1:9") as served:
        port = int(served.address.rpartition(":")[2])
        configuration = configure("http://127.0.0.1:9")
        taken = evolve(configuration, signed_urls=evolve(configuration.signed_urls, port=port))
        with pytest.raises(ConvaidError, match=f"cannot listen on 127.0.0.1, port {port}: .*in use"):
            await serve_office(make_office(taken, None, None), trio.Event(), 1.0)


# --- who uses it -----------------------------------------------------------------------------------------------------


async def test_a_daemon_without_the_key_converses_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARED", SECRET)
    async with open_simulator(PRIVATE) as simulator, open_served(simulator.base_url, secret=SECRET) as served:
        table = f"""
[conversations.main]
auth = "signed_url_from"
signed_url_from = "{served.address}/signed-url?conversation=main"
signed_url_secret_env = "SHARED"
start = "once"
"""
        async with hold("steps = []", configuration=table, base_url=simulator.base_url) as held:
            await held.wait_for(Connected)


async def test_it_answers_as_our_own_fetching_wants_it() -> None:
    async with open_simulator(SimulatorSettings()) as simulator, open_served(simulator.base_url) as served:
        url = await fetch_signed_url(f"{served.address}/signed-url", time_limit=5)
        assert url.startswith("ws://127.0.0.1:")
