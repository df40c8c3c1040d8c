"""Process tools: what they can do, what each costs alone, and that nothing of them is left."""

from __future__ import annotations

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import date
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from convaid.calls import ToolCalls, open_tool_calls, process, processes
from convaid.calls.processes import Processes
from convaid.config.policy import ToolPolicy, ToolsConfig
from convaid.events import ToolAnswer
from convaid.journal import open_journal
from convaid.plugins import load_plugins
from convaid.session.late import LateResult

from .plugin import WAIT_LIMIT, ask

INSTALLED = Path(__file__).parent / "installed"


@pytest.fixture(autouse=True)
def _plugin_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(INSTALLED))


@asynccontextmanager
async def open_calls(
    table: dict[str, Any] | None = None, policies: dict[str, ToolPolicy] | None = None, **options: Any
) -> AsyncIterator[ToolCalls]:
    entry_points = [EntryPoint("processed", "convaid_processed", "convaid")]
    plugins = load_plugins({"processed": table or {}}, entry_points=entry_points)
    assert plugins.ready, plugins.all[0].reason
    config = ToolsConfig(time_limit=WAIT_LIMIT, named=policies or {})
    async with open_tool_calls(plugins, config, **options) as tool_calls:
        yield tool_calls


@pytest.fixture
def _no_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started for the next call, however long one takes."""

    async def bring_none(_: Processes, delay: float) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(Processes, "_bring_spare", bring_none)


def get_processes(tool_calls: ToolCalls) -> Processes:
    place = tool_calls.places[-1]
    assert isinstance(place, Processes)
    return place


def is_running(pid: int) -> bool:
    """Whether there is such a process that is not only waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


async def wait_for(check: Callable[[], Any]) -> None:
    with trio.fail_after(WAIT_LIMIT):
        while not check():
            await trio.sleep(0.01)


async def ask_pid(tool_calls: ToolCalls, name: str = "tell_pid") -> int:
    answer = await ask(tool_calls, name)
    assert answer.outcome == "ok", answer
    return int(answer.result)


