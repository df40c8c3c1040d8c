"""The daemon as a process: SIGTERM and SIGINT, once and twice, with the simulator as another process."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .running import LIMIT, install_plugin, keep, read_until, start_convaid

SCENARIO = """
steps = [
    {call = {tool = "linger", parameters = {seconds = SECONDS}, response_timeout_secs = 15.0}},
    {say = "Done."},
]
"""
PLUGIN = """
import time
from convaid import hookimpl, tool

@tool(time_limit=30)
def linger(seconds: float) -> str:
    \"\"\"Take some time.

    Args:
        seconds: how long
    \"\"\"
    time.sleep(seconds)
    return "lingered"

@hookimpl
def convaid_tools():
    return [linger]
"""


@contextmanager
def talk(folder: Path, seconds: float, grace: float = 5.0) -> Iterator[tuple[subprocess.Popen[str], ...]]:
    """A simulator and a daemon, in the middle of a call of a tool that takes ``seconds``."""
    install_plugin(folder, "linger", PLUGIN)
    (folder / "scenario.toml").write_text(SCENARIO.replace("SECONDS", f"{seconds:.1f}"))
    with keep(start_convaid("simulate", "scenario.toml", "--port", "0", folder=folder)) as simulator:
        (url,) = re.findall(r"http://\S+", read_until(simulator, "http://"))
        (folder / "config.toml").write_text(
            f'[platform]\nbase_url = "{url}"\n[conversations.main]\nagent_id = "a"\n[daemon]\nstop_grace = {grace}\n'
            '[log]\nlevel = "debug"\n'
        )
        with keep(start_convaid("run", folder=folder, PYTHONPATH=str(folder))) as daemon:
            read_until(daemon, "tool linger called", log=True)
            yield simulator, daemon


LOADING = """
import sys, time
print("loading", file=sys.stderr, flush=True)
time.sleep(SECONDS)
print("loaded", file=sys.stderr, flush=True)
"""


@contextmanager
def load(folder: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A daemon that is loading a plugin, which takes so many seconds."""
    install_plugin(folder, "slow", LOADING.replace("SECONDS", f"{seconds:.1f}"))
    (folder / "config.toml").write_text('[conversations.main]\nagent_id = "a"\n')
    with keep(start_convaid("run", folder=folder, PYTHONPATH=str(folder))) as daemon:
        read_until(daemon, "^loading", log=True)
        yield daemon


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_does_not_cut_off_what_a_plugin_does_when_it_is_loaded(number: signal.Signals, tmp_path: Path) -> None:
    with load(tmp_path, 1.5) as daemon:
        daemon.send_signal(number)
        output, log = daemon.communicate(timeout=LIMIT)
        assert (daemon.returncode, output) == (0, ""), log
        assert log.startswith("loaded\n")
        assert f"{number.name}: stopped before anything had begun" in log


def test_a_second_signal_ends_a_plugin_that_hangs_when_it_is_loaded(tmp_path: Path) -> None:
    with load(tmp_path, 60) as daemon:
        while daemon.poll() is None:
            daemon.terminate()
            time.sleep(0.1)  # two signals that wait are one
        daemon.communicate(timeout=LIMIT)
        assert daemon.returncode == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_the_tool_finish_and_says_goodbye(number: signal.Signals, tmp_path: Path) -> None:
    with talk(tmp_path, 1.0) as (simulator, daemon):
        daemon.send_signal(number)
        output, log = daemon.communicate(timeout=LIMIT)
        assert daemon.returncode == 0, log
        assert re.fullmatch(r"main: conv_sim_\w+ ended by the user\n", output)
        assert re.search(r"conversation conv_sim_\w+ ended by the user", log)
        assert "'lingered' after 1" in read_until(simulator, "tool linger")
        assert "ended by user: 1000" in read_until(simulator, "ended by")


def test_a_tool_that_does_not_finish_is_answered_for_within_the_grace(tmp_path: Path) -> None:
    with talk(tmp_path, 30.0, grace=4.0) as (simulator, daemon):
        began = time.monotonic()
        daemon.terminate()
        daemon.communicate(timeout=LIMIT)
        assert daemon.returncode == 0
        assert time.monotonic() - began < 15  # the grace, and the end of the interpreter on a busy machine
        assert "shutting down" in read_until(simulator, "tool linger")
        assert "ended by user: 1000" in read_until(simulator, "ended by")


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with talk(tmp_path, 20.0, grace=30.0) as (_, daemon):
        daemon.terminate()
        read_until(daemon, "a second signal ends at once", log=True)
        began = time.monotonic()
        daemon.terminate()
        daemon.communicate(timeout=LIMIT)
        assert daemon.returncode == 1
        assert time.monotonic() - began < 10
