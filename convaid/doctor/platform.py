"""What the platform says: the API key and what it may do, the agents, the tools, the signed URLs (floor 6)."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import Literal

import attrs
import trio

from convaid.config import REGIONS, ConversationConfig, Secret
from convaid.config.api_key import KeptSecret, describe_places, locate_api_key
from convaid.doctor.findings import Finding, error, ok, warning
from convaid.doctor.subject import Subject
from convaid.errors import ConfigurationError, LinkError, LinkRefused
from convaid.matching import findings as matching
from convaid.matching.matching import find_findings
from convaid.matching.observing import fetch_view
from convaid.matching.view import OfferedTool, PlatformView, list_tools, look_up
from convaid.protocol.endings import classify_refusal
from convaid.rest import (
    Workspace,
    fetch_signed_url,
    make_agent_query,
    make_authorization,
    mint_signed_url,
    open_workspace,
)

__all__ = ["check_platform"]

NO_AGENT = "agent_that_convaid_doctor_asks_for_in_vain"
"""Changing nothing of an agent that is not there says whether the key may change agents, and changes nothing."""
KEYS = "dashboard: Developers, API Keys"
OTHERS_MAY = stat.S_IWGRP | stat.S_IRWXO  # a group that reads may be meant so

CHECKS: dict[matching.Kind, str] = {
    "agent_missing": "agent",
    "auth_required": "agent",
    "client_events": "agent",
    "text_only": "agent",
    "override_refused": "overrides",
    "variable_missing": "variables",
}
"""What the kinds of findings on agents are about; all the others are about tools."""


async def check_platform(subject: Subject) -> list[Finding]:
    """Ask the platform, with the key if there is one."""
    try:
        found = locate_api_key(subject.configuration.platform, subject.environ)
    except ConfigurationError as fault:
        fix = "put the API key there, and nothing else"
        return [error("key", str(fault), fix), *await check_signed_urls(subject, None)]
    findings = list(find_about_place(subject, found))
    key = found.secret if found else None
    if key is not None or (subject.is_simulated and all(finding.level == "ok" for finding in findings)):
        findings += await ask_platform(subject, found)
    return [*findings, *await check_signed_urls(subject, key)]


def find_about_place(subject: Subject, found: KeptSecret | None) -> Iterator[Finding]:
    """Where the key is, and who else can read it there."""
    needing = [name for name, settings in subject.configuration.conversations.items() if settings.needs_api_key]
    if found is None:
        places = describe_places(subject.configuration.platform)
        if needing:
            yield error("key", f"there is no API key, and {', '.join(needing)} cannot do without", places)
        elif subject.is_simulated:
            yield ok("key", "there is no API key, and the simulator needs none")
        else:
            yield warning("key", "there is no API key, so agents and tools are not looked at", places)
    elif found.file is not None and (mode := found.file.stat().st_mode) & OTHERS_MAY:
        words = f"{found.file} is open to others ({stat.filemode(mode)[1:]})"
        yield warning("key", words, f"chmod o-rwx,g-w {found.file}")


async def ask_platform(subject: Subject, found: KeptSecret | None) -> list[Finding]:
    """Look at the key, the agents and the tools."""
    conversations = subject.configuration.conversations
    async with open_workspace(subject.url, found.secret if found else None) as workspace:
        try:
            view = await fetch_view(workspace, conversations.values())
        except LinkRefused as refusal:
            return [await explain_refusal(subject, found, refusal)]
        except LinkError as fault:
            fix = "see what is said of the network, tls and the clock"
            return [error("agent", f"nothing is known of key, agents and tools: {fault}", fix)]
        about_key = [await find_rights(workspace, found.place)] if found else []
    return [*about_key, *compare(subject, view)]


async def explain_refusal(subject: Subject, found: KeptSecret | None, refusal: LinkRefused) -> Finding:
    """Say what is wrong with the key, or what else the platform has against us."""
    place = f"the key in {found.place}" if found else "a request without a key"
    if lacks_permission(refusal):
        words = f"{place} may not read agents (convai_read): {refusal.detail}"
        return error("key", words, f"allow it to read agents ({KEYS}); to let `convaid tools push` work, to write them")
    if refusal.status != 401:
        words, _, fix = refusal.detail.rpartition("; ")
        return error("agent", words or fix, fix if words else "try again in a minute")
    words = f"the platform does not take {place}: {refusal.detail}"
    fix = f"set a key of this workspace ({KEYS}) and of this region (base_url in [platform])"
    regions = [name for name, url in REGIONS.items() if url != subject.url]
    if found is None or subject.url not in REGIONS.values():
        return error("key", words, fix)
    if not subject.asks_all_regions:
        fix += (
            "; `convaid doctor --ask-all-regions` shows it to the platform's other hosts, and says which one takes it"
        )
        return error("key", words, fix)
    if taking := await find_regions(regions, found.secret):
        words = f"{place} is not of this region, but of another: {' or '.join(taking)}"
        return error("key", words, f'set base_url = "{taking[0]}" in [platform]')
    return error("key", f"{words}; nor does any other region", f"set a new key ({KEYS})")


async def find_regions(names: list[str], key: Secret) -> list[str]:
    """Return the regions that take the key. Shows it to the platform's hosts there."""
    taking = []

    async def ask(name: str) -> None:
        try:
            async with open_workspace(REGIONS[name], key) as workspace:
                await workspace.get_agent(NO_AGENT)
        except LinkRefused as refusal:
            if refusal.status == 404 or lacks_permission(refusal):
                taking.append(name)
        except LinkError:
            return

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(ask, name)
    return sorted(taking, key=names.index)


