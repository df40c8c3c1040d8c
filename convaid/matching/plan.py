"""What `convaid tools push` would do, decided without doing it (pure)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from attrs import evolve, field, frozen

from convaid.config import ConversationConfig
from convaid.matching.agents import find_lacking_events
from convaid.matching.merging import merge_config, tidy_config, write_diff
from convaid.matching.record import PushRecord, RecordedTool
from convaid.matching.view import OfferedTool, PlatformAgent, PlatformView
from convaid.rest import PlatformTool

__all__ = ["AgentStep", "Plan", "ToolStep", "plan_push"]


@frozen
class ToolStep:
    """A tool to create (``tool`` is None), to change, or to delete (``config`` is None)."""

    name: str
    tool: PlatformTool | None
    config: Mapping[str, Any] | None
    """What the platform is to be told: ours, not merged yet."""
    is_adopted: bool = False
    """Whether it was somebody else's until now."""

    def __str__(self) -> str:
        return f"tool {self.name}"

    def write_diff(self) -> str:
        """Return what would change, as a unified diff; "" where only its owner does."""
        before = tidy_config(self.tool.config) if self.tool else None
        after = tidy_config(merge_config(self.config, self.tool.config if self.tool else {})) if self.config else None
        return write_diff(before, after, str(self))


@frozen
class AgentStep:
    """Tools to give to an agent and to take from it, and events that it is to send, too."""

    agent: PlatformAgent
    tools: tuple[str, ...] = ()
    """The names of the tools that it has."""
    attach: tuple[str, ...] = ()
    """By name: a tool that is still to be created has no id yet."""
    detach: tuple[str, ...] = ()
    """By name, likewise."""
    events: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"agent {self.agent.id}" + (f", branch {self.agent.branch_id}" if self.agent.branch_id else "")

    def write_diff(self) -> str:
        """Return what would change, as a unified diff."""
        events = self.agent.client_events
        tools = [*(name for name in self.tools if name not in self.detach), *self.attach]
        before: dict[str, Any] = {"tools": list(self.tools), "client_events": events}
        after: dict[str, Any] = {"tools": tools, "client_events": [*events, *self.events]}
        return write_diff(before, after, str(self))


@frozen
class Plan:
    """Everything that there is to do, in this order, and what will not be done."""

    tools: tuple[ToolStep, ...] = ()
    agents: tuple[AgentStep, ...] = ()
    deletions: tuple[ToolStep, ...] = ()
    refusals: tuple[str, ...] = ()
    """What is left alone although it does not fit, each with its remedy: a line for a person."""
    leftovers: tuple[str, ...] = ()
    """The names of tools that were created for tools which are no longer offered, and stay."""
    known: Mapping[str, str] = field(factory=dict)
    """The ids of the tools that exist already and that agents are to have, by name."""

    @property
    def steps(self) -> tuple[ToolStep | AgentStep, ...]:
        return (*self.tools, *self.agents, *self.deletions)


def plan_push(
    offered: Mapping[str, OfferedTool],
    conversations: Mapping[str, ConversationConfig],
    view: PlatformView,
    record: PushRecord,
    *,
    adopt: Collection[str] = (),
    prunes: bool = False,
) -> Plan:
    """Decide what brings the platform up to date, without touching the tools of others.

    ``adopt`` names tools of others that are to be changed from now on. ``prunes``: what was created for tools that are
    no longer offered is to go. Nothing to do means that nothing would change.
    """
    tools: list[ToolStep] = []
    refusals: list[str] = []
    known: dict[str, str] = {}
    for name, tool in offered.items():
        step = _plan_tool(tool, view, record, name in adopt)
        if isinstance(step, str):
            refusals.append(step)
            continue
        if step.tool is not None:
            known[name] = step.tool.id
        if step.write_diff() or step.is_adopted:
            tools.append(step)
    gone = [
        ToolStep(name, tool, None)
        for name, recorded in record.tools.items()
        if name not in offered and recorded.origin == "created"
        for tool in view.tools
        if tool.id == recorded.id
    ]
    usable = [name for name in offered if name in known or any(step.name == name for step in tools)]
    agents = [*_plan_agents(conversations, view, usable, known, gone if prunes else [])]
    for name, settings in conversations.items():
        if settings.agent_id and view.find_agent(settings.agent_id, settings.branch_id) is None:
            refusals.append(
                f"conversation {name}: there is no agent {settings.agent_id}; compare agent_id and branch_id in "
                f"[conversations.{name}] with the dashboard"
            )
    return Plan(
        tuple(tools),
        tuple(agents),
        tuple(gone if prunes else ()),
        tuple(refusals),
        () if prunes else tuple(step.name for step in gone),
        known | {step.name: step.tool.id for step in gone if step.tool},
    )


def _plan_tool(offered: OfferedTool, view: PlatformView, record: PushRecord, may_adopt: bool) -> ToolStep | str:
    """Return what to do with a tool, which may turn out to be nothing, or why it is left alone."""
    name = offered.name
    own = _find_own(record.tools.get(name), view)
    named = [tool for tool in view.tools if tool.name == name]
    if own is not None and own.is_client_tool:
        return ToolStep(name, own, offered.config)
    if not named:
        return ToolStep(name, None, offered.config)
    if len(named) > 1:
        ids = ", ".join(tool.id for tool in named)
        return (
            f"{name}: the platform has {len(named)} tools of this name ({ids}), and none is ours; rename or delete some"
        )
    (other,) = named
    step = ToolStep(name, other, offered.config, is_adopted=may_adopt)
    if not other.is_client_tool:
        kind = other.config.get("type")
        return f"{name}: the platform has a {kind} tool of this name ({other.id}); rename one of the two"
    if not may_adopt and step.write_diff():
        return (
            f"{name}: the platform has a tool of this name ({other.id}) that convaid has not created; "
            f"to take it over: --adopt {name} (with --dry-run to see what would change), else rename one of the two"
        )
    recorded = record.tools.get(name)
    if recorded is not None and not recorded.id:  # an earlier push has created it, and did not live to hear of it
        return evolve(step, is_adopted=True)
    return step


def _find_own(recorded: RecordedTool | None, view: PlatformView) -> PlatformTool | None:
    return next((tool for tool in view.tools if recorded and tool.id == recorded.id), None)


def _plan_agents(
    conversations: Mapping[str, ConversationConfig],
    view: PlatformView,
    usable: Collection[str],
    known: Mapping[str, str],
    gone: list[ToolStep],
) -> Iterator[AgentStep]:
    """Yield a step for each agent that lacks something, or has a tool that is to go."""
    seen: list[PlatformAgent] = []
    for settings in conversations.values():
        agent = view.find_agent(settings.agent_id, settings.branch_id)
        if agent is None or agent in seen:
            continue
        seen.append(agent)
        sharing = [each for each in conversations.values() if _is_of(each, agent)]
        lacking = [event for each in sharing for event in find_lacking_events(each, agent)]
        step = AgentStep(
            agent,
            tuple(tool.name for tool in view.list_attached(agent)),
            tuple(name for name in usable if known.get(name) not in agent.all_tool_ids),
            tuple(each.name for each in gone if each.tool and each.tool.id in agent.tool_ids),
            tuple(dict.fromkeys(lacking)),
        )
        if step.attach or step.detach or step.events:
            yield step


def _is_of(settings: ConversationConfig, agent: PlatformAgent) -> bool:
    return (settings.agent_id, settings.branch_id) == (agent.id, agent.branch_id)
