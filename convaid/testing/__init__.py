"""The test kit: a plugin's tools called as agents call them, on pytest, with no account and no network (floor 6).

`convaid.testing.plugin` is the pytest plugin, with the fixtures ``call_tool``, ``agent``, ``simulator`` and ``clock``;
here are their types, for annotations. They are imported when they are first asked for: pytest loads the plugin in every
project beside which convaid is installed.

What it handles for you: threads, rooms and lifespans are those of the daemon, opened and closed around each test; the
clocks of all of them move together. What it will not: the clock does not move ``time.sleep``, nor a time limit that
somebody else's library keeps on the machine's own clock.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convaid.testing.agent import Agent
    from convaid.testing.clock import Clock
    from convaid.testing.pending import Pending
    from convaid.testing.simulated import SimulatedPlatform, StartSimulator
    from convaid.testing.toolbox import CallTool

__all__ = ["Agent", "CallTool", "Clock", "Pending", "SimulatedPlatform", "StartSimulator"]

_HOMES = {
    "Agent": "convaid.testing.agent",
    "CallTool": "convaid.testing.toolbox",
    "Clock": "convaid.testing.clock",
    "Pending": "convaid.testing.pending",
    "SimulatedPlatform": "convaid.testing.simulated",
    "StartSimulator": "convaid.testing.simulated",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
