"""The live events: a snapshot first, filters, slow readers and those that vanish."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
import trio
from attrs import define

from convaid import events, tool
from convaid.config import mask_text
from convaid.control import daemon_routes, feed
from convaid.control.feed import EVENTS_HELD, Feed, Reader
from convaid.protocol.from_agent import ClientToolCall, UserTranscript

from .serving import LISTEN, Api, on_demand, open_api


@tool
def open_door(door: Annotated[str, "which one"], pin: Annotated[str, "the secret"]) -> str:
    """Open a door."""
    return f"{door} is open"


@define(eq=False)
class Following:
    """Reads events: their kinds and contents; heartbeats are of the kind ""."""

    stream: trio.SocketStream
    _read: bytes = b""

    async def next(self) -> tuple[str, Any]:
        kind = ""
        while True:
            while b"\n" not in self._read:
                received = await self.stream.receive_some(65536)
                assert received, "the stream has ended"
                self._read += received
            line, _, self._read = self._read.partition(b"\n")
            name, _, value = line.decode().strip().partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                return kind, json.loads(value)
            elif not name and value:
                return "", None


@asynccontextmanager
async def follow(api: Api, query: str = "") -> AsyncIterator[Following]:
    async with await trio.open_unix_socket(str(api.socket)) as stream:
        await stream.send_all(f"GET /v1/events{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yield Following(stream)


async def test_a_snapshot_comes_first_and_then_what_happens() -> None:
    async with open_api(LISTEN, configuration=on_demand("kitchen")) as api, follow(api) as happening:
        kind, snapshot = await happening.next()
        assert (kind, snapshot["conversations"][0]["state"]) == ("snapshot", "closed")
        await api.post("/v1/conversations/kitchen/ask", {"text": "Well?"})
        kinds = []
        while True:
            kind, content = await happening.next()
            kinds.append(kind)
            assert content["event"] == kind
            assert content["conversation"] == "kitchen"
            assert content["at"] > 1.6e9
            if content.get("message", {}).get("agent_response") == "I see.":
                assert content["line"] == "agent: I see."
                break
        assert kinds[:2] == ["connecting", "connected"]


async def test_filters_leave_out_other_conversations_and_calls() -> None:
    scenario = 'steps = [{call = {tool = "open_door", parameters = {door = "front", pin = "1234"}}}]'
    configuration = on_demand("kitchen", "hall") + '[tools.open_door]\nredact = ["pin"]\n'
    async with (
        open_api(scenario, configuration=configuration, tools=[open_door]) as api,
        follow(api, "?conversation=hall&tool=open_door") as happening,
    ):
        await happening.next()
        for name in ("kitchen", "hall"):
            await api.post(f"/v1/conversations/{name}/start")
            await api.held.wait_for(events.ToolCallEnded, 1 if name == "kitchen" else 2)
        found = [await happening.next() for _ in range(2)]
        assert [(kind, content["conversation"]) for kind, content in found] == [
            ("tool_call_started", "hall"),
            ("tool_call_ended", "hall"),
        ]
        assert found[0][1]["call"]["parameters"] == {"door": "front", "pin": "***"}
        assert "1234" not in json.dumps(found)
        answer = await api.http.get("/v1/events?conversation=attic")
        assert answer.status_code == 404


async def test_a_quiet_stream_has_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_routes, "HEARTBEAT_INTERVAL", 0.01)
    async with open_api(LISTEN, configuration=on_demand("kitchen")) as api, follow(api) as happening:
        assert [(await happening.next())[0] for _ in range(3)] == ["snapshot", "", ""]


async def test_readers_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "READERS", 1)
    async with open_api(LISTEN, configuration=on_demand("kitchen")) as api, follow(api) as happening:
        await happening.next()
        failure = await api.get("/v1/events", 503)
        assert failure["error"]["code"] == "too_many"


def transcript(number: int) -> events.Event:
    return events.MessageReceived("kitchen", "conv_1", UserTranscript(f"word {number}", number))


async def test_a_slow_reader_is_told_how_many_it_has_missed() -> None:
    hands_out = Feed(lambda _: ())
    hands_out.add(reader := Reader())
    for number in range(EVENTS_HELD + 5):
        hands_out.observe(transcript(number))
    taken = await reader.take()
    assert len(taken) == EVENTS_HELD + 1
    assert b"word 999" in taken[-2]
    assert taken[-1] == b'event: missed\ndata: {"count":5}\n\n'
    hands_out.observe(transcript(7))
    assert [b"word 7" in message for message in await reader.take()] == [True]


async def test_what_came_before_the_snapshot_is_not_told_again() -> None:
    hands_out = Feed(lambda _: ())
    hands_out.add(reader := Reader())
    for number in range(EVENTS_HELD + 5):
        hands_out.observe(transcript(number))
    reader.begin()
    hands_out.observe(transcript(7))
    assert [b"word 7" in message for message in await reader.take()] == [True]


async def test_long_texts_are_cut_and_secrets_masked() -> None:
    hands_out = Feed(lambda _: ())
    hands_out.add(reader := Reader())
    call = ClientToolCall("t", "call_1", {"api_key": "abc", "text": "sk_0123456789abcdef", "deep": [["x" * 99999]]})
    hands_out.observe(events.ToolCallStarted("kitchen", "conv_1", call))
    hands_out.observe(events.MessageReceived("kitchen", "conv_1", UserTranscript("y" * 99999, 1)))
    started, said = await reader.take()
    assert len(started) < 20_000
    assert len(said) < 10_000
    assert b"99999 characters" in said
    assert b"sk_0123" not in started
    assert b'"api_key":"***"' in started
    assert mask_text("sk_0123456789abcdef") == "sk_***"


async def test_nobody_who_reads_costs_nothing() -> None:
    asked: list[str] = []

    def find_redacted(name: str) -> tuple[str, ...]:
        asked.append(name)
        return ()

    hands_out = Feed(find_redacted)
    hands_out.observe(events.ToolCallStarted("kitchen", "conv_1", ClientToolCall("t", "call_1")))
    assert not asked


async def test_a_reader_that_vanishes_or_stops_reading_disturbs_nobody() -> None:
    configuration = on_demand("kitchen") + "[daemon]\nstop_grace = 60\n"
    async with open_api(LISTEN, configuration=configuration) as api:
        for _ in range(5):
            vanishing = await trio.open_unix_socket(str(api.socket))
            await vanishing.send_all(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            await vanishing.receive_some(10)
            await vanishing.aclose()
        stopped = await trio.open_unix_socket(str(api.socket))
        await stopped.send_all(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        await api.post("/v1/conversations/kitchen/start", {"wait": 5})
        for number in range(1500):  # more than the kernel holds, and than wait for a reader
            api.held.daemon.announcer.publish(
                events.MessageReceived("kitchen", "conv_1", UserTranscript("x" * 1000, number))
            )
        began = trio.current_time()
        answer = await api.post("/v1/conversations/kitchen/ask", {"text": "Well?"})
        assert answer["text"] == "I see."
        assert trio.current_time() - began < 10
        api.held.daemon.stop.set()
        began = trio.current_time()
        await api.held.over.wait()
        assert trio.current_time() - began < 10  # although what hypercorn sends cannot be cancelled
        await stopped.aclose()
