"""The plugin as convaid uses it: loaded from its entry point, its tools called as an agent calls them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import trio

from convaid.calls import open_tool_calls
from convaid.config import ToolsConfig
from convaid.plugins import Plugin, Plugins, load_plugins

from .serving import WAIT_LIMIT, PlainServer, ask, is_alive, wait_until


def load(**servers: dict[str, Any]) -> Plugins:
    return load_plugins({"mcp": {"servers": servers}}, entry_points=entry_points(group="convaid", name="mcp"))


def find_plugin(plugins: Plugins) -> Plugin:
    (plugin,) = plugins
    return plugin


def list_names(plugins: Plugins) -> list[str]:
    return [tool.name for tool in find_plugin(plugins).tools]


def make_schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def nest(levels: int) -> dict[str, Any]:
    schema = make_schema()
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return make_schema(it=schema)


def test_without_servers_it_costs_nothing() -> None:
    code = (
        "import sys; from convaid.plugins import load_plugins; from importlib.metadata import entry_points;"
        "(plugin,) = load_plugins({}, entry_points=entry_points(group='convaid', name='mcp'));"
        "print(plugin.status, plugin.tools, 'mcp' in sys.modules, 'jsonschema' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.strip() == "ready () False False"


async def test_without_servers_its_lifespan_is_there_all_the_same() -> None:
    async with open_tool_calls(load(), ToolsConfig()) as tool_calls:
        assert [plugin.status for plugin in tool_calls.plugins] == ["ready"]


async def test_offers_and_calls_tools(plain: PlainServer) -> None:
    plain.list("where", echo=make_schema(level={"enum": [1, 2]}, note={"type": "string"}))
    plugins = load(lamps=plain.make_table(call_limit=7.0))  # here an event loop runs, elsewhere none does
    assert list_names(plugins) == ["lamps_where", "lamps_echo"]
    where, echo = find_plugin(plugins).tools
    assert (where.description, where.time_limit) == ("To where.", 7.0)
    assert echo.parameters["properties"]["level"] == {"type": "string", "description": "level", "enum": ["1", "2"]}
    async with open_tool_calls(plugins, ToolsConfig()) as tool_calls:
        answer = await ask(tool_calls, "lamps_echo", level="2")
        assert (answer.outcome, json.loads(answer.result)) == ("ok", {"level": 2})
        assert (await ask(tool_calls, "lamps_echo", level=2)).outcome == "invalid"
    assert plain.calls == [["echo", {"level": 2}]]
    assert len(plain.pids) == 2  # one to list the tools, one to call them
    await wait_until(lambda: not any(map(is_alive, plain.pids)))


def test_offers_only_what_is_listed(plain: PlainServer, caplog: pytest.LogCaptureFixture) -> None:
    plain.list("read_file", "read_folder", "write_file")
    plugins = load(files=plain.make_table(tools=["read_*", "delete_*"], prefix=""))
    assert list_names(plugins) == ["read_file", "read_folder"]
    assert 'no tool of the MCP server "files" is called "delete_*"; there are: read_file,' in caplog.text


def test_makes_names_that_the_platform_takes(plain: PlainServer, caplog: pytest.LogCaptureFixture) -> None:
    plain.list("files.read", "files/read", "x" * 80, "ü")
    assert list_names(load(**{"my files": plain.make_table()})) == [f"my_files_{'x' * 55}", "my_files__"]
    told = 'the name "my_files_files_read" would be that of files.read of my files and files/read of my files'
    assert caplog.text.count(told) == 2
    assert "set `prefix`, or narrow `tools`" in caplog.text


def test_tools_of_one_name_of_two_servers(plain: PlainServer, caplog: pytest.LogCaptureFixture) -> None:
    plain.list("echo")
    assert list_names(load(one=plain.make_table(prefix=""), two=plain.make_table(prefix=""))) == []
    assert caplog.text.count('the name "echo" would be that of echo of one and echo of two') == 2


def test_leaves_out_what_cannot_be_told(plain: PlainServer, caplog: pytest.LogCaptureFixture) -> None:
    plain.list(
        "good",
        tree=make_schema(left={"$ref": "#"}),
        broken=make_schema(it={"type": "strung"}),
        deep=nest(150),
        quoted=make_schema(**{'"': {"type": "string"}}),
    )
    assert list_names(load(s=plain.make_table())) == ["s_good"]
    assert 'the tool "tree" of the MCP server "s" is left out: "left.left" may contain itself (#)' in caplog.text
    assert 'the tool "broken" of the MCP server "s" is left out: it has an invalid JSON Schema: ' in caplog.text
    assert 'the tool "deep" of the MCP server "s" is left out: its parameters are nested too deeply' in caplog.text
    assert 'the tool "quoted" of the MCP server "s" is left out: the tool "s_quoted" has parameters' in caplog.text


def test_a_tool_without_a_description_gets_one(plain: PlainServer) -> None:
    schema = make_schema()
    plain.write(
        [{"name": "hum", "inputSchema": schema}, {"name": "sing", "title": "Sing a song", "inputSchema": schema}]
    )
    told = [tool.description for tool in find_plugin(load(choir=plain.make_table())).tools]
    assert told == ["hum, of the server choir.", "Sing a song"]


def test_a_server_that_does_not_speak_the_protocol(plain: PlainServer, caplog: pytest.LogCaptureFixture) -> None:
    plain.write([{"name": "hum", "inputSchema": {}}])
    assert list_names(load(choir=plain.make_table())) == []
    assert "what it says is not the Model Context Protocol (tools.0.inputSchema.type: Field required)" in caplog.text


async def test_a_server_that_is_down_keeps_its_tools(plain: PlainServer, caplog: pytest.LogCaptureFixture) -> None:
    plain.list("echo")
    table = plain.make_table()
    assert list_names(load(lamps=table)) == ["lamps_echo"]
    tools = plain.path.read_text()
    plain.path.write_text("no tools")  # it dies when it is asked
    plugins = load(lamps=table)
    assert list_names(plugins) == ["lamps_echo"]
    assert 'the MCP server "lamps" cannot be used: it ended (exit status 1); ' in caplog.text
    assert "; its tools are those of 20" in caplog.text
    async with open_tool_calls(plugins, ToolsConfig()) as tool_calls:
        plain.path.write_text(tools)
        assert (await ask(tool_calls, "lamps_echo")).result == "{}"  # it is back by now
    caplog.clear()
    plain.path.write_text("no tools")
    plugins = load(lamps={**table, "command": [*table["command"], "another"]})
    assert (list_names(plugins), find_plugin(plugins).status) == ([], "ready")
    assert "so far it has no tools" in caplog.text


async def test_an_interruption_while_servers_are_asked_leaves_none_behind(plain: PlainServer) -> None:
    code = (
        "import sys, json, signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from convaid.plugins import load_plugins; from importlib.metadata import entry_points;"
        "load_plugins(json.loads(sys.argv[1]), entry_points=entry_points(group='convaid', name='mcp'))"
    )
    tables = {"mcp": {"servers": {"mute": plain.make_table("silent")}}}
    asking = await trio.lowlevel.open_process(
        [sys.executable, "-c", code, json.dumps(tables)], stderr=subprocess.DEVNULL
    )
    await wait_until(lambda: plain.pids)
    asking.send_signal(signal.SIGINT)
    with trio.fail_after(WAIT_LIMIT):
        assert await asking.wait() == -signal.SIGINT
    await wait_until(lambda: not any(map(is_alive, plain.pids)))


def test_one_server_that_is_down_costs_the_others_nothing(plain: PlainServer) -> None:
    plain.list("echo")
    down = {"url": "http://127.0.0.1:1/mcp", "tools": ["*"]}
    assert list_names(load(down=down, gone={"command": ["nowhere"], "tools": ["*"]}, up=plain.make_table())) == [
        "up_echo"
    ]


def test_a_secret_that_is_missing_costs_its_server_alone(
    plain: PlainServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain.list("echo")
    lacking = plain.make_table(env={"TOKEN": "${env:NOT_SET_HERE}"})
    assert list_names(load(lacking=lacking, up=plain.make_table())) == ["up_echo"]
    told = "cannot be used: ${env:NOT_SET_HERE} is missing: the environment variable NOT_SET_HERE is not set"
    assert told in caplog.text


def test_a_state_folder_that_cannot_be_written_is_said(
    plain: PlainServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "file"))
    plain.list("echo")
    assert list_names(load(lamps=plain.make_table())) == ["lamps_echo"]
    assert 'the tools of the MCP server "lamps" cannot be written to' in caplog.text


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"command": ["x"]}, "tools: is required and missing"),
        ({"command": ["x"], "tools": []}, "tools: must be of length 1 or more"),
        ({"tools": ["*"]}, "command: a server is either a program"),
        ({"command": ["x"], "url": "https://example.org", "tools": ["*"]}, "command: a server is either a program"),
        ({"url": "example.org/mcp", "tools": ["*"]}, "url: is not an http:// or https:// URL"),
        ({"url": "http://[::1", "tools": ["*"]}, "url: is not a URL"),
        (
            {"url": "http://example.org/mcp", "headers": {"X-Key": "k"}, "tools": ["*"]},
            "url: is plain http:// to another machine",
        ),
        ({"url": "https://example.org", "env": {"A": "b"}, "tools": ["*"]}, "env: is for a server with `command`"),
        ({"command": ["x"], "headers": {"A": "b"}, "tools": ["*"]}, "headers: is for a server with `url`"),
        (
            {"url": "http://example.org/mcp?key=${env:KEY}", "tools": ["*"]},
            "url: is plain http:// to another machine",
        ),
        ({"command": ["x"], "tools": ["*"], "start_limit": 0}, "start_limit: must be 0.1 or more"),
        ({"command": ["x"], "tools": ["*"], "offered": {}}, "offered: is not known"),
    ],
)
def test_settings_that_cannot_be_used_are_problems(table: dict[str, Any], problem: str) -> None:
    plugins = load(lamps=table)
    assert find_plugin(plugins).status == "broken"
    assert any(str(each).startswith(f"plugins.mcp.servers.lamps.{problem}") for each in plugins.problems)


@pytest.fixture
def reference_server() -> list[str]:
    """The program; a plain function, as a reason to skip gets lost in an async one."""
    if find_spec("mcp_server_time") is None:
        reason = "mcp-server-time is not installed; this brings it: pip install -e 'plugins/mcp[strangers]'"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    return [sys.executable, "-m", "mcp_server_time", "--local-timezone", "Europe/Berlin"]


async def test_an_unmodified_server(reference_server: list[str]) -> None:
    """The reference server of the protocol's authors, from PyPI."""
    plugins = load(time={"command": reference_server, "tools": ["*"], "start_limit": WAIT_LIMIT})
    assert list_names(plugins) == ["time_get_current_time", "time_convert_time"]
    convert = find_plugin(plugins).tools[1]
    assert convert.parameters["required"] == ["source_timezone", "time", "target_timezone"]
    async with open_tool_calls(plugins, ToolsConfig()) as tool_calls:
        places = {"source_timezone": "Asia/Kathmandu", "target_timezone": "UTC"}
        answer = await ask(tool_calls, "time_convert_time", time="12:00", **places)
        assert json.loads(answer.result)["time_difference"] == "-5.75h"
        refused = await ask(tool_calls, "time_convert_time", time="25:00", **places)
        assert (refused.outcome, "Invalid time format. Expected HH:MM" in refused.result) == ("error", True)
