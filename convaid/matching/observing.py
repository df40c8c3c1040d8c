"""Looking at the platform: once for a command, and once when the daemon starts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from urllib.parse import urlsplit

import trio
from attrs import Factory, frozen

from convaid.config import Configuration, ConversationConfig, Secret
from convaid.config.checks import is_loopback
from convaid.errors import ConfigurationError, LinkError, LinkRefused, Problem
from convaid.matching.findings import Finding
from convaid.matching.matching import find_findings
from convaid.matching.snapshot import load_snapshot
from convaid.matching.view import PlatformAgent, PlatformView, find_response_timeouts, list_tools
from convaid.plugins import Plugins
from convaid.rest import Workspace, open_workspace

__all__ = ["Match", "fetch_view", "match_at_start"]

log = logging.getLogger(__name__)

PATIENCE = 20.0  # seconds for the platform to answer at the start; then it is left at that

NO_SUCH_AGENT = 404


@frozen
class Match:
    """How the tools offered here fit the platform."""

    findings: tuple[Finding, ...] = ()
    response_timeouts: dict[str, dict[str, float | None]] = Factory(dict)
    """By conversation: what `find_response_timeouts` says of its agent."""


async def fetch_view(workspace: Workspace, conversations: Iterable[ConversationConfig]) -> PlatformView:
    """Read all tools, and the conversations' agents; an agent that does not exist is left out. Raises `LinkError`."""
    tools = await workspace.list_tools()
    agents = []
    for agent_id, branch_id in dict.fromkeys((each.agent_id, each.branch_id) for each in conversations):
        if agent_id:
            try:
                agents.append(PlatformAgent(agent_id, branch_id, await workspace.get_agent(agent_id, branch_id)))
            except LinkRefused as refusal:
                if refusal.status != NO_SUCH_AGENT:
                    raise
    return PlatformView("platform", tuple(tools), tuple(agents))


async def match_at_start(configuration: Configuration, plugins: Plugins, api_key: Secret | None) -> Match:
    """Hold the tools offered here against the platform, or against the snapshot where it is out of reach.

    Returns within `PATIENCE` seconds, with nothing where there is nothing to look at: no key, no snapshot, and no
    simulator that remembers. Each finding is a warning in the log, each note a line of information. Raises
    `ConfigurationError` with the findings where ``strict`` in ``[tools]`` is set and there are any.
    """
    tools, platform = configuration.tools, configuration.platform
    view = None
    file = platform.simulator_file  # before the first push there is none, and what every tool lacks is known
    remembers = file is not None and (file.exists() or tools.strict)
    is_simulated = remembers and is_loopback(urlsplit(platform.rest_url).hostname or "")
    if api_key is not None or is_simulated:  # the simulator asks for no key
        view = await _look(configuration, api_key)
    if view is None and tools.snapshot is not None:
        view = _read_snapshot(configuration)
    if view is None:
        return Match()
    findings = find_findings(list_tools(plugins, tools), configuration.conversations, view)
    serious = [finding for finding in findings if not finding.is_note]
    if serious and tools.strict:
        problems = [Problem("tools.strict", str(finding)) for finding in serious]
        raise ConfigurationError("the platform", problems)
    for finding in findings:
        log.log(logging.INFO if finding.is_note else logging.WARNING, "%s", finding)
    return Match(
        tuple(findings),
        {
            name: find_response_timeouts(view, settings.agent_id, settings.branch_id)
            for name, settings in configuration.conversations.items()
        },
    )


async def _look(configuration: Configuration, api_key: Secret | None) -> PlatformView | None:
    """Read the platform's side; None, and a warning, where that does not come about in time."""
    try:
        with trio.fail_after(PATIENCE):
            async with open_workspace(configuration.platform.rest_url, api_key) as workspace:
                return await fetch_view(workspace, configuration.conversations.values())
    except trio.TooSlowError:
        log.warning("the tools were not held against the platform: it did not answer in %g s", PATIENCE)
    except LinkError as error:
        log.warning("the tools were not held against the platform: %s", error)
    return None


def _read_snapshot(configuration: Configuration) -> PlatformView | None:
    """Read the snapshot; a file that is none is fatal where findings are."""
    assert configuration.tools.snapshot is not None
    try:
        return load_snapshot(configuration.tools.snapshot)
    except ConfigurationError as error:
        if configuration.tools.strict:
            raise
        log.warning("%s", error)
        return None
