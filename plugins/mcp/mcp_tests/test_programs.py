"""Servers that are programs: called, lost in every way, started again, and gone at the end."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from pathlib import Path

import pytest
import trio
from convaid_mcp import connections

from convaid import ToolError

from .serving import PlainServer, call, is_alive, open_connection, wait_until


async def test_calls_tools(plain: PlainServer) -> None:
    async with open_connection(plain.make_settings()) as connection:
        assert json.loads(await call(connection, "echo", text="hé", n=[1])) == {"text": "hé", "n": [1]}
        shown = await call(connection, "show")
        with pytest.raises(ToolError, match=r"^no such lamp$"):
            await call(connection, "fail")
        with pytest.raises(ToolError, match=r'^The server "tried" refuses the call: level must be at most 10$'):
            await call(connection, "refuse")
        with pytest.raises(ToolError, match=r"The tool has run, but what the server .* cannot be read"):
            await call(connection, "babble")
        assert len(plain.pids) == 1
    assert not is_alive(plain.pids[0])
    assert shown.splitlines() == [
        "two pictures",
        "a text",
        "[image, image/png, 3 bytes: not sent]",
        "[audio, audio/wav, 6 bytes: not sent]",
        "[notes: file:///notes.txt]",
        "[file:///a.bin, of unknown type: not sent]",
    ]


async def test_programs_get_little_of_our_environment(
    plain: PlainServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_not_for_servers")
    monkeypatch.setenv("MY_TOKEN", "token-for-the-server")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    settings = plain.make_settings(env={"TOKEN": "Bearer ${env:MY_TOKEN}", "MODE": "x"}, folder=folder)
    async with open_connection(settings) as connection:
        environment = json.loads(await call(connection, "environment"))
        where = await call(connection, "where")
    assert environment["TOKEN"] == "Bearer token-for-the-server"
    assert (environment["MODE"], environment["TZ"]) == ("x", "Europe/Berlin")
    assert not [name for name in environment if "ELEVENLABS" in name or name == "MY_TOKEN"]
    assert where == str(folder)


async def test_a_death_costs_the_call_alone(
    plain: PlainServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_TOKEN", "token-for-the-server")
    async with open_connection(plain.make_settings("chatty", env={"TOKEN": "${env:MY_TOKEN}"})) as connection:
        with pytest.raises(ToolError, match=r"was lost during the call .* do not call it again at once"):
            await call(connection, "die", reason="test")
        assert json.loads(await call(connection, "echo", text="again")) == {"text": "again"}
    assert [name for name, _ in plain.calls] == ["die", "echo"]  # never a second time by itself
    assert len(plain.pids) == 2
    assert 'the MCP server "tried" cannot be used: it ended (exit status 3); cannot go on, ***' in caplog.text
    assert "token-for-the-server" not in caplog.text


async def test_a_death_between_calls_is_not_felt(plain: PlainServer, caplog: pytest.LogCaptureFixture) -> None:
    async with open_connection(plain.make_settings()) as connection:
        await call(connection, "echo")
        os.kill(plain.pids[0], signal.SIGKILL)
        await wait_until(lambda: "it ended (SIGKILL)" in caplog.text)
        await call(connection, "echo")
    assert len(plain.pids) == 2


@pytest.mark.parametrize(
    ("habit", "trouble"),
    [("silent", "it did not answer within 0.3 s"), ("missing", "nowhere: No such file or directory")],
)
async def test_a_server_that_is_not_there(
    habit: str, trouble: str, plain: PlainServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ANSWER_MARGIN", 5.0)
    settings = plain.make_settings(habit, start_limit=0.3)
    if habit == "missing":
        settings = plain.make_settings(command=("nowhere",))
    async with open_connection(settings) as connection:
        await wait_until(lambda: trouble in caplog.text)
        begin = time.monotonic()
        with pytest.raises(ToolError, match=r"cannot be reached: .*Nothing was done") as caught:
            await call(connection, "echo", within=5.3)
        assert time.monotonic() - begin < 5.3
        assert trouble in str(caught.value)
    await wait_until(lambda: not any(map(is_alive, plain.pids)))
    assert caplog.text.count("cannot be used") == 1  # and not for each try


async def test_a_call_that_is_given_up_is_cancelled_there(plain: PlainServer) -> None:
    async with open_connection(plain.make_settings()) as connection:
        await call(connection, "echo")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, connection, "wait")
            await wait_until(lambda: plain.calls[-1][0] == "wait")
            nursery.cancel_scope.cancel()
        await call(connection, "echo", text="others go on")
        await wait_until(lambda: plain.cancelled)
        assert len(plain.pids) == 1


async def test_many_calls_at_once(plain: PlainServer) -> None:
    answers = []

    async def add(number: int) -> None:
        answers.append(json.loads(await call(connection, "echo", number=number))["number"])

    async with open_connection(plain.make_settings()) as connection, trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(add, number)
    assert sorted(answers) == list(range(100))


async def test_a_message_without_an_end_is_the_end(plain: PlainServer, caplog: pytest.LogCaptureFixture) -> None:
    async with open_connection(plain.make_settings()) as connection:
        with pytest.raises(ToolError, match="was lost during the call"):
            await call(connection, "flood")
        await call(connection, "echo")
    assert "a message of more than 16777216 bytes" in caplog.text


async def test_tells_of_tools_that_change(plain: PlainServer, caplog: pytest.LogCaptureFixture) -> None:
    plain.list("echo", "change", "die")
    async with open_connection(plain.make_settings()) as connection:
        await call(connection, "echo")
        offered = connection.offered = dict(connection._reported)
        caplog.clear()
        plain.list("change", "die", "sing", echo={"type": "object", "properties": {"text": {"type": "string"}}})
        await call(connection, "change")
        await wait_until(lambda: "has other tools than agents know of (new: sing; changed: echo)" in caplog.text)
        plain.list("change", "echo", "sing")
        await call(connection, "change")
        await wait_until(lambda: "(new: sing; gone: die)" in caplog.text)
        with pytest.raises(ToolError, match=r'The server "tried" has no die any more'):
            await call(connection, "die")
    assert set(offered) == {"echo", "change", "die"}


async def test_tells_of_tools_that_have_changed_at_a_restart(
    plain: PlainServer, caplog: pytest.LogCaptureFixture
) -> None:
    plain.list("echo", "die")
    async with open_connection(plain.make_settings()) as connection:
        await call(connection, "echo")
        plain.list("die")
        with pytest.raises(ToolError):
            await call(connection, "die")
        with pytest.raises(ToolError, match=r"has no echo any more. Do not call it again"):
            await call(connection, "echo")
    assert "restart convaid to offer what it has" in caplog.text


async def test_the_whole_group_is_gone_at_the_end(plain: PlainServer) -> None:
    async with open_connection(plain.make_settings("stubborn")) as connection:
        await call(connection, "echo")
        begin = trio.current_time()
    assert trio.current_time() - begin < 15
    server, child = plain.pids
    assert not is_alive(server)
    await wait_until(lambda: not is_alive(child))


async def test_what_it_says_on_stderr_is_for_debugging(plain: PlainServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="convaid.plugin.mcp")
    async with open_connection(plain.make_settings("chatty")) as connection:
        with pytest.raises(ToolError):
            await call(connection, "die")
    assert 'the MCP server "tried" prints: Welcome to this server!' in caplog.text
    assert 'the MCP server "tried" says: cannot go on,' in caplog.text


async def test_a_pattern_of_the_servers_holds_nothing_up(plain: PlainServer) -> None:
    text = {"type": "string", "pattern": "^(a+)+$"}
    described = {"type": "object", "properties": {"text": text}}
    plain.write([{"name": "match", "inputSchema": {"type": "object"}, "outputSchema": described}])
    async with open_connection(plain.make_settings()) as connection:
        assert json.loads(await call(connection, "match")) == {"text": "a" * 60 + "!"}


async def test_a_server_whose_tools_change_without_end_is_not_asked_without_end(plain: PlainServer) -> None:
    async with open_connection(plain.make_settings("restless")) as connection:
        await call(connection, "echo")
        await wait_until(lambda: plain.listings > 2)  # it is asked
        begun, before = trio.current_time(), plain.listings
        await wait_until(lambda: plain.listings > before + 2)
        assert trio.current_time() - begun > 0.3


async def test_a_server_with_more_tools_than_any_is_left_alone(
    plain: PlainServer, caplog: pytest.LogCaptureFixture
) -> None:
    plain.list(*(f"tool_{number}" for number in range(900)))
    async with open_connection(plain.make_settings("endless")):
        await wait_until(lambda: "cannot be used: it lists more than 2000 tools" in caplog.text)
    assert plain.listings == 3
