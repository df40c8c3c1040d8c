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
MOST_IDS = 5  # that a finding names


def find_findings(
    offered: Mapping[str, OfferedTool],
    conversations: Mapping[str, ConversationConfig],
    view: PlatformView,
    owned: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Return all findings, and after them the notes.

    ``owned`` are the ids of the platform's tools that `convaid tools push` changes without being told to adopt them, by
    their names here; None: that is not known.
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
    offered: Mapping[str, OfferedTool],
    agent: PlatformAgent | None,
    view: PlatformView,
    owned: Mapping[str, str] | None,
) -> Iterator[Finding]:
    """Yield the findings on the tools of an agent; None: of the workspace, as nothing is known of the agent."""
    attached = {tool.id for tool in view.list_attached(agent)} if agent else None
    own_ids = None if owned is None else {*owned.values()}
    twins: set[str] = set()  # the names, on the platform, of tools that are called otherwise here
    for name, tool in offered.items():
        named = [each for each in view.tools if each.name == name and each.is_client_tool]
        if named:
            yield from _match_tool(tool, named, attached, view, own_ids)
        elif twin := _find_twin(name, view, attached, owned or {}):
            twins.add(twin.name)
            yield _describe_twin(name, twin, own_ids or ())
        else:
            yield _describe_missing(name, view)
    if agent is None:
        return
    for each in view.list_attached(agent):
        if each.is_client_tool and each.name not in offered and each.name not in twins:
            found = nearest(each.name, offered)
            hint = f' (there is "{found[0]}")' if found else ""
            removal = f"{PUSH[:-1]} --prune`" if own_ids and each.id in own_ids else "dashboard, agent, Tools"
            yield Finding(
                "missing_here",
                f"the agent has it, and nobody here offers it{hint}: every call fails",
                "install its plugin, or enable plugin and tool (`convaid plugins`, [tools] in the configuration); "
                f"or take it from the agent: {removal}",
                each.name,
            )
    if unseen := set(agent.tool_ids) - {tool.id for tool in view.tools}:
        few = sorted(unseen)[:MOST_IDS]
        ids = ", ".join(few) + (f" and {len(unseen) - MOST_IDS} more" if len(unseen) > MOST_IDS else "")
        remedy = "`elevenlabs tools pull --all`" if view.source == "folder" else "dashboard, agent, Tools"
        yield Finding("tool_unseen", f"its agent has tools that were not found: {ids}", remedy, is_note=True)


def _match_tool(
    tool: OfferedTool,
    named: list[PlatformTool],
    attached: Collection[str] | None,
    view: PlatformView,
    own_ids: Collection[str] | None,
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
    if view.source != "folder" and own_ids is not None and best.id not in own_ids:
        update = f"{PUSH[:-1]} --adopt {tool.name}`"
    if not usable:
        giving = PUSH if view.source == "folder" else update  # an export leaves agents alone
        message, remedy = "the agent does not have this tool", f"{giving}; or dashboard, agent, Tools"
        yield Finding("not_attached", message, remedy, tool.name)
    if not is_ambiguous:
        yield from compare_tool(tool, best.config, update)


def _find_twin(
    name: str, view: PlatformView, attached: Collection[str] | None, owned: Mapping[str, str]
) -> PlatformTool | None:
    """Return what became of a tool of ours on the platform, or what differs from it in case alone."""
    own_id = owned.get(name)
    client_tools = [tool for tool in view.tools if tool.is_client_tool]
    twins = [tool for tool in client_tools if tool.name.lower() == name.lower() or tool.id == own_id]
    twins.sort(key=lambda tool: (tool.id != own_id, tool.id not in (attached or ())))
    return twins[0] if twins else None


def _describe_twin(name: str, twin: PlatformTool, own_ids: Collection[str]) -> Finding:
    """Say that the platform has a tool under another name."""
    there, place = twin.name, f"dashboard, Tools, {twin.name}"
    is_case = there.lower() == name.lower()
    return Finding(
        "name_case" if is_case else "missing_on_platform",
        f'is called "{there}" on the platform' + ("; upper and lower case count" if is_case else ""),
        f"{PUSH}; or {place}" if twin.id in own_ids else f'rename one of the two: @tool(name="{there}"), or {place}',
        name,
    )


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
