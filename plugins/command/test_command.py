"""The command's tools with real programs, called as an agent calls them: through the entry point and the room."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import trio

from convaid.calls import ToolCalls, open_tool_calls
from convaid.config.policy import ToolsConfig
from convaid.events import ToolAnswer
from convaid.plugins import Plugins, load_plugins
from convaid.protocol.from_agent import ClientToolCall

SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], sys.stdin.read(), dict(os.environ), os.getcwd()]))"


def text(**more: Any) -> dict[str, Any]:
    """A parameter."""
    return {"type": "string", "description": "a text", **more}


def load_command(**tools: dict[str, Any]) -> Plugins:
    table = {"tools": {name: {"description": "Go", **tool} for name, tool in tools.items()}}
    return load_plugins({"command": table}, entry_points=entry_points(group="convaid", name="command"))


@asynccontextmanager
async def open_tool(**tool: Any) -> AsyncIterator[ToolCalls]:
    plugins = load_command(go=tool)
    assert not plugins.problems
    with trio.fail_after(20):
        async with open_tool_calls(plugins, ToolsConfig()) as tool_calls:
            yield tool_calls


async def run_tool(tool: dict[str, Any], **parameters: Any) -> ToolAnswer:
    async with open_tool(**tool) as tool_calls:
        return await tool_calls.call(ClientToolCall("go", "call_1", parameters), "main", "conv_1")


async def run_shell(script: str, **tool: Any) -> ToolAnswer:
    return await run_tool({"program": "sh", "arguments": ["-c", script], **tool})


async def wait_until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not holds():  # noqa: ASYNC110  # processes send no events
            await trio.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_known(pid: int) -> bool:
    """Whether it runs, or has ended without being reaped."""
    return Path(f"/proc/{pid}").exists()


async def read_pid(file: Path) -> int:
    await wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
    return int(await trio.Path(file).read_text())


async def test_each_template_is_one_argument(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PRINTER", "lp0")
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_secret")
    tool = {
        "program": sys.executable,
        "arguments": ["-c", SHOW, "to {name}", ["--note", "{note}"], ["--count", "{count}"], "--", "{name}", "{{}}"],
        "stdin": "dear {name}\n",
        "environment": ["PRINTER", "NO_SUCH"],
        "folder": str(tmp_path),
        "output": "json",
        "parameters": {
            "name": text(),
            "note": text(optional=True),
            "count": {"type": "integer", "description": "how many", "optional": True},
        },
    }
    name = '-rf $(id) "; `ls` * é'
    answer = await run_tool(tool, name=name, count=3)
    assert answer.outcome == "ok", answer.result
    arguments, stdin, environment, folder = json.loads(answer.result)
    assert arguments == [f"to {name}", "--count", "3", "--", name, "{}"]
    assert stdin == f"dear {name}\n"
    assert folder == str(tmp_path)
    assert environment.pop("PRINTER") == "lp0"
    assert {*environment} <= {
        "PATH",
        "HOME",
        "LANG",
        "LC_CTYPE",
        "PWD",
    }  # the last two are Python's and the shell's own


@pytest.mark.parametrize("value", ["-rf", "--", "-", "-1"])
async def test_a_value_is_no_option_unless_that_is_allowed(value: str) -> None:
    tool = {"program": "echo", "arguments": ["{a}"], "parameters": {"a": text()}}
    refused = await run_tool(tool, a=value)
    assert refused.result == 'a: what begins with "-" would be taken for an option.'
    assert (await run_tool({**tool, "may_begin_with_dash": True}, a=value)).outcome == "ok"
    assert (await run_tool({**tool, "arguments": ["--", "{a}"]}, a=value)).result == f"-- {value}"
    assert (await run_tool({**tool, "arguments": ["-n={a}"]}, a=value)).result == f"-n={value}"


async def test_a_null_character_is_refused() -> None:
    answer = await run_tool({"program": "echo", "arguments": ["{a}"], "parameters": {"a": text()}}, a="a\0b")
    assert answer.result == "a: a null character cannot stand here."


async def test_too_many_arguments_are_said() -> None:
    answer = await run_tool({"program": "echo", "arguments": ["{a}"], "parameters": {"a": text()}}, a="x" * 3_000_000)
    assert answer.result == "echo cannot be started: Argument list too long."


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("echo hello; echo you", "hello\nyou"),
        ("true", "Done. There is nothing to report."),
        (r"printf 'a\377'", "a\ufffd"),
    ],
)
async def test_the_output_is_the_result(script: str, result: str) -> None:
    answer = await run_shell(script)
    assert (answer.outcome, answer.result) == ("ok", result)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo out; echo no such lamp >&2; exit 3", "sh ended with status 3: no such lamp"),
        ("exit 1", "sh ended with status 1."),
        ("kill -SEGV $$", "sh was ended by SIGSEGV."),
        ("for i in $(seq 3000); do echo line $i >&2; done; exit 1", "line 2999 line 3000"),
    ],
)
async def test_a_status_that_is_not_ok_is_an_error_with_the_end_of_stderr(script: str, words: str) -> None:
    answer = await run_shell(script)
    assert answer.is_error
    assert words in answer.result
    assert len(answer.result) < 600


async def test_other_statuses_may_be_ok() -> None:
    assert (await run_shell("echo none; exit 1", ok=[0, 1])).result == "none"
    assert (await run_shell("true", ok=[1])).result == "sh ended with status 0."


async def test_json_is_read() -> None:
    assert (await run_shell("""echo '{{"a": [1, true]}}'""", output="json")).result == '{"a":[1,true]}'
    assert (await run_shell("echo a", output="json")).result == "sh ran, but its output is not JSON."
    long = await run_shell("seq 1000", output="json", output_size=100)
    assert long.result == "sh ran, but its output is not JSON: it is longer than 100 bytes."


async def test_what_is_too_long_is_cut_and_the_program_ends_by_itself() -> None:
    answer = await run_shell("seq 100000", output_size=10)
    assert answer.result == "1\n2\n3\n4\n5\n… [cut here; 588895 bytes in all]"


async def test_a_program_that_reads_nothing_of_its_input() -> None:
    tool = {"program": "echo", "arguments": ["done"], "stdin": "{a}", "parameters": {"a": text()}}
    assert (await run_tool(tool, a="x" * 5_000_000)).result == "done"


async def test_a_program_that_reads_all_of_its_input() -> None:
    tool = {"program": "wc", "arguments": ["-c"], "stdin": "{a}", "parameters": {"a": text(optional=True)}}
    assert (await run_tool(tool, a="x" * 5_000_000)).result == "5000000"
    assert (await run_tool(tool)).result == "0"


async def test_a_grandchild_that_keeps_the_pipe_open_holds_nothing_up(tmp_path: Path) -> None:
    start = trio.current_time()
    answer = await run_shell(f"sleep 60 & echo $! > {tmp_path}/pid; echo done")
    assert (answer.outcome, answer.result) == ("ok", "done")
    assert trio.current_time() - start < 10
    os.kill(await read_pid(tmp_path / "pid"), 9)  # it was told to go on, and did


@pytest.mark.parametrize("stubborn", ["", "trap '' TERM;"])
async def test_at_its_time_limit_the_whole_group_is_ended(tmp_path: Path, stubborn: str) -> None:
    script = (
        f"{stubborn} sh -c '{stubborn} echo $$ > {tmp_path}/child; sleep 60; sleep 60' & echo $$ > {tmp_path}/own; wait"
    )
    async with open_tool(program="sh", arguments=["-c", script], time_limit=1.5) as tool_calls:
        answer = await tool_calls.call(ClientToolCall("go", "call_1", {}), "main", "conv_1")
        assert answer.is_error
        assert answer.seconds < 10
        for name in ("own", "child"):
            pid = await read_pid(tmp_path / name)
            await wait_until(lambda pid=pid: not is_running(pid))  # type: ignore[misc]


async def test_when_convaid_stops_the_program_is_ended_and_reaped(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; exec sleep 60"
    async with open_tool(program="sh", arguments=["-c", script]) as tool_calls, trio.open_nursery() as nursery:
        nursery.start_soon(tool_calls.call, ClientToolCall("go", "call_1", {}), "main", "conv_1")
        pid = await read_pid(tmp_path / "pid")
        nursery.cancel_scope.cancel()
    await wait_until(lambda: not is_known(pid))


async def test_a_folder_that_has_gone_is_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    async with open_tool(program="true", folder=str(folder)) as tool_calls:
        folder.rmdir()
        answer = await tool_calls.call(ClientToolCall("go", "call_1", {}), "main", "conv_1")
    assert answer.result == "true cannot be started: No such file or directory."
    assert f"true cannot be started in {folder}: No such file or directory" in caplog.text


async def test_a_file_that_is_no_program_is_said(tmp_path: Path) -> None:
    file = tmp_path / "odd"
    file.write_bytes(b"\x00\x01")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    assert (await run_tool({"program": str(file)})).result == "odd cannot be started: Exec format error."


@pytest.mark.parametrize(
    ("tool", "problem"),
    [
        (
            {"program": "no-such-program"},
            'program: "no-such-program" is no program that can be run: give its whole path',
        ),
        ({"program": "/etc/passwd"}, "program: "),
        ({"program": "./go"}, 'program: "./go" is no program that can be run: give its whole path'),
        ({"folder": "sub"}, "folder: sub is no folder: give its whole path"),
        ({"arguments": ["{a}"]}, 'arguments[0]: names a parameter that the tool does not have, the text "a"'),
        ({"arguments": ["x", ["{b}"]]}, 'arguments[1][0]: names a parameter that the tool does not have, the text "b"'),
        ({"parameters": {"a": text()}}, "parameters.a: is never used"),
        ({"arguments": ["${env:HOME}"]}, "arguments[0]: has ${env:HOME}, and a secret cannot stand here"),
        ({"arguments": [1]}, "arguments[0]: expected text or a list"),
        ({"folder": "/nowhere"}, "folder: /nowhere is no folder"),
        ({"output": "xml"}, 'output: expected one of "text", "json"'),
        ({"time_limit": 0}, "time_limit: must be 0.1 or more"),
        *(
            (
                {"program": program, "arguments": arguments, "parameters": {"a": text()}},
                "arguments: {a} in a shell's script could be any command",
            )
            for program, arguments in (
                ("bash", ["-ec", "echo {a}"]),
                ("sh", ["-ce", "echo {a}"]),
                ("sh", ["-c", "--", "echo {a}"]),
                ("env", ["A=1", "/bin/sh", "-c", "echo {a}"]),
            )
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    tool: dict[str, Any], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "go").touch(0o755)
    monkeypatch.chdir(tmp_path)  # where convaid is started is no matter
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:.")
    plugins = load_command(go={"program": "echo", **tool})
    problems = [str(found).removeprefix("plugins.command.tools.go.") for found in plugins.problems]
    assert [found for found in problems if found.startswith(problem)], problems


async def test_a_shells_script_gets_arguments_as_its_own() -> None:
    tool = {"program": "sh", "arguments": ["-c", 'echo "$1"', "sh", "{a}"], "parameters": {"a": text()}}
    assert (await run_tool(tool, a="$(id)")).result == "$(id)"


def test_without_tools_it_is_ready() -> None:
    (plugin,) = load_plugins({}, entry_points=entry_points(group="convaid", name="command"))
    assert (plugin.status, plugin.tools) == ("ready", ())


def test_the_platform_is_told_of_the_time_limit() -> None:
    (plugin,) = load_command(go={"program": "echo", "time_limit": 40})
    assert plugin.tools[0].describe()["response_timeout_secs"] == 45


def test_the_readme_is_a_configuration() -> None:
    readme = (Path(__file__).parent / "README.md").read_text()
    for block in re.findall(r"```toml\n(.*?)```", readme, re.DOTALL):
        tools = tomllib.loads(block)["plugins"]["command"]["tools"]
        for tool in tools.values():
            tool.update(program="echo")  # what this machine has, whatever it is
        plugins = load_command(**tools)
        assert not plugins.problems
        assert next(iter(plugins)).tools
