"""The REST calls of tools and agents, against servers that answer as they like."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from convaid.config import Secret
from convaid.errors import LinkError, LinkRefused
from convaid.rest import PlatformTool, Workspace, open_workspace
from convaid.rest import workspace as module

from .servers import serve_raw

LIMIT = 10.0
KEY = "sk_0123456789abcdef"
TOOL = {"id": "tool_1", "tool_config": {"type": "client", "name": "a", "description": "d"}}

Reply = tuple[int, bytes] | tuple[int, bytes, str]


@asynccontextmanager
async def open_fake(*replies: Reply, seen: list[bytes] | None = None) -> AsyncIterator[Workspace]:
    """A platform that gives these replies, one after the other; ``seen`` gets each request."""
    left = list(replies)

    async def answer(stream: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some()
        head, _, body = request.partition(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.splitlines() if line.lower().startswith(b"content-length")]
        while lengths and len(body) < int(lengths[0]):
            body += await stream.receive_some()
        if seen is not None:
            seen.append(head + b"\r\n\r\n" + body)
        status, content, *headers = left.pop(0)
        more = b"".join(header.encode() + b"\r\n" for header in headers)
        head = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%bConnection: close\r\n\r\n" % (status, len(content), more)
        await stream.send_all(head + content)

    with trio.fail_after(LIMIT):
        async with (
            serve_raw(answer) as port,
            open_workspace(f"http://127.0.0.1:{port}", Secret(KEY)) as workspace,
        ):
            yield workspace
    assert not left


def write(content: Any) -> bytes:
    return json.dumps(content).encode()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.02)


async def test_a_list_is_read_to_its_last_page() -> None:
    pages = [
        {"tools": [TOOL], "next_cursor": "c 1", "has_more": True},
        {"tools": [{**TOOL, "id": "tool_2", "response_mocks": [1]}], "next_cursor": None, "has_more": False},
    ]
    seen: list[bytes] = []
    async with open_fake(*((200, write(page)) for page in pages), seen=seen) as workspace:
        tools = await workspace.list_tools()
    assert [(tool.id, tool.name, tool.mocks) for tool in tools] == [("tool_1", "a", None), ("tool_2", "a", [1])]
    assert seen[0].startswith(b"GET /v1/convai/tools?page_size=100 HTTP")
    assert seen[1].startswith(b"GET /v1/convai/tools?page_size=100&cursor=c+1 HTTP")
    assert b"xi-api-key: " + KEY.encode() in seen[0]


async def test_what_changes_something_says_it_in_json() -> None:
    seen: list[bytes] = []
    async with open_fake((200, write(TOOL)), (200, b"null"), (200, write({"agent_id": "x"})), seen=seen) as workspace:
        await workspace.update_tool(PlatformTool("tool/1", TOOL["tool_config"], [2]))  # type: ignore[arg-type]
        await workspace.delete_tool("tool_1")
        await workspace.update_agent("agent_1", {"name": "b"}, "branch 1")
    assert seen[0].startswith(b"PATCH /v1/convai/tools/tool%2F1 HTTP")
    assert json.loads(seen[0].partition(b"\r\n\r\n")[2]) == {
        "tool_config": TOOL["tool_config"],
        "response_mocks": [2],
    }
    assert seen[1].startswith(b"DELETE /v1/convai/tools/tool_1 HTTP")
    assert seen[2].startswith(b"PATCH /v1/convai/agents/agent_1?branch_id=branch+1 HTTP")


async def test_reading_is_tried_again_and_waits_as_long_as_it_is_asked_to() -> None:
    replies: list[Reply] = [(503, b""), (429, b"{}", "Retry-After: 3600"), (200, write({"agent_id": "a"}))]
    async with open_fake(*replies) as workspace:
        assert await workspace.get_agent("a") == {"agent_id": "a"}


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_reading_is_given_up_after_three_attempts(status: int) -> None:
    async with open_fake(*[(status, b"busy")] * 3) as workspace:
        with pytest.raises(LinkRefused, match="busy; try again in a minute") as caught:
            await workspace.get_agent("a")
    assert caught.value.status == status


async def test_changing_is_not_tried_again() -> None:
    async with open_fake((503, b"busy")) as workspace:
        with pytest.raises(LinkRefused, match="cannot create a tool"):
            await workspace.create_tool({"name": "a"})


FAULTS = [
    {"loc": ["body", "tool_config", "client", "name"], "msg": "Field required", "type": "missing"},
    {"loc": ["body", "tool_config", "client", "parameters", "properties", "a"], "msg": "Extra", "type": "x"},
]


@pytest.mark.parametrize(
    ("status", "detail", "words"),
    [
        (401, {"status": "invalid_api_key", "message": "Invalid API key"}, ["Invalid API key", "set an API key"]),
        (
            401,
            {"status": "missing_permissions", "message": "The key lacks the permission convai_write."},
            ["convai_write", "give the API key write access to agents"],
        ),
        (403, {"status": "missing_permissions"}, ["give the API key write access to agents"]),
        (403, {"status": "only_for_creator+"}, ["only_for_creator+", "plan"]),
        (404, "Not found", ["Not found", "try again"]),
        (422, FAULTS, ["tool_config.client.name: Field required; ", "parameters.properties.a: Extra"]),
        (422, [3], ["[3]"]),
        (307, "", ["is base_url in [platform] right?"]),
        (400, "x" * (module.DETAIL_LENGTH - 5) + KEY, ["x***"]),
        (400, f"no {KEY} \x1b[2J", ["no *** \\x1b[2J"]),
    ],
)
async def test_a_refusal_says_what_can_be_done(status: int, detail: Any, words: Sequence[str]) -> None:
    async with open_fake((status, write({"detail": detail}))) as workspace:
        with pytest.raises(LinkRefused) as caught:
            await workspace.update_tool(PlatformTool("tool_1", {"name": "a"}))
    assert caught.value.status == status
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert KEY[:4] not in str(caught.value)


async def test_a_refusal_without_words_is_its_status() -> None:
    async with open_fake((400, b"")) as workspace:
        with pytest.raises(LinkRefused, match=r"^HTTP 400: cannot create a tool on 127\.0\.0\.1$"):
            await workspace.create_tool({"name": "a"})


async def test_an_agent_that_cannot_be_changed_is_there() -> None:
    async with open_fake((404, b'{"detail": "Document with id tool_1 not found."}')) as workspace:
        with pytest.raises(LinkRefused, match="tool_1 not found; a tool that the agent has may be gone"):
            await workspace.update_agent("agent_1", {})


async def test_an_agent_that_is_not_there_is_looked_for_in_the_configuration() -> None:
    async with open_fake((404, b"{}")) as workspace:
        with pytest.raises(LinkRefused, match=r"compare agent_id and branch_id in \[conversations.NAME\]"):
            await workspace.get_agent("agent_1")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "not a JSON object"),
        (b"<html>", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'{"tools": null}', 'no list "tools"'),
        (b'{"tools": [3]}', 'no list "tools"'),
        (b'{"tools": [{}]}', "no id, no tool_config or no name"),
        (b'{"tools": [{"id": "a", "tool_config": {"name": 3}}]}', "no id, no tool_config or no name"),
        (b'{"tools": [], "a": "' + b"x" * module.BODY_LIMIT + b'"}', "longer than 4 MiB"),
        (b"[" * 100_000, "not a JSON object"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "not a JSON object"),
    ],
)
async def test_an_answer_that_makes_no_sense_is_an_error(body: bytes, fault: str) -> None:
    async with open_fake((200, body)) as workspace:
        with pytest.raises(LinkError, match=fault) as caught:
            await workspace.list_tools()
    assert len(str(caught.value)) < 300


async def test_a_list_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGES", 3)
    page = write({"tools": [], "next_cursor": "again", "has_more": True})
    async with open_fake(*[(200, page)] * 3) as workspace:
        with pytest.raises(LinkError, match="after 3 pages there are still more"):
            await workspace.list_tools()


async def test_more_without_a_cursor_is_the_end() -> None:
    async with open_fake((200, write({"tools": [TOOL], "has_more": True}))) as workspace:
        assert len(await workspace.list_tools()) == 1


async def test_a_platform_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIME_LIMIT", 0.5)
    accepted = 0

    async def stall(stream: trio.SocketStream) -> None:
        nonlocal accepted
        accepted += 1
        await trio.sleep_forever()

    with trio.fail_after(LIMIT):
        async with serve_raw(stall) as port, open_workspace(f"http://127.0.0.1:{port}", None) as workspace:
            with pytest.raises(LinkError, match=r"cannot read the agent on 127.0.0.1: no answer in 0\.5 s"):
                await workspace.get_agent("a")
    assert accepted == 3


async def test_nobody_there_is_an_error_of_one_line() -> None:
    with trio.fail_after(LIMIT):
        async with open_workspace("http://127.0.0.1:9", None) as workspace:
            with pytest.raises(LinkError, match=r"cannot list the tools of 127\.0\.0\.1") as caught:
                await workspace.list_tools()
    assert "\n" not in str(caught.value)


async def test_agents_out_of_sight_are_counted_among_the_users_of_a_tool() -> None:
    page = {"agents": [{"type": "available", "id": "agent_1"}, {"type": "unknown"}], "has_more": False}
    async with open_fake((200, write(page))) as workspace:
        assert await workspace.list_dependent_agents("tool_1") == ["agent_1", ""]