async def find_rights(workspace: Workspace, place: str) -> Finding:
    """Say what a key may do that may read."""
    may_write: Literal["and change", "but not change", "and perhaps change"] = "and perhaps change"
    try:
        await workspace.update_agent(NO_AGENT, {})
    except LinkRefused as refusal:
        if lacks_permission(refusal):
            may_write = "but not change"
        elif refusal.status == 404:
            may_write = "and change"
    except LinkError:
        pass
    words = f"the platform takes the key in {place}; it may read {may_write} agents and tools"
    return ok("key", words + (": `convaid tools push` needs another" if may_write == "but not change" else ""))


def lacks_permission(refusal: LinkRefused) -> bool:
    """Whether the key is good, and may not do this: the platform says so in its words."""
    return refusal.status in (401, 403) and "permission" in refusal.detail


def compare(subject: Subject, view: PlatformView) -> Iterator[Finding]:
    """Hold conversations and tools against what the platform has."""
    configuration, offered = subject.configuration, find_offered(subject)
    found = find_findings(offered or {}, configuration.conversations, view, subject.owned)
    if offered is None:  # what it has not been told, `convaid tools push` tells
        found = [each for each in found if not each.tool and each.kind != "client_events"]
    told: dict[str, list[Finding]] = {"agent": [], "overrides": [], "variables": [], "tools": []}
    for each in found:
        check = CHECKS.get(each.kind, "tools")
        told[check].append(translate(each, check))
    for name, settings in configuration.conversations.items():
        agent = view.find_agent(settings.agent_id, settings.branch_id)
        if agent is not None and not any(
            name in each.conversations and CHECKS.get(each.kind) == "agent" for each in found
        ):
            is_private = look_up(agent.body, "platform_settings", "auth", "enable_auth") is True
            told["agent"].append(describe_agent(name, settings, is_private))
    told["overrides"] = told["overrides"] or [ok("overrides", "the agents allow everything that is overridden")]
    told["variables"] = told["variables"] or [ok("variables", "every dynamic variable has a value")]
    if offered is None:
        told["tools"] = [ok("tools", "the simulator has no tools yet: there is nothing to hold those here against")]
    elif not told["tools"]:
        told["tools"] = [ok("tools", f"those here ({len(offered)}) and those of the agents fit")]
    for findings in told.values():
        yield from findings


def find_offered(subject: Subject) -> dict[str, OfferedTool] | None:
    """The tools to hold against the platform; None for a simulator that was never told any: it would lack them all."""
    file = subject.configuration.platform.simulator_file
    if subject.is_bundled and not (file and file.exists()):
        return None
    return list_tools(subject.plugins, subject.configuration.tools)


def translate(found: matching.Finding, check: str) -> Finding:
    """A finding of `convaid tools check` as one of ours."""
    told = attrs.evolve(found, conversations=()) if found.tool else found
    words = str(told).removesuffix(f"; {found.remedy}")
    return (warning if found.is_note else error)(check, words, found.remedy)


def describe_agent(name: str, settings: ConversationConfig, is_private: bool) -> Finding:
    """Say who may talk to an agent, and whether that is what is meant."""
    if settings.auth == "public":
        return ok("agent", "its agent is there, and public", name)
    if is_private:
        return ok("agent", f'its agent is there, and private, as auth = "{settings.auth}" has it', name)
    words = f'its agent is public, for all that auth is "{settings.auth}": whoever knows its id can talk to it'
    return warning("agent", words, "make it private (dashboard, agent, Security)", name)


async def check_signed_urls(subject: Subject, key: Secret | None) -> list[Finding]:
    """Have a signed URL made for each conversation that begins by one; none of them is used."""
    found: dict[str, Finding] = {}

    async def ask(name: str, settings: ConversationConfig) -> None:
        limit = settings.limits.connect
        try:
            if settings.auth == "signed_url_from":
                headers = make_authorization(settings.signed_url_secret_env)
                await fetch_signed_url(settings.signed_url_from, headers=headers, time_limit=limit)
            elif key is not None:
                await mint_signed_url(subject.url, key.reveal(), make_agent_query(settings), time_limit=limit)
            else:
                return
        except LinkRefused as refusal:
            if settings.auth == "signed_url_from":
                fix = f"look at signed_url_from, signed_url_secret_env in [conversations.{name}], and that server's log"
            else:
                fix = classify_refusal(refusal.status, refusal.detail).remedy.replace("NAME", name)
            found[name] = error("signed URL", f"there is none: {refusal}", fix, name)
        except LinkError as fault:
            fix = "look at signed_url_from, and whether its server runs" if settings.signed_url_from else "try again"
            found[name] = error("signed URL", str(fault), fix, name)
        else:
            found[name] = ok("signed URL", "one was made", name)

    conversations = subject.configuration.conversations
    async with trio.open_nursery() as nursery:
        for name, settings in conversations.items():
            if settings.auth in ("signed_url", "signed_url_from"):
                nursery.start_soon(ask, name, settings)
    return [found[name] for name in conversations if name in found]