# --- well-behaved ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_no_spare")
@pytest.mark.parametrize("loop", ["trio", "asyncio"])
async def test_a_process_serves_one_call_after_the_other(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESSED_LOOP", loop)
    async with open_calls() as tool_calls:
        pid = await ask_pid(tool_calls)
        assert pid != os.getpid()
        assert {await ask_pid(tool_calls, name) for name in ("tell_pid", "tell_pid_async", "tell_pid")} == {pid}
        seconds = [(await ask(tool_calls, "tell_pid")).seconds for _ in range(20)]
        assert sorted(seconds)[10] < 0.05
        assert get_processes(tool_calls).state.crashed == 0
    assert not is_running(pid)


async def test_a_tool_has_its_context_and_settings_but_no_state(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    table = {"greeting": "Hi", "day": date(2026, 2, 3)}
    async with open_calls(table) as tool_calls:
        text = "ä\ud800\n" + "x" * 500_000
        told = json.loads((await ask(tool_calls, "tell_context", {"text": "ä\n"})).result)
        assert (await ask(tool_calls, "tell_context", {"text": text})).outcome == "ok"
        assert (await ask(tool_calls, "tell_context", {"text": 5})).outcome == "invalid"
        assert (await ask(tool_calls, "tell_pid", {"number": 10**50})).outcome == "invalid"
        assert (await ask(tool_calls, "tell_pid", orjson.loads("[" * 1000 + "]" * 1000))).outcome == "invalid"
        assert (await ask(tool_calls, "tell_pid")).outcome == "ok"
    assert told["text"] == "ä\n"
    assert told["ids"] == ["main", "conv_1", "call_1"]
    assert told["settings"] == {"greeting": "Hi", "day": "2026-02-03", "loop": "trio", "is_broken_in_process": False}
    assert told["state"] is None
    assert 0 < told["left"] <= WAIT_LIMIT
    assert told["cwd"] == os.getcwd()
    lines = [
        (record.levelname, record.message) for record in caplog.records if record.name == "convaid.plugin.processed"
    ]
    assert lines[:3] == [("ERROR", "an error"), ("ERROR", "of two lines"), ("INFO", "a note")]


async def test_no_secret_of_ours_is_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "sk_0123456789abcdef"
    for name in ("ELEVENLABS_API_KEY", "MY_TOKEN", "CREDENTIALS_DIRECTORY", "OWN_NAME_FOR_IT"):
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("HARMLESS", "yes")
    async with open_calls(hidden=["OWN_NAME_FOR_IT"]) as tool_calls:
        told = json.loads((await ask(tool_calls, "tell_environment")).result)
    assert told["HARMLESS"] == "yes"
    assert told["PATH"] == os.environ["PATH"]
    assert secret not in told.values()


async def test_what_it_prints_is_logged_and_cannot_be_taken_for_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "convaid.plugin.processed")
    async with open_calls() as tool_calls:
        assert (await ask(tool_calls, "talk", {"lines": 5})).result == "talked"
        assert (await ask(tool_calls, "talk", {"lines": 20_000})).result == "talked"
    lines = [record.message for record in caplog.records if record.name == "convaid.plugin.processed"]
    assert lines[0].startswith('{"call": 1, "ending"')
    assert lines[1] == "x" * process.LINE_LENGTH
    assert lines[2] == "\x00\ufffd not textline 0"
    assert 6 <= len(lines) < 2000
    assert any("more lines of output are left out" in line for line in lines)


async def test_a_tool_can_put_its_agent_off(tmp_path: Path) -> None:
    delivered: list[LateResult] = []
    async with open_calls(deliver=lambda _, late: delivered.append(late)) as tool_calls:
        answer = await ask(tool_calls, "put_off", {"path": str(tmp_path / "go")})
        assert (answer.outcome, answer.result) == ("deferred", "I am looking.")
        (tmp_path / "go").touch()
        await wait_for(lambda: delivered)
        assert "found" in delivered[0].text


@pytest.mark.usefixtures("_no_spare")
async def test_what_a_tool_raises_is_its_answer(caplog: pytest.LogCaptureFixture) -> None:
    async with open_calls() as tool_calls:
        pid = await ask_pid(tool_calls)
        assert (await ask(tool_calls, "fail", {"how": "words"})).result == "No such lamp."
        for how, words in (("fault", "ValueError"), ("exit", "SystemExit")):
            answer = await ask(tool_calls, "fail", {"how": how})
            assert answer.outcome == "error"
            assert words in answer.result
            assert "secret" not in answer.result
        assert await ask_pid(tool_calls) == pid
    assert "ValueError: secret" in caplog.messages


async def test_a_call_is_in_the_journal_and_runs_once(tmp_path: Path) -> None:
    with open_journal(tmp_path / "journal.sqlite") as journal:
        async with open_calls(journal=journal) as tool_calls:
            assert (await ask(tool_calls, "tell_pid")).outcome == "ok"
            assert (await ask(tool_calls, "tell_pid")).outcome == "repeated"
            assert (await ask(tool_calls, "end", {"how": "exit"}, "call_2")).outcome == "error"
            for _ in range(2):
                repeated = await ask(tool_calls, "end", {"how": "exit"}, "call_2")
                assert repeated.outcome == "repeated"
                assert "it ended so: error" in repeated.result


async def test_a_deadline_is_a_time_out_in_the_journal_too(tmp_path: Path) -> None:
    with open_journal(tmp_path / "journal.sqlite") as journal:
        async with open_calls(policies={"nap": ToolPolicy(time_limit=0.2)}, journal=journal) as tool_calls:
            await ask_pid(tool_calls)  # there is a process
            assert (await ask(tool_calls, "nap", {"seconds": 30.0}, "call_2")).outcome == "time-out"
            with closing(sqlite3.connect(journal.path)) as connection:
                outcomes = "SELECT outcome FROM calls WHERE tool_call_id = 'call_2'"
                await wait_for(lambda: connection.execute(outcomes).fetchall() == [("time-out",)])


# --- many -----------------------------------------------------------------------------------------------------------


async def test_20_calls_at_once_and_those_too_many_end_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "IDLE_LIMIT", 0.3)
    pids: set[int] = set()
    async with open_calls(policies={"nap": ToolPolicy(parallel=20)}) as tool_calls:
        all_processes = get_processes(tool_calls)

        async def call() -> None:
            answer = await ask(tool_calls, "nap", {"seconds": 0.1})
            assert answer.outcome == "ok"
            pids.add(int(answer.result))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(call)
        assert 1 < len(pids) <= 20
        await wait_for(lambda: all_processes.state.idle == 1 and not all_processes.state.starting)
        await wait_for(lambda: sum(map(is_running, pids)) <= 1)
        await trio.sleep(0.4)
        assert all_processes.state.idle == 1  # the last one stays
    assert not any(map(is_running, pids))


