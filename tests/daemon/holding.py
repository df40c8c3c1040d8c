"""A daemon and a simulator in one process, for tests: real sockets, tools given as functions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio
from attrs import define, field

from convaid import events
from convaid.config import parse_configuration
from convaid.daemon import Daemon, Service, run_daemon
from convaid.narration import log_event
from convaid.plugins import Plugin, Plugins, Tool
from convaid.simulator import Simulator, SimulatorSettings, open_simulator, parse_scenario

__all__ = ["LIMIT", "MAIN", "Held", "hold", "make_plugin"]

LIMIT = 20.0  # seconds: longer than any test here takes, shorter than the test's own limit
K = TypeVar("K")

MAIN = """
[conversations.main]
agent_id = "agent_test"
start = "once"
"""


@define(eq=False)
class Held:
    """A running daemon, the simulator that it talks to, and what has happened so far."""

    simulator: Simulator
    daemon: Daemon
    events: list[events.Event] = field(factory=list)
    over: trio.Event = field(factory=trio.Event)
    _happened: trio.Event = field(factory=trio.Event)

    def note(self, event: events.Event) -> None:
        """Take note of an event; the daemon's observer."""
        log_event(event)
        self.events.append(event)
        self._happened.set()
        self._happened = trio.Event()

    def of_kind(self, kind: type[K]) -> list[K]:
        """The events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def wait_for(self, kind: type[K], count: int = 1) -> list[K]:
        """Wait until there are so many events of one kind."""
        while len(self.of_kind(kind)) < count:
            await self._happened.wait()
        return self.of_kind(kind)


def make_plugin(name: str, *tools: Tool) -> Plugin:
    """An installed plugin that offers tools and nothing else."""
    return Plugin(name, name, name, "1", "ready", tools=tools)


@asynccontextmanager
async def hold(
    *scenarios: str,
    tools: Sequence[Tool] = (),
    configuration: str = MAIN,
    base_url: str = "",
    key: str | None = None,
    others: Sequence[Plugin] = (),
    services: Sequence[Service] = (),
) -> AsyncIterator[Held]:
    """Run the daemon against a simulator that plays ``scenarios`` (TOML), one conversation each, the last for ever.

    ``tools`` are offered by one plugin; ``others`` are more plugins.
    """
    settings = SimulatorSettings([parse_scenario(text, "test") for text in scenarios], key)
    plugins = Plugins((make_plugin("test", *tools), *others))
    with trio.fail_after(LIMIT):
        async with open_simulator(settings) as simulator, trio.open_nursery() as nursery:
            text = f'{configuration}\n[platform]\nbase_url = "{base_url or simulator.base_url}"\n'
            held = Held(simulator, Daemon())

            async def run() -> None:
                await run_daemon(
                    parse_configuration(text.replace("SIMULATOR", simulator.base_url), "test"),
                    plugins,
                    observe=held.note,
                    daemon=held.daemon,
                    services=services,
                )
                held.over.set()

            nursery.start_soon(run)
            yield held
            held.daemon.stop.set()
            await held.over.wait()
