"""Which tools a run of scenarios has driven to which outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from attrs import frozen

from convaid.calls import list_offered
from convaid.config import ToolsConfig
from convaid.events import Outcome
from convaid.plugins import Plugins
from convaid.testing.running import CallReport

__all__ = ["DrivenTool", "count_outcomes", "find_share"]


@frozen
class DrivenTool:
    """A tool, and how often its calls ended in which way. ``plugin`` is empty for one that nobody offers."""

    tool: str
    plugin: str
    is_tested: bool
    """It is one of those that the scenarios are there for."""
    outcomes: Mapping[Outcome, int]


def count_outcomes(
    calls: Iterable[CallReport], plugins: Plugins, config: ToolsConfig, tested: Collection[str] | None = None
) -> list[DrivenTool]:
    """Return every tool that is offered, then those that were called all the same.

    ``tested`` names the plugins that the scenarios are there for; None: all of them.
    """
    counts: dict[str, Counter[Outcome]] = {}
    for call in calls:
        counts.setdefault(call.tool, Counter())[call.outcome] += 1
    owners = {tool.name: plugin.name for tool, plugin in list_offered(plugins, config)}
    owners |= {name: "" for name in counts if name not in owners}
    return [
        DrivenTool(name, owner, bool(owner) and (tested is None or owner in tested), dict(counts.get(name, {})))
        for name, owner in owners.items()
    ]


def find_share(driven: Sequence[DrivenTool]) -> float:
    """Return how many per cent of the tools that are tested have answered at least once; 100 where there is none."""
    tested = [tool for tool in driven if tool.is_tested]
    answered = [tool for tool in tested if "ok" in tool.outcomes]
    return 100 * len(answered) / len(tested) if tested else 100.0
