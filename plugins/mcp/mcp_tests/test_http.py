"""Servers over HTTP: called, restarted, gone, and of either era of the protocol."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from typing import Any

import mcp
import pytest
import trio
import trio.testing
from convaid_mcp import links
from convaid_mcp.settings import ServerSettings

from convaid import ToolError

from .serving import WAIT_LIMIT, SdkServer, call, open_connection, start_sdk_server, wait_until

pytestmark = [
    # The SDK leaves a stream that it gives up to the garbage collector; trio sees to its end, and says so.
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core)2\\..* was garbage collected:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Async generator 'mcp\\..* was garbage collected:ResourceWarning"),
]


def make_settings(port: int, **settings: Any) -> ServerSettings:
    return ServerSettings(tools=("*",), url=f"http://127.0.0.1:{port}/mcp", start_limit=WAIT_LIMIT, **settings)


@pytest.fixture(params=["legacy", "auto"])
def era(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Before 2026 servers know sessions, and forget them when they end; since then there are none."""
    mode = str(request.param)
    monkeypatch.setattr(links.mcp, "Client", partial(mcp.Client, mode=mode))
    return mode


async def test_calls_tools(sdk: SdkServer) -> None:
    async with open_connection(make_settings(await sdk.listen())) as connection:
        assert await call(connection, "light", lamps=[{"name": "desk", "level": 3}], mood=None) == "desk=3 None"
        assert json.loads(await call(connection, "measure", room=None)) == {"temperature": 0.0}
        with pytest.raises(ToolError, match="less than or equal to 10"):  # the server's own schema judges
            await call(connection, "light", lamps=[{"name": "desk", "level": 11}])
        with trio.move_on_after(0.1) as patience:
            await call(connection, "wait")
        assert patience.cancelled_caught
        assert await call(connection, "light", lamps=[]) == "None"


async def test_a_restart_is_not_felt(
    era: str, sdk: SdkServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(links, "TRUSTED_FOR", 0.0)  # as if the last call were long ago
    answers: list[str] = []
    async with start_sdk_server() as next_sdk:
        port = await sdk.listen()
        async with open_connection(make_settings(port)) as connection, trio.open_nursery() as nursery:

            async def measure() -> None:
                answers.append(await call(connection, "measure", room="hall"))

            await measure()
            await sdk.kill()
            nursery.start_soon(measure)
            await wait_until(lambda: "cannot be used" in caplog.text)
            await next_sdk.listen(port)
            await wait_until(lambda: len(answers) == 2)
            await measure()
    assert [json.loads(answer) for answer in answers] == [{"temperature": 21.5}] * 3
    assert caplog.text.count("cannot be used") == 1


async def test_a_server_that_has_forgotten_us_is_not_felt(
    sdk: SdkServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(links.mcp, "Client", partial(mcp.Client, mode="legacy"))
    async with start_sdk_server() as next_sdk:
        port = await sdk.listen()
        async with open_connection(make_settings(port)) as connection:
            await call(connection, "measure", room="hall")
            await sdk.kill()
            await next_sdk.listen(port)
            with pytest.raises(ToolError, match="refuses the call"):  # it has only just been heard
                await call(connection, "measure", room="hall")
            assert json.loads(await call(connection, "measure", room="hall")) == {"temperature": 21.5}
    assert "cannot be used: the connection has ended" in caplog.text


async def test_plain_http_goes_through_no_proxy(sdk: SdkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with open_connection(make_settings(await sdk.listen())) as connection:
        assert await call(connection, "sing") == "la"


async def test_a_death_during_a_call_is_an_answer(sdk: SdkServer) -> None:
    answers: list[str] = []
    async with open_connection(make_settings(await sdk.listen())) as connection, trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(ToolError) as caught:
                await call(connection, "wait")
            answers.append(str(caught.value))

        await call(connection, "measure", room="hall")
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked(0.1)
        await sdk.kill()
        await wait_until(lambda: answers)
        with pytest.raises(ToolError, match=r"cannot be reached: .*Nothing was done"):
            await call(connection, "measure", within=0.7, room="hall")
    assert "was lost during the call" in answers[0]


async def test_tells_of_tools_that_change(sdk: SdkServer, caplog: pytest.LogCaptureFixture) -> None:
    async with open_connection(make_settings(await sdk.listen())) as connection:
        await call(connection, "sing")
        connection.offered = dict(connection._reported)
        assert await call(connection, "change") == "changed"
        await wait_until(lambda: "(new: hum; gone: sing)" in caplog.text)


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        ("401 Unauthorized", "it answers with HTTP status 401: look at its headers"),
        ("404 Not Found", "it answers with HTTP status 404: look at its url"),
        ("503 Busy", "it answers with HTTP status 503"),
        ("200 OK", "Unexpected content type: text/html"),
    ],
)
async def test_what_is_no_server_is_named(
    status: str, trouble: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_TOKEN", "token-for-the-server")
    requests: list[bytes] = []

    async def refuse(stream: trio.SocketStream) -> None:
        requests.append(await stream.receive_some())
        await stream.send_all(f"HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nno".encode())
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, refuse, [listener])
        settings = make_settings(listener.socket.getsockname()[1], headers={"Authorization": "Bearer ${env:MY_TOKEN}"})
        async with open_connection(settings):
            await wait_until(lambda: "cannot be used" in caplog.text)
        nursery.cancel_scope.cancel()
    assert trouble in caplog.text
    assert b"authorization: bearer token-for-the-server" in requests[0].lower()
    assert "token-for-the-server" not in caplog.text


@pytest.mark.parametrize(
    ("headers", "body", "trouble"),
    [
        ("", b" " * 65536, "it sent a message of more than 16777216 bytes"),
        ("content-encoding: gzip\r\n", b"", "it answers in a compressed form, for which it was not asked"),
    ],
)
async def test_an_answer_without_an_end_is_the_end(
    headers: str, body: bytes, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def flood(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{headers}\r\n".encode())
        with suppress(trio.BrokenResourceError):
            while body:
                await stream.send_all(body)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, flood, [listener])
        async with open_connection(make_settings(listener.socket.getsockname()[1])):
            await wait_until(lambda: "cannot be used" in caplog.text)
        nursery.cancel_scope.cancel()
    assert trouble in caplog.text
