"""The commands that ask a running daemon, as a user runs them: processes of their own."""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated

import attrs
import pytest
import trio
from attrs import define

from convaid import events, tool
from convaid.cli import run_command_line
from convaid.config import Configuration
from convaid.control.feed import Feed
from convaid.errors import ConfigurationError, Problem

from ..cli.running import find_environment, run_convaid
from ..daemon.holding import Held
from .serving import LISTEN, on_demand, open_control

HEAVY = ("trio", "cattrs", "orjson", "pluggy", "httpx", "convaid.config", "starlette", "asyncio")


@tool
def add(a: Annotated[int, "one"], b: Annotated[int, "the other"]) -> int:
    """Add two numbers."""
    return a + b


@tool
async def open_door(door: Annotated[str, "which one"]) -> str:
    """Open a door."""
    await trio.sleep(0.01)
    return f"{door} is open"


@tool
async def wait_long() -> None:
    """Wait for long."""
    await trio.sleep(30)


@define
class Done:
    """What a command has come to."""

    code: int
    out: str
    err: str


@define(eq=False)
class Shell:
    """Runs commands that find the daemon by their environment."""

    held: Held
    environment: dict[str, str]

    async def run(self, *arguments: str) -> Done:
        """Run a command to its end, in this process: others take a second to start on a busy machine."""
        return await trio.to_thread.run_sync(self._run, arguments)

    def _run(self, arguments: Sequence[str]) -> Done:
        with (
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(io.StringIO()) as out,
            redirect_stderr(io.StringIO()) as err,
        ):
            patch.setattr(sys, "argv", ["convaid", *arguments])
            patch.setenv("CONVAID_SOCKET", self.environment["CONVAID_SOCKET"])
            code = run_command_line()
        return Done(code, out.getvalue(), err.getvalue())

    async def run_process(self, *arguments: str, **more: str) -> Done:
        """Run a command in a process of its own."""
        done = await trio.run_process(
            [sys.executable, *arguments],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=self.environment | more,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@asynccontextmanager
async def open_shell(configuration: str, *scenarios: str, **options: object) -> AsyncIterator[Shell]:
    async with open_control(*(scenarios or (LISTEN,)), configuration=configuration, **options) as (held, path):
        yield Shell(held, find_environment(CONVAID_SOCKET=str(path)))


async def test_status_tells_all_at_one_glance() -> None:
    async with open_shell(on_demand("kitchen", "hall"), 'steps = [{say = "Hello."}, {end = {}}]') as shell:
        done = await shell.run("status")
        assert (done.code, done.err) == (0, "")
        assert "no conversation is open (2 could be)" in done.out
        assert "kitchen       closed" in done.out
        shell.held.daemon.troubles["history"] = "the history cannot be written: no room"
        done = await shell.run("status")
        assert done.code == 1
        assert "the history cannot be written: no room" in done.out
        as_json = json.loads((await shell.run("status", "--json")).out)
        assert as_json["problems"] == ["the history cannot be written: no room"]


def test_without_a_daemon_it_is_3_and_says_what_to_do(tmp_path: Path) -> None:
    done = run_convaid("status", folder=tmp_path, XDG_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("convaid: no daemon runs here: there is no socket at")
    assert "start one with `convaid run`" in done.stderr
    done = run_convaid("say", "hello", folder=tmp_path, CONVAID_SOCKET=str(tmp_path / "nobody.sock"))
    assert done.returncode == 3
    assert f"nobody answers at {tmp_path}/nobody.sock" in done.stderr


async def test_a_conversation_by_commands() -> None:
    async with open_shell(on_demand("kitchen")) as shell:  # the only one: it need not be named
        done = await shell.run("start")
        assert done.code == 0
        assert done.out.startswith("kitchen is connected: conv_")
        assert (await shell.run("ask", "Well?")).out == "I see.\n"
        assert (await shell.run("say", "Good morning")).code == 0
        assert (await shell.run("context", "--id", "weather", "It rains")).code == 0
        assert "muted" in (await shell.run("mute", "kitchen")).out
        assert (await shell.run("interrupt")).out == "0.0 s of speech dropped\n"
        assert (await shell.run("feedback", "like")).code == 0
        assert (await shell.run("stop")).out.startswith("kitchen is closed: ")
        done = await shell.run("interrupt")
        assert (done.code, done.err) == (
            1,
            "convaid: conversation kitchen is not connected -> Start it, or wait until it is connected.\n",
        )
        sent = [event.message.wire_type for event in shell.held.of_kind(events.MessageSent)]
        assert sent == ["user_message", "user_message", "contextual_update", "feedback"]


async def test_one_of_several_conversations_is_to_be_named() -> None:
    async with open_shell(on_demand("kitchen", "hall")) as shell:
        done = await shell.run("say", "hello")
        assert done.code == 2
        assert "which conversation? There are: kitchen, hall" in done.err
        done = await shell.run("start", "kichen")
        assert (done.code, done.err) == (1, 'convaid: there is no conversation "kichen"; did you mean kitchen?\n')


async def test_a_file_is_sent() -> None:
    async with open_shell(on_demand("kitchen")) as shell:
        shell.held.daemon.keeper.find("kitchen").start()  # type: ignore[union-attr]
        await shell.held.wait_for(events.Connected)
        with tempfile.TemporaryDirectory() as folder:
            photo = trio.Path(folder, "photo.png")
            await photo.write_bytes(b"\x89PNG")
            done = await shell.run("send-file", str(photo), "--text", "What is this?")
        assert (done.code, done.err) == (0, "")
        (sent,) = await shell.held.wait_for(events.MessageSent)
        assert sent.message.wire_type == "multimodal_message"


async def test_calls_are_listed_cancelled_and_run_by_hand() -> None:
    scenario = 'steps = [{call = {tool = "wait_long"}}, {say = "Well."}]'
    async with open_shell(on_demand("kitchen"), scenario, tools=[add, wait_long]) as shell:
        assert (await shell.run("calls")).out == "no tool was called yet\n"
        done = await shell.run("tools", "call", "--daemon", "add", "--json", '{"a": 2, "b": 3}')
        assert (done.code, done.out) == (0, "5\n")
        shell.held.daemon.keeper.find("kitchen").start()  # type: ignore[union-attr]
        await shell.held.wait_for(events.ToolCallStarted, 2)
        listed = (await shell.run("calls")).out.splitlines()
        assert listed[0].split() == ["CALL", "CONVERSATION", "TOOL", "STATE"]
        assert listed[1].split()[1:4] == ["kitchen", "wait_long", "running,"]
        assert listed[2].split()[1:5] == ["by_hand", "add", "ok", "in"]
        assert (await shell.run("calls", "cancel", listed[1].split()[0])).out == "stopped 1\n"
        assert (await shell.run("calls", "cancel", "nothing")).code == 1
        ended = await shell.held.wait_for(events.ToolCallEnded, 2)
        assert ended[1].answer.outcome == "stopped"


async def test_calls_are_approved_and_denied() -> None:
    call = '{call = {tool = "open_door", parameters = {door = "front"}}}'
    configuration = on_demand("kitchen") + '[tools.open_door]\npermission = "ask"\n'
    async with open_shell(configuration, f"steps = [{call}, {call}]", tools=[open_door]) as shell:
        assert (await shell.run("approve")).out == "no call waits for permission\n"
        shell.held.daemon.keeper.find("kitchen").start()  # type: ignore[union-attr]
        await shell.held.wait_for(events.ApprovalAsked)
        assert "wait for permission" in (await shell.run("status")).out
        assert (await shell.run("approve")).out.startswith('allowed: open_door with {"door": "front"}')
        (_, asked) = await shell.held.wait_for(events.ApprovalAsked, 2)
        assert (await shell.run("deny", asked.id)).code == 0
        ended = await shell.held.wait_for(events.ToolCallEnded, 2)
        assert [event.answer.outcome for event in ended] == ["ok", "denied"]


async def test_reload_waits_for_its_outcome() -> None:
    async with open_shell(on_demand("kitchen")) as shell:
        shell.held.daemon.read_configuration = lambda: attrs.evolve(shell.held.daemon.configuration)
        assert (await shell.run("reload")).out == "unchanged: kitchen\n"

        def refuse() -> Configuration:
            raise ConfigurationError("config.toml", [Problem("conversations", "is gone")])

        shell.held.daemon.read_configuration = refuse
        done = await shell.run("reload")
        assert (done.code, done.out) == (78, "")
        assert "conversations: is gone" in done.err
        assert "everything stays as it is" in done.err


async def test_tail_shows_what_happens_until_the_daemon_ends() -> None:
    async with open_shell(on_demand("kitchen", "hall")) as shell, trio.open_nursery() as nursery:
        found: dict[str, Done] = {}

        async def follow(name: str, *options: str) -> None:
            found[name] = await shell.run_process("-m", "convaid", "tail", *options)

        nursery.start_soon(follow, "text", "-n", "kitchen")
        nursery.start_soon(follow, "json", "--json")
        while count_waiting_readers(shell.held) < 2:
            await trio.sleep(0.01)
        for name in ("hall", "kitchen"):
            shell.held.daemon.keeper.find(name).start()  # type: ignore[union-attr]
        await shell.held.wait_for(events.Connected, 2)
        shell.held.daemon.stop.set()
        await shell.held.over.wait()
    text = found["text"]
    assert text.code == 3
    assert text.err == "convaid: the daemon has ended\n"
    lines = text.out.splitlines()
    assert lines[0] == "no conversation is open (2 could be)"
    assert [line.partition(" ")[2] for line in lines[1:3]] == [
        "kitchen: connecting to 127.0.0.1",
        f"kitchen: connected, conversation {find_id(shell.held, 'kitchen')}",
    ]
    assert "hall" not in text.out
    as_json = [json.loads(line) for line in found["json"].out.splitlines()]
    assert as_json[0]["event"] == "snapshot"
    assert {each["conversation"] for each in as_json[1:]} == {"kitchen", "hall"}


def count_waiting_readers(held: Held) -> int:
    """How many have had their snapshot."""
    for observe in held.daemon.announcer.observers:
        owner = getattr(observe, "__self__", None)
        if isinstance(owner, Feed):
            return sum(reader._arrived.statistics().tasks_waiting for reader in owner._readers)
    return 0


def find_id(held: Held, name: str) -> str:
    return next(event.conversation_id for event in held.of_kind(events.Connected) if event.conversation == name)


async def test_names_are_completed_from_the_running_daemon() -> None:
    async with open_shell(on_demand("kitchen", "kiosk", "hall")) as shell:
        program = "import sys; sys.argv[0] = 'convaid'; from convaid.cli import main; main()"
        asked = {"_CONVAID_COMPLETE": "bash_complete", "COMP_WORDS": "convaid start ki", "COMP_CWORD": "2"}
        done = await shell.run_process("-c", program, **asked)
        assert done.out.split() == ["plain,kiosk", "plain,kitchen"]


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", "complete -o"), ("zsh", "#compdef convaid"), ("fish", "complete ")]
)
def test_completion_is_printed(shell: str, words: str) -> None:
    done = run_convaid("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert words in done.stdout
    assert "_CONVAID_COMPLETE" in done.stdout


def test_help_is_that_of_the_command() -> None:
    done = run_convaid("help", "calls", "cancel")
    assert done.stdout.startswith("Usage: convaid calls cancel [OPTIONS] ID\n")
    assert run_convaid("help", "cals").returncode == 2


def test_logs_asks_journalctl(tmp_path: Path) -> None:
    program = tmp_path / "journalctl"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = run_convaid("logs", "--user", "-f", "-l", "5", "-n", "kitchen", "-t", "add", PATH=path)
    assert done.stdout == "--user --unit convaid --lines 5 --follow CONVERSATION=kitchen TOOL=add\n"
    done = run_convaid("logs", PATH=str(tmp_path / "nothing"))
    assert done.returncode == 1
    assert "convaid tail" in done.stderr


async def test_status_is_quick_because_it_imports_little() -> None:
    async with open_shell(on_demand("kitchen")) as shell:
        program = (
            "import sys; sys.argv = ['convaid', 'status']; from convaid.cli import run_command_line\n"
            f"code = run_command_line(); print([name for name in {HEAVY!r} if name in sys.modules], code)"
        )
        done = await shell.run_process("-c", program)
        assert done.out.splitlines()[-1] == "[] 0"


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "601"])
@pytest.mark.parametrize("words", [("start", "--wait"), ("stop", "--wait"), ("ask", "hello", "--time-limit")])
def test_a_time_that_nobody_can_wait_is_a_wrong_command_line(
    words: tuple[str, ...], seconds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["convaid", *words, seconds])
    with redirect_stderr(io.StringIO()) as said:
        assert run_command_line() == 2
    assert "must be between 0 and 600 seconds" in said.getvalue()