async def test_there_is_a_process_for_the_next_call_while_one_takes_long() -> None:
    async with open_calls() as tool_calls, trio.open_nursery() as nursery:
        all_processes = get_processes(tool_calls)
        await ask_pid(tool_calls)
        nursery.start_soon(ask, tool_calls, "nap", {"seconds": 60.0})
        await wait_for(lambda: all_processes.state.busy == 1 and all_processes.state.idle == 1)
        assert (await ask(tool_calls, "tell_pid")).seconds < WAIT_LIMIT / 2
        nursery.cancel_scope.cancel()


# --- not well-behaved -----------------------------------------------------------------------------------------------


def read_pids(file: Path) -> list[int]:
    """Return what the tool `wait` has written, if it has."""
    text = file.read_text() if file.exists() else ""
    return [int(word) for word in text.split()] if text.endswith("\n") else []


@pytest.mark.parametrize("how", ["deadline", "cancelled", "closed"])
async def test_a_process_is_killed_with_all_that_it_has_started(how: str, tmp_path: Path) -> None:
    pids: list[int] = []
    answers: list[ToolAnswer] = []
    policies = {
        "wait": ToolPolicy(
            time_limit=2.0 if how == "deadline" else None, on_disconnect="cancel" if how == "cancelled" else "keep"
        )
    }
    async with open_calls(policies=policies) as tool_calls:
        await ask_pid(tool_calls)  # so that the time is the tool's, not Python's to start

        async def call() -> None:
            answers.append(await ask(tool_calls, "wait", {"path": str(tmp_path / "pids")}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_for(lambda: read_pids(tmp_path / "pids"))
            pids = read_pids(tmp_path / "pids")
            assert all(map(is_running, pids))
            if how != "deadline":
                nursery.cancel_scope.cancel()
        if how == "deadline":
            assert answers[0].outcome == "time-out"
        if how != "closed":
            await wait_for(lambda: not any(map(is_running, pids)))
            assert get_processes(tool_calls).state.killed == 1
            assert await ask_pid(tool_calls) not in pids
    assert not any(map(is_running, pids))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("end", {"how": "exit"}, "it ended with exit status 7"),
        ("end", {"how": "kill"}, "it ended with SIGKILL"),
        ("end", {"how": "crash"}, "it ended with SIGSEGV"),
        ("end", {"how": "odd"}, "it ended with signal 40"),
        ("end", {"how": "fork"}, "it ended with exit status 7"),
        ("burn", {}, "it used more than 0.2 s of processor time"),
        ("babble", {"what": "not_json"}, "it said what is not JSON"),
        ("babble", {"what": "not_known"}, "it said what is not understood"),
        ("babble", {"what": "not_an_object"}, "it said what is not"),
        ("babble", {"what": "not_unicode"}, "it said what is not JSON"),
        ("babble", {"what": "too_long"}, "it said more than"),
        ("babble", {"what": "too_many"}, "it said too much"),
        ("babble", {"what": "half"}, "it ended with exit status 0"),
    ],
)
async def test_what_a_call_does_to_its_process_costs_that_call_alone(
    name: str, arguments: dict[str, str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    policies = {"burn": ToolPolicy(cpu_seconds=0.2)}
    async with open_calls(policies=policies) as tool_calls:
        answer = await ask(tool_calls, name, arguments)
        assert answer.outcome == "error"
        assert f'The tool "{name}" failed, with its process: {words}' in answer.result
        assert get_processes(tool_calls).state.crashed == 1
        await ask_pid(tool_calls)
    assert f'the process of the tool "{name}" is lost: {words}' in caplog.text
    if arguments.get("how") == "crash":
        assert "in end" in caplog.text  # the line at which it crashed


async def test_a_tool_that_eats_memory_is_told_that_there_is_no_more() -> None:
    async with open_calls(policies={"eat": ToolPolicy(memory=512)}) as tool_calls:
        answer = await ask(tool_calls, "eat")
        assert answer.outcome == "error"
        assert "MemoryError" in answer.result or "ended with" in answer.result
        await ask_pid(tool_calls)


async def test_no_limit_is_none() -> None:
    unlimited = ToolPolicy(time_limit=math.inf, cpu_seconds=math.inf, memory=10**13)
    async with open_calls(policies={"tell_context": unlimited}) as tool_calls:
        tool_calls.learn_response_timeouts("main", {"tell_context": None})
        answer = await ask(tool_calls, "tell_context", {"text": "x"})
        assert (answer.outcome, json.loads(answer.result)["left"]) == ("ok", None)  # null, as JSON has no infinity


@pytest.mark.usefixtures("_no_spare")
async def test_no_thread_to_be_had_costs_the_calls_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with open_journal(tmp_path / "journal.sqlite") as journal:
        async with open_calls(journal=journal) as tool_calls:
            await ask_pid(tool_calls)
            with monkeypatch.context() as patch:
                patch.setattr(trio.lowlevel, "start_thread_soon", refuse)
                patch.setattr("trio._threads.start_thread_soon", refuse)
                outcomes = [(await ask(tool_calls, "tell_pid", call_id=f"none_{n}")).outcome for n in range(3)]
                assert outcomes == ["overloaded"] * 3
                os.kill(get_processes(tool_calls)._idle[0]._process.pid, signal.SIGKILL)
                await wait_for(lambda: get_processes(tool_calls).state.idle == 0)
                assert (await ask(tool_calls, "tell_pid", call_id="none_4")).outcome == "error"
            assert (await ask(tool_calls, "tell_pid", call_id="again")).outcome == "ok"


@pytest.mark.usefixtures("_no_spare")
async def test_a_process_that_is_killed_while_it_is_idle_costs_nothing() -> None:
    async with open_calls() as tool_calls:
        for _ in range(2):
            pid = await ask_pid(tool_calls)
            os.kill(pid, signal.SIGKILL)
            await wait_for(lambda: get_processes(tool_calls).state.idle == 0)
            assert await ask_pid(tool_calls) != pid
        assert get_processes(tool_calls).state.crashed == 0


async def test_a_process_with_programs_left_running_is_not_used_again() -> None:
    async with open_calls() as tool_calls:
        answer = await ask(tool_calls, "leave_child")
        pids = json.loads(answer.result)
        await wait_for(lambda: not any(map(is_running, pids)))
        assert await ask_pid(tool_calls) not in pids


async def test_a_plugin_that_cannot_be_loaded_in_a_process_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with open_calls({"is_broken_in_process": True}) as tool_calls:
        answer = await ask(tool_calls, "tell_pid")
        assert answer.outcome == "error"
        assert 'The tool "tell_pid" is out of service' in answer.result
        assert "RuntimeError: not here" in get_processes(tool_calls).failure
    assert "RuntimeError: not here" in caplog.text


async def test_a_process_that_is_not_ready_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "START_LIMIT", 0.01)
    async with open_calls() as tool_calls:
        assert "out of service" in (await ask(tool_calls, "tell_pid")).result
        assert get_processes(tool_calls).failure == "it was not ready within 0.01 s"
        monkeypatch.setattr(process, "START_LIMIT", WAIT_LIMIT)
        await ask_pid(tool_calls)  # the next call tries again
        assert get_processes(tool_calls).failure == ""


# --- the daemon -----------------------------------------------------------------------------------------------------

PROGRAM = """
    import sys
    import trio
    from importlib.metadata import EntryPoint
    from convaid.calls import open_tool_calls
    from convaid.config.policy import ToolsConfig
    from convaid.plugins import load_plugins
    from convaid.protocol.from_agent import ClientToolCall

    sys.path.insert(0, {installed!r})
    plugins = load_plugins({{}}, entry_points=[EntryPoint("processed", "convaid_processed", "convaid")])

    async def main():
        async with open_tool_calls(plugins, ToolsConfig()) as tool_calls:
            print(tool_calls.places[-1].state.idle)
            await tool_calls.call(ClientToolCall("wait", "call_1", {{"path": {path!r}}}), "main", "conv_1")

    trio.run(main)
"""


async def test_nothing_outlives_a_daemon_that_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    program = textwrap.dedent(PROGRAM.format(installed=str(INSTALLED), path=str(file)))
    daemon = await trio.lowlevel.open_process([sys.executable, "-c", program], stdout=subprocess.PIPE)
    await wait_for(lambda: read_pids(file))
    pids = read_pids(file)
    assert all(map(is_running, pids))
    daemon.kill()
    await daemon.wait()
    assert daemon.stdout is not None
    async with daemon.stdout:
        assert int(await daemon.stdout.receive_some()) == 0  # its own start did not wait for a process
    await wait_for(lambda: not any(map(is_running, pids)))


async def test_closing_is_quick_and_quiet_while_a_process_is_starting(caplog: pytest.LogCaptureFixture) -> None:
    begin = time.monotonic()
    async with open_calls():
        await trio.sleep(0.05)
    assert time.monotonic() - begin < WAIT_LIMIT / 2
    assert caplog.messages == []
