"""A daemon that nobody looks after, through what happens to one in months: each is shown, and it goes on."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..cli.running import install_plugin
from .machine import Clock, Disk, Platform, Service, find_obstacle, open_service

KILLS = 10
DAYS = 3 * 24 * 3600  # seconds
MOST_GROWTH = 16.0  # MiB by which a process of this age may still grow

CONFIGURATION = """
[platform]
base_url = "http://127.0.0.1:{port}"
[conversations.main]
agent_id = "agent_demo"
overrides.text_only = true
record = true
history.keep = "full"
[conversations.main.limits]
stable_after = 0.01 # each session counts as a success: the next begins within half a second
[tools]
quarantine_after = 0.5
[tools.eat]
time_limit = 1.5
"""
SCENARIO = r"""
agent = {text_only = true, input_limit = 600}
steps = [{say = "Hello."}]
[[rules]]
when = 'add (\d+) and (\d+)'
call = {tool = "add", parameters = {a = "#1", b = "#2"}}
say = "It is {result}."
[[rules]]
when = "eat"
call = {tool = "eat"}
say = "So much for that: {result}"
"""
ADDER = """
from typing import Annotated
from convaid import hookimpl, tool

@tool
def add(a: Annotated[int, "one"], b: Annotated[int, "another"]) -> int:
    "Add two numbers."
    return a + b

@hookimpl
def convaid_tools():
    return [add]
"""
GLUTTON = """
import time
from convaid import hookimpl, tool

@tool
async def eat() -> str:
    "Keep the plugin's thread for ever."
    while True:
        time.sleep(1000) # here

@hookimpl
def convaid_tools():
    return [eat]
"""
BLOCKED = GLUTTON[: GLUTTON.index("# here")].count("\n") + 1


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a socket's may have a hundred characters."""
    if obstacle := find_obstacle():
        assert "CI" not in os.environ, obstacle
        pytest.skip(obstacle)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "agent.toml").write_text(SCENARIO)
        install_plugin(folder, "adder", ADDER)
        install_plugin(folder, "glutton", GLUTTON)
        yield folder


def is_connected(found: Any) -> bool:
    return bool(found["conversations"][0]["state"] == "connected")


def check_talk(service: Service, a: int, b: int) -> None:
    """The conversation is there, the agent answers, and a tool runs."""
    service.wait(is_connected)
    assert ask(service, f"Please add {a} and {b}.") == f"It is {a + b}."


def ask(service: Service, text: str) -> str:
    """What `convaid ask` prints."""
    answer = service.ask("POST", "/v1/conversations/main/ask", {"text": text})
    assert answer["is_complete"]
    return str(answer["text"])


def find_warning(found: Any, words: str) -> Any:
    """The one that the status shows with these words, if it does."""
    return next((warned for warned in found["warnings"] if words in warned["text"]), None)


@pytest.mark.timeout(120)  # it takes about 30 s
def test_an_unattended_daemon_goes_on_and_shows_what_happened(folder: Path) -> None:
    clock, platform = Clock(folder), Platform(folder, ["agent.toml"])
    platform.start()
    platform.wait_ready()  # else the first thing in the status is that nobody was there
    configuration = CONFIGURATION.format(port=platform.port)
    try:
        with open_service(folder, configuration, variables=clock.variables, has_disk=True) as service:
            disk = Disk(service.process.pid, folder / "state")
            check_talk(service, 2, 3)
            before = service.show_status()
            assert before["is_well"]
            assert before["warnings"] == []

            kill_platform(service, platform)
            leave_in_mid_stream(service)
            fill_disk(service, platform, disk)
            set_clock(service, clock)
            eat_thread(service)

            service.wait(lambda found: not found["troubles"])
            after = service.show_status()
            assert after["pid"] == before["pid"]
            assert len(after["problems"]) == 2  # the plugin is stuck, and its tool goes on
            assert all(f"convaid_glutton.py:{BLOCKED}" in problem for problem in after["problems"])
            for name in ("descriptors", "tasks"):
                assert after["resources"][name] <= before["resources"][name]
            assert after["resources"]["memory"] < before["resources"]["memory"] + MOST_GROWTH
            done = service.convaid("ask", "At last, add 20 and 22.")
            assert (done.returncode, done.stdout) == (0, "It is 42.\n"), done.stderr
            assert service.end() == 0
            assert "Traceback" not in service.log
            assert "a fault of convaid's" not in service.log
    finally:
        platform.kill()


def kill_platform(service: Service, platform: Platform) -> None:
    """The platform crashes ten times, in mid-conversation."""
    for number in range(KILLS):
        platform.kill()
        service.wait(lambda found: found["conversations"][0]["state"] == "waiting")
        found = service.show_status() if number == 0 else service.ask("GET", "/v1/status")
        (main,) = found["conversations"]
        assert main["last_end"]["cause"] == "link lost"
        assert "link lost" in found["sentence"]
        platform.start()
        check_talk(service, number, number)
    found = service.show_status()
    assert found["is_well"]
    assert find_warning(found, "main: ")["count"] >= KILLS


def leave_in_mid_stream(service: Service) -> None:
    """Somebody who follows the events vanishes."""
    reader = service.start_convaid("tail", "--json")
    try:
        assert reader.stdout is not None
        assert reader.stdout.readline()
        assert service.show_status()["readers"] == 1
        reader.send_signal(signal.SIGSTOP)
        check_talk(service, 4, 4)
        reader.kill()
        service.wait(lambda found: found["readers"] == 0)
    finally:
        reader.kill()
        reader.communicate()
    check_talk(service, 5, 5)


def fill_disk(service: Service, platform: Platform, disk: Disk) -> None:
    """There is no room for the state, also when a session ends and another begins; then there is again."""
    disk.fill()
    service.wait(is_connected)
    assert "12" not in ask(service, "Please add 6 and 6.")  # what cannot be recorded is not run, and the agent is told
    platform.kill()
    service.wait(lambda found: found["conversations"][0]["state"] == "waiting")
    platform.start()
    service.wait(is_connected)
    service.wait(lambda found: len(found["troubles"]) == 3)
    found = service.show_status()
    for what in ("journal", "budget", "history"):
        assert any(what in trouble for trouble in found["troubles"]), found["troubles"]
    assert find_warning(found, "this session is not recorded any further")
    disk.clear()
    platform.kill()  # the budget is written when a session begins, and else four times a minute
    platform.start()
    check_talk(service, 7, 7)


def set_clock(service: Service, clock: Clock) -> None:
    """The machine's clock is set by days, and back."""
    for lead, way in ((DAYS, "forward"), (0, "back")):
        clock.set(lead)
        check_talk(service, 8, 8)
        service.wait(lambda found, way=way: find_warning(found, f"clock was set {way} by {DAYS} s"))  # type: ignore[misc]
        check_talk(service, 9, 9)


def eat_thread(service: Service) -> None:
    """A plugin keeps its thread; others go on."""
    assert ask(service, "Please eat.").startswith("So much for that: ")
    for words in ("is stuck", "given up goes on"):
        service.wait(lambda found, words=words: any(words in problem for problem in found["problems"]))  # type: ignore[misc]
    found = service.show_status()
    (plugin,) = [each for each in found["plugins"] if each["name"] == "glutton"]
    assert plugin["state"] == "stuck"
    assert f"convaid_glutton.py:{BLOCKED}" in plugin["reason"]
    check_talk(service, 10, 10)
