"""Carrying out what was planned, step by step, and reading back what the platform made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from convaid.errors import ConfigurationError, LinkError, LinkRefused
from convaid.matching.merging import find_changes, merge_config, tidy_config
from convaid.matching.plan import AgentStep, Plan, ToolStep
from convaid.matching.record import PushRecord, RecordedTool
from convaid.matching.view import PlatformAgent
from convaid.rest import PlatformTool, Workspace

__all__ = ["PushFailed", "push_plan"]

Tell = Callable[[str], None]


class PushFailed(LinkError):
    """The platform stopped us half-way: what was told before is done and recorded, everything else is not."""


async def push_plan(plan: Plan, workspace: Workspace, record: PushRecord, tell: Tell) -> list[str]:
    """Do what is planned, telling each step when it is done, and return what the platform did not keep, a line each.

    Raises `PushFailed` at the first step that fails, and `ConfigurationError` before the first one if the record cannot
    be written. To go on after either, plan anew: what is done is not planned again.
    """
    record.save()  # so that no tool is created that we could not remember
    ids = dict(plan.known)
    odd: list[str] = []
    for step in plan.steps:
        try:
            if isinstance(step, AgentStep):
                odd += await _push_agent(step, ids, workspace)
                tell(f"{step}: {_describe(step)}")
            elif step.config is None:
                tell(await _delete_tool(step, workspace, record))
            else:
                stored, faults = await _push_tool(step, step.config, workspace, record)
                ids[step.name] = stored.id
                odd += faults
                word = "created" if step.tool is None else "adopted" if step.is_adopted else "updated"
                tell(f"{step.name}: {word} ({stored.id})")
        except (LinkError, ConfigurationError) as error:
            raise PushFailed(f"stopped at the {step}: {error} (what was done stays; push again to go on)") from error
    return odd


async def _push_tool(
    step: ToolStep, config: Any, workspace: Workspace, record: PushRecord
) -> tuple[PlatformTool, list[str]]:
    """Create or change a tool; return it as it is now, and what the platform did not keep."""
    if step.tool is None:
        wanted = config
        record.tools[step.name] = RecordedTool("", "created")  # should we never hear what became of it
        record.save()
        tool_id = (await workspace.create_tool(wanted)).id
        record.tools[step.name] = RecordedTool(tool_id, "created")
        record.save()
    else:
        if step.is_adopted:
            record.tools[step.name] = RecordedTool(step.tool.id, "adopted")
            record.save()
        current = await workspace.get_tool(step.tool.id)
        tool_id, wanted = current.id, merge_config(config, current.config)
        if tidy_config(wanted) != tidy_config(current.config):
            await workspace.update_tool(PlatformTool(tool_id, wanted, current.mocks))
    stored = await workspace.get_tool(tool_id)
    changes = find_changes(tidy_config(wanted), tidy_config(stored.config))
    return stored, [f"{step.name}: {change}" for change in changes]


async def _push_agent(step: AgentStep, ids: dict[str, str], workspace: Workspace) -> list[str]:
    """Change an agent; return what the platform did not keep."""
    agent_id, branch_id = step.agent.id, step.agent.branch_id
    current = PlatformAgent(agent_id, branch_id, await workspace.get_agent(agent_id, branch_id))
    removed = {ids[name] for name in step.detach}
    added = [ids[name] for name in step.attach]
    # Both are replaced whole, so they go with what somebody else may have added since.
    tool_ids = list(dict.fromkeys([*(each for each in current.tool_ids if each not in removed), *added]))
    events = list(dict.fromkeys([*current.client_events, *step.events]))
    changes: dict[str, Any] = {}
    if tool_ids != current.tool_ids:
        changes["agent"] = {"prompt": {"tool_ids": tool_ids}}
    if events != current.client_events:
        changes["conversation"] = {"client_events": events}
    if changes:
        await workspace.update_agent(agent_id, {"conversation_config": changes}, branch_id)
        current = PlatformAgent(agent_id, branch_id, await workspace.get_agent(agent_id, branch_id))
    return [f"agent {agent_id}: {fault}" for fault in _find_faults(current, tool_ids, events)]


def _find_faults(agent: PlatformAgent, tool_ids: list[str], events: list[str]) -> Iterator[str]:
    if lacking := set(tool_ids) - set(agent.tool_ids):
        yield f"did not get {', '.join(sorted(lacking))}"
    if lacking := set(events) - set(agent.client_events):
        yield f"does not send {', '.join(sorted(lacking))}"


async def _delete_tool(step: ToolStep, workspace: Workspace, record: PushRecord) -> str:
    """Delete a tool, unless somebody still uses it; return what became of it."""
    assert step.tool is not None
    if users := await workspace.list_dependent_agents(step.tool.id):
        return (
            f"{step.name}: not deleted, as it is used by {', '.join(user or 'an agent out of sight' for user in users)}"
        )
    try:
        await workspace.delete_tool(step.tool.id)
    except LinkRefused as error:
        if error.status != 404:  # somebody was faster
            raise
    del record.tools[step.name]
    record.save()
    return f"{step.name}: deleted ({step.tool.id})"


def _describe(step: AgentStep) -> str:
    parts = (("given", step.attach), ("taken from it", step.detach), ("sends now, too", step.events))
    return "; ".join(f"{words}: {', '.join(names)}" for words, names in parts if names)
