"""Programs that are run when something happens."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from convaid import events
from convaid.config import EventCommandConfig, parse_configuration
from convaid.errors import ConfigurationError
from convaid.event_commands import WAITING, EventCommand, run_event_commands

from .holding import MAIN, hold

HANG_UP = 'steps = [{say = "Hello."}, {end = {}}]'
COPY = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"


def command(program: str, *arguments: object, on: str = '["connected"]', more: str = "") -> str:
    run = json.dumps([sys.executable, "-c", program, *map(str, arguments)])
    return f"[[event_commands]]\non = {on}\nrun = {run}\n{more}\n"


async def wait_lines(path: Path, count: int) -> list[Any]:
    """Bounded by the test's own limit."""
    lines: list[str] = []
    while len(lines) < count:
        await trio.sleep(0.01)
        lines = read_lines(path)
    return [json.loads(line) for line in lines]


def read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def test_a_program_gets_its_events_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "told"
    wanted = '["connected", "agent_response", "ended"]'
    configuration = MAIN.replace("once", "on_demand") + command(COPY, path, on=wanted)
    async with hold(HANG_UP, configuration=configuration, services=[run_event_commands]) as held:
        while held.daemon.keeper is None:
            await trio.sleep(0.001)
        held.daemon.keeper.find("main").start()
        told = await wait_lines(path, 3)
    assert [line["event"] for line in told] == ["connected", "message_received", "ended"]
    assert told[1]["message"]["agent_response"] == "Hello."
    assert {line["conversation"] for line in told} == {"main"}


async def test_a_program_that_fails_or_hangs_hurts_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "told"
    hang = "import os, time; os.fork(); time.sleep(60)"
    configuration = (
        MAIN.replace("once", "on_demand")
        + command(hang, more="time_limit = 0.3")
        + command("raise SystemExit('no lamp here')")
        + '[[event_commands]]\non = ["connected"]\nrun = ["/nowhere/lamp"]\n'
        + command(COPY, path, more='conversation = "main"')
        + command(COPY, path, more='conversation = "other"')
    )
    async with hold(HANG_UP, configuration=configuration, services=[run_event_commands]) as held:
        while held.daemon.keeper is None:
            await trio.sleep(0.001)
        held.daemon.keeper.find("main").start()
        await held.wait_for(events.Ended)
        assert len(await wait_lines(path, 1)) == 1
        while caplog.text.count("event command") < 3:
            await trio.sleep(0.01)
    assert "was stopped: it ran for 0.3 s" in caplog.text
    assert "failed with status 1: no lamp here" in caplog.text
    assert "the event command /nowhere/lamp cannot be run: No such file or directory" in caplog.text


async def run_once(program: str, time_limit: float) -> float:
    """Returns how long it took until the next event could have its turn."""
    config = EventCommandConfig(["muted"], [sys.executable, "-c", program], time_limit=time_limit)
    began = trio.current_time()
    await EventCommand(config, dict(os.environ))._run(events.Muted("main", None, True))
    return trio.current_time() - began


async def test_a_program_that_prints_without_end_fills_no_memory(caplog: pytest.LogCaptureFixture) -> None:
    program = "import os\nwhile True: os.write(1, b'x' * 65536)"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await run_once(program, 1.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 * 2**10  # KiB
    assert "was stopped: it ran for 1 s" in caplog.text


async def test_what_a_program_leaves_behind_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    program = "import os, time\nif not os.fork(): time.sleep(20)"
    assert await run_once(program, 30.0) < 10.0
    assert "event command" not in caplog.text


async def test_what_comes_too_fast_is_lost_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    slow = EventCommand(EventCommandConfig(["muted"], ["true"]), {})
    for _ in range(WAITING + 5):
        slow.observe(events.Muted("main", None, True))
    assert caplog.text.count("is too slow") == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow.work)
        with trio.fail_after(20):
            while "it was not run for 5 events" not in caplog.text:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('on = []\nrun = ["true"]', "names no event"),
        ('on = ["conected"]\nrun = ["true"]', 'there is no event "conected"; did you mean "connected"?'),
        ('on = ["connected"]\nrun = []', "needs a program"),
        ('on = ["connected"]\nrun = ["true"]\ntime_limit = 0', "must be longer than 0"),
    ],
)
def test_a_wrong_table_is_named(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=r"event_commands\[0\].*") as raised:
        parse_configuration(f"[[event_commands]]\n{text}\n", "test")
    assert problem in str(raised.value)
