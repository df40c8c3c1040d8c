"""A daemon for plugins that act by themselves; and which scenarios are no tests by themselves.

Those are of tools that only a configuration makes: the test_kit.py of each of these plugins writes one, and runs them
with `convaid test`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import pytest
import trio
from attrs import define, field

from convaid.config import parse_configuration
from convaid.daemon import Daemon, run_daemon
from convaid.events import Event
from convaid.plugins import load_plugins
from convaid.simulator import Simulator, SimulatorSettings, open_simulator, parse_scenario

HOLD_LIMIT = 40.0  # seconds: longer than any test with a daemon takes, shorter than a test's own limit

collect_ignore = [f"{plugin}/scenarios" for plugin in ("command", "mcp", "webhook")]


@define(eq=False)
class Held:
    """A daemon that runs with installed plugins, the simulator that it talks to, and what has happened so far."""

    simulator: Simulator
    daemon: Daemon = field(factory=Daemon)
    events: list[Event] = field(factory=list)

    async def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so; whoever opened the daemon bounds it."""
        while not is_so():  # noqa: ASYNC110 - not all of it has an event
            await trio.sleep(0.005)

    async def wait_for(self, kind: type[Event]) -> None:
        """Wait until there is an event of this kind."""
        await self.wait_until(lambda: any(isinstance(event, kind) for event in self.events))


class HoldDaemon(Protocol):
    def __call__(self, configuration: str, scenario: str) -> AbstractAsyncContextManager[Held]: ...


@pytest.fixture
def hold_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HoldDaemon:
    """Runs a daemon with the plugins that the configuration has tables of, and a simulator that plays a scenario."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)

    @asynccontextmanager
    async def hold(configuration: str, scenario: str) -> AsyncIterator[Held]:
        settings = SimulatorSettings([parse_scenario(scenario, "test")])
        with trio.fail_after(HOLD_LIMIT):
            async with open_simulator(settings) as simulator, trio.open_nursery() as nursery:
                text = f'{configuration}\n[platform]\nbase_url = "{simulator.base_url}"\n'
                parsed, held = parse_configuration(text, "test"), Held(simulator)
                installed = entry_points(group="convaid")
                plugins = load_plugins(
                    parsed.plugins, entry_points=[each for each in installed if each.name in parsed.plugins]
                )
                assert not plugins.problems
                run = partial(run_daemon, parsed, plugins, observe=held.events.append, daemon=held.daemon)
                await nursery.start(run)
                yield held
                held.daemon.stop.set()

    return hold
