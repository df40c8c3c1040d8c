"""Plugins that print, hang, or leave threads behind, and streams that are closed: what the commands make of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .running import LIMIT, find_environment, install_plugin, keep, read_until, run_convaid, start_convaid

PRINTING = """
import os, subprocess
from convaid import hookimpl, tool

print("a plugin says hello")
os.write(1, b"behind Python's back\\n")

@tool
def chatter() -> str:
    \"\"\"Talk.\"\"\"
    print("and goes on")
    subprocess.run(["echo", "in a program of its own"])
    return "done"

@hookimpl
def convaid_tools():
    return [chatter]
"""
HANGING = """
import os, sys, time, threading
from convaid import hookimpl, tool

threading.Thread(target=time.sleep, args=(60,)).start()

@tool(time_limit=60)
def hang() -> None:
    \"\"\"Never end.\"\"\"
    print("hangs", file=sys.stderr, flush=True)
    time.sleep(60)

@tool
def pass_by() -> str:
    \"\"\"Pass by.\"\"\"
    return "passed"

@hookimpl
def convaid_tools():
    if os.environ.get("CONVAID_HANGS") and "convaid-test" in os.environ.get("STATE_DIRECTORY", ""):
        print("hangs", file=sys.stderr, flush=True)
        time.sleep(60)
    return [hang, pass_by]
"""
CALL = "steps = [{{call = {{tool = '{}', expect_outcome = 'ok'}}}}, {{end = {{}}}}]"


@pytest.mark.parametrize("line", ["plugins", "tools", "tools show chatter", "test chat.toml", "check"])
def test_what_plugins_print_is_not_in_the_json(line: str, tmp_path: Path) -> None:
    command = line.split()
    install_plugin(tmp_path, "printing", PRINTING)
    (tmp_path / "chat.toml").write_text(CALL.format("chatter"))
    (tmp_path / "config.toml").write_text('[conversations.main]\nagent_id = "a"\n')
    result = run_convaid(*command, "--json", folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)
    told = ["a plugin says hello", "behind Python's back"]
    told += ["and goes on", "in a program of its own"] if command[0] == "test" else []
    assert all(line in result.stderr.splitlines() for line in told)


def test_a_thread_that_is_left_behind_holds_nothing_up(tmp_path: Path) -> None:
    install_plugin(tmp_path, "hanging", HANGING)
    (tmp_path / "pass.toml").write_text(CALL.format("pass_by"))
    began = time.monotonic()
    result = run_convaid("test", "pass.toml", folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "1 passed" in result.stdout
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_tool_that_hangs(number: signal.Signals, tmp_path: Path) -> None:
    install_plugin(tmp_path, "hanging", HANGING)
    (tmp_path / "hang.toml").write_text(CALL.format("hang"))
    with keep(start_convaid("test", "hang.toml", folder=tmp_path, PYTHONPATH=str(tmp_path))) as process:
        read_until(process, "^hangs", log=True)
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT)
        assert process.returncode == 128 + number, err
        assert "0 passed, 1 not run" in out


def test_a_second_signal_ends_a_plugin_that_hangs_with_all_else(tmp_path: Path) -> None:
    install_plugin(tmp_path, "hanging", HANGING)
    (tmp_path / "pass.toml").write_text(CALL.format("pass_by"))
    command = start_convaid("test", "pass.toml", folder=tmp_path, PYTHONPATH=str(tmp_path), CONVAID_HANGS="yes")
    with keep(command) as process:
        read_until(process, "^hangs", log=True)
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)  # two signals that wait are one
        process.communicate(timeout=LIMIT)
        assert process.returncode == -signal.SIGINT


def run_without(number: int, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command whose stdin (0) or stdout (1) is closed."""
    return subprocess.run(
        [sys.executable, "-m", "convaid", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=LIMIT,
        env=find_environment(),
        preexec_fn=lambda: os.close(number),
        check=False,
    )


def test_nobody_can_type_where_stdin_is_closed(tmp_path: Path) -> None:
    result = run_without(0, "chat", folder=tmp_path)
    assert result.returncode == 2
    assert "standard input is closed" in result.stderr


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_where_stdout_is_closed_nothing_else_gets_what_is_printed(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "pass.toml").write_text(CALL.format("list_notes"))
    result = run_without(1, "test", "pass.toml", *options, folder=tmp_path)
    assert (result.returncode, result.stdout) == (0, "")
    assert "Traceback" not in result.stderr
