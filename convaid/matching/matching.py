"""Everything in which the tools offered here and the platform do not fit (pure)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import attrs

from convaid.config import ConversationConfig
from convaid.matching.agents import compare_agent
from convaid.matching.findings import Finding, merge_findings
from convaid.matching.tools import compare_tool
from convaid.matching.view import OfferedTool, PlatformAgent, PlatformView
from convaid.rest import PlatformTool
from convaid.wording import nearest

__all__ = ["PUSH", "find_findings"]

PUSH = "`convaid tools push`"
EXPORT = "`convaid tools export` into the folder"


def find_findings(
    offered: Mapping[str, OfferedTool],
    conversations: Mapping[str, ConversationConfig],
    view: PlatformView,
    owned: Collection[str] | None = None,
) -> list[Finding]:
    """Return all findings, and after them the notes.

    ``owned`` are the ids of the platform's tools that `convaid tools push` changes without being told to adopt them;
    None: that is not known.
    """
    findings: list[Finding] = []
    for name, settings in conversations.items():
        agent = view.find_agent(settings.agent_id, settings.branch_id)
        if agent is None:
            missing = _describe_missing_agent(name, settings, view)
            findings.append(missing)
            if not missing.is_note:
                continue
        about_tools = _match_tools(offered, agent, view, owned)
        findings += (attrs.evolve(finding, conversations=(name,)) for finding in about_tools)
        if agent is not None:
            findings += compare_agent(name, settings, agent, view, PUSH)
    return merge_findings(findings)


def _describe_missing_agent(name: str, settings: ConversationConfig, view: PlatformView) -> Finding:
    """Say that an agent was not seen; as a note where nobody can know better."""
    agent = settings.agent_id + (f" on the branch {settings.branch_id}" if settings.branch_id else "")
    is_note = False
    if not settings.agent_id:
        message = "only the server that signs its URLs knows its agent, so the agent itself is not checked"
        remedy, is_note = f"to have it checked, set agent_id in [conversations.{name}]", True
    elif view.source == "platform":
        message = f"there is no agent {agent}"
        remedy = f"compare agent_id and branch_id in [conversations.{name}] with the dashboard"
    elif view.source == "snapshot":
        message, remedy = f"the snapshot does not have the agent {agent}", "take a new one: `convaid tools snapshot`"
    else:
        message = f"the folder does not have the agent {agent}, so the agent itself is not checked"
        remedy, is_note = f"to have it checked: `elevenlabs agents pull --agent {settings.agent_id}`", True
    return Finding("agent_missing", message, remedy, conversations=(name,), is_note=is_note)


def _match_tools(
    offered: Mapping[str, OfferedTool], agent: PlatformAgent | None, view: PlatformView, owned: Collection[str] | None
) -> Iterator[Finding]:
    """Yield the findings on the tools of an agent; None: of the workspace, as nothing is known of the agent."""
    attached = {tool.id for tool in view.list_attached(agent)} if agent else None
    twins: set[str] = set()  # of the platform's tools, those that differ from one of ours in case only
    for name, tool in offered.items():
        named = [each for each in view.tools if each.name == name and each.is_client_tool]
        if named:
            yield from _match_tool(tool, named, attached, view, owned)
        elif twin := _find_twin(name, view, attached):
            twins.add(twin)
            yield Finding(
                "name_case",
                f'is called "{twin}" on the platform; upper and lower case count',
                f'rename one of the two: @tool(name="{twin}"), or dashboard, Tools, {twin}',
                name,
            )
        else:
            yield _describe_missing(name, view)
    if agent is None:
        return
    for each in view.list_attached(agent):
        if each.is_client_tool and each.name not in offered and each.name not in twins:
            found = nearest(each.name, offered)
            hint = f' (there is "{found[0]}")' if found else ""
            yield Finding(
                "missing_here",
                f"the agent has it, and nobody here offers it{hint}: every call fails",
                "install its plugin, or enable plugin and tool (`convaid plugins`, [tools] in the configuration); "
                "or take it from the agent: dashboard, agent, Tools",
                each.name,
            )
    if unseen := set(agent.tool_ids) - {tool.id for tool in view.tools}:
        ids = ", ".join(sorted(unseen))
        remedy = "`elevenlabs tools pull --all`" if view.source == "folder" else "dashboard, agent, Tools"
        yield Finding("tool_unseen", f"its agent has tools that were not found: {ids}", remedy, is_note=True)


def _match_tool(
    tool: OfferedTool,
    named: list[PlatformTool],
    attached: Collection[str] | None,
    view: PlatformView,
    owned: Collection[str] | None,
) -> Iterator[Finding]:
    """Yield the findings on a tool, of which the platform has one or more of its name."""
    usable = [each for each in named if attached is None or each.id in attached]
    is_ambiguous = len(usable or named) > 1
    if len(named) > 1:
        ids = ", ".join(each.id for each in named)
        yield Finding(
            "duplicate_name",
            f"the platform has {len(named)} tools of this name: {ids}",
            f"delete or rename all but one: dashboard, Tools, {tool.name}",
            tool.name,
            is_note=not is_ambiguous,
        )
    best = (usable or named)[0]
    update = EXPORT if view.source == "folder" else PUSH
    if view.source != "folder" and owned is not None and best.id not in owned:
        update = f"{PUSH[:-1]} --adopt {tool.name}`"
    if not usable:
        message, remedy = "the agent does not have this tool", f"{update}; or dashboard, agent, Tools"
        yield Finding("not_attached", message, remedy, tool.name)
    if not is_ambiguous:
        yield from compare_tool(tool, best.config, update)


def _find_twin(name: str, view: PlatformView, attached: Collection[str] | None) -> str:
    """Return how the platform calls a tool of ours, if it is the case alone that differs; "" if there is none."""
    twins = [tool for tool in view.tools if tool.is_client_tool and tool.name.lower() == name.lower()]
    twins.sort(key=lambda tool: tool.id not in (attached or ()))
    return twins[0].name if twins else ""


def _describe_missing(name: str, view: PlatformView) -> Finding:
    other = next((tool for tool in view.tools if tool.name == name), None)
    if other is not None:
        return Finding(
            "missing_on_platform",
            f"the platform's tool of this name is a {other.config.get('type')} tool, which convaid is not asked for",
            f'rename one of the two: @tool(name="…"), or dashboard, Tools, {name}',
            name,
        )
    update = EXPORT if view.source == "folder" else PUSH
    return Finding("missing_on_platform", "the platform does not have this tool", f"{update} creates it", name)
