"""Servers that stall at each stage: which limit ends the wait, and what the agent is told. The README has the table."""

from __future__ import annotations

import socket
from typing import Any

import convaid_webhook.connecting
import convaid_webhook.sending
import pytest
import trio

from convaid.calls import open_tool_calls
from convaid.config.policy import ToolPolicy, ToolsConfig
from convaid.protocol.from_agent import ClientToolCall

from .serving import Server, ask, load_webhook, read_request, text, write_answer

LONG = {"connect": 15.0, "write": 15.0, "read": 15.0, "pool": 15.0, "total": 15.0}
WARNING = "It may have been done all the same: find out before you call this again."


async def post(server: Server, limit: str, scheme: str = "http", **parameters: Any) -> str:
    """POST with one short limit; return what the agent is told, after a check that the short one ended it."""
    tool: dict[str, Any] = {
        "method": "POST",
        "url": f"{scheme}://127.0.0.1:{server.port}/",
        "limits": {"total": 0.8} if limit == "total" else {**LONG, limit: 0.3},
        "json": {name: f"{{{name}}}" for name in parameters},
        "parameters": {name: text() for name in parameters},
    }
    start = trio.current_time()
    answer = await ask(tool, **parameters)
    assert answer.is_error
    assert f" {limit} limit" in answer.result
    assert 0.2 < trio.current_time() - start < 10
    return answer.result


async def say_nothing(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


async def test_nobody_accepts_the_connection() -> None:
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # one connection may wait to be accepted
        first.connect(full.getsockname())
        told = await post(Server(full.getsockname()[1]), "connect")
    assert told == "127.0.0.1 could not be reached within 0.3 s, the connect limit. Nothing was sent."


async def test_a_tls_handshake_that_never_ends(server: Server) -> None:
    server.behave = say_nothing
    told = await post(server, "connect", "https")
    assert told == "127.0.0.1 could not be reached within 0.3 s, the connect limit. Nothing was sent."


async def test_nothing_of_a_large_request_is_read(server: Server) -> None:
    server.behave = say_nothing
    told = await post(server, "write", words="x" * 16_000_000)
    assert told == f"127.0.0.1 has not taken the request within 0.3 s, the write limit. {WARNING}"


async def test_it_accepts_and_never_answers(server: Server) -> None:
    server.behave = say_nothing
    assert await post(server, "read") == f"127.0.0.1 has not answered for 0.3 s, the read limit. {WARNING}"


@pytest.mark.parametrize("beginning", [b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"])
async def test_it_stops_in_the_middle(server: Server, beginning: bytes) -> None:
    async def stop(stream: trio.abc.Stream) -> None:
        await stream.send_all(beginning)
        await trio.sleep_forever()

    server.behave = stop
    assert await post(server, "read") == f"127.0.0.1 has not answered for 0.3 s, the read limit. {WARNING}"


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200 OK\r\nX-A: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100000\r\n\r\n",
    ],
)
async def test_it_drips_for_ever(server: Server, beginning: bytes) -> None:
    async def drip(stream: trio.abc.Stream) -> None:
        await stream.send_all(beginning)
        while True:
            await trio.sleep(0.05)
            await stream.send_all(b"x")

    server.behave = drip
    told = await post(server, "total")
    assert told == f"127.0.0.1 was not done within 0.8 s, the total limit. {WARNING}"


async def call_often(server: Server, often: int, **tool: Any) -> list[str]:
    table = {"description": "Go", "url": f"http://127.0.0.1:{server.port}/", **tool}
    plugins = load_webhook({"tools": {"go": table}, "allow_local": True})
    results: list[str] = []

    async def call(number: int) -> None:
        answer = await tool_calls.call(ClientToolCall("go", f"call_{number}", {}), "main", "conv_1")
        results.append(answer.result)

    with trio.fail_after(20):
        async with open_tool_calls(plugins, ToolsConfig()) as tool_calls, trio.open_nursery() as nursery:
            for number in range(often):
                nursery.start_soon(call, number)
    return results


async def test_too_many_requests_are_under_way(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convaid_webhook.connecting, "MOST_REQUESTS", 1)
    server.behave = say_nothing
    results = await call_often(server, 2, method="POST", limits={"pool": 0.2, "read": 1.0})
    assert sorted(results) == [
        f"127.0.0.1 has not answered for 1 s, the read limit. {WARNING}",
        "So many requests are under way that there was no place within 0.2 s, the pool limit. Nothing was sent.",
    ]


async def test_hundreds_of_calls_at_once(server: Server) -> None:
    server.answers = [write_answer(body="fine")]
    assert await call_often(server, 300, limits={"pool": 14.0}) == ["fine"] * 300
    assert len(server.requests) == 300


async def test_the_total_limit_holds_for_repetitions(server: Server) -> None:
    server.answers = [write_answer("503 Service Unavailable")]
    tool = {"url": f"http://127.0.0.1:{server.port}/", "retries": 5, "limits": {"total": 0.5}}
    answer = await ask(tool)
    assert answer.result == "127.0.0.1 was not done within 0.5 s, the total limit."
    assert len(server.requests) <= 2  # at 0 and 0.2 s; the next would be at 0.6


async def test_an_operators_shorter_limit_leaves_time_to_say_what_happened(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convaid_webhook.sending, "HEAD_START", 5.0)
    server.behave = say_nothing
    table = {"tools": {"go": {"description": "Go", "url": f"http://127.0.0.1:{server.port}/"}}, "allow_local": True}
    with trio.fail_after(15):
        async with open_tool_calls(load_webhook(table), ToolsConfig(named={"go": ToolPolicy(time_limit=5.6)})) as calls:
            answer = await calls.call(ClientToolCall("go", "call_1", {}), "main", "conv_1")
    assert answer.result.startswith("127.0.0.1 was not done within 0")


async def test_a_connection_is_used_again_unless_its_server_has_closed_it(server: Server) -> None:
    from convaid_webhook.connecting import open_http

    async def answer_once(stream: trio.abc.Stream) -> None:
        assert await read_request(stream)
        await stream.send_all(write_answer())
        await stream.aclose()

    url = f"http://127.0.0.1:{server.port}/"
    async with open_http(lambda host: True) as http:
        await http.post(url)
        await http.post(url)
        assert server.connections == 1
        server.behave = answer_once
    async with open_http(lambda host: True) as http:
        for _ in range(3):
            assert (await http.post(url)).status_code == 200
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert server.connections == 4


async def test_what_was_given_up_is_not_the_next_ones_answer(server: Server) -> None:
    """A connection on which something is still to come is not used again."""
    plugins = load_webhook(
        {
            "tools": {
                "long": {"description": "Go", "url": f"http://127.0.0.1:{server.port}/", "answer_size": 1000},
                "slow": {"description": "Go", "url": f"http://127.0.0.1:{server.port}/", "limits": {"total": 0.2}},
                "fine": {"description": "Go", "url": f"http://127.0.0.1:{server.port}/"},
            },
            "allow_local": True,
        }
    )
    server.answers = [
        *(write_answer(body="fine"), write_answer(body="x" * 3_000_000), write_answer(body="fine")),
        *(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nlate", write_answer(body="fine")),
    ]
    results = []
    with trio.fail_after(10):
        async with open_tool_calls(plugins, ToolsConfig()) as tool_calls:
            for number, name in enumerate(["fine", "long", "fine", "slow", "fine", "fine"]):
                answer = await tool_calls.call(ClientToolCall(name, f"call_{number}", {}), "main", "conv_1")
                results.append(answer.result)
    assert [result == "fine" for result in results] == [True, False, True, False, True, True]
    assert server.connections == 3
