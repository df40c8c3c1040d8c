"""What a conversation of the configuration wants of its agent, and what the agent lacks or refuses (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from convaid.config import ConversationConfig
from convaid.matching.findings import Finding
from convaid.matching.view import PlatformAgent, PlatformView, look_up
from convaid.protocol.codec import encode
from convaid.session.initiation import build_initiation

__all__ = ["compare_agent", "find_lacking_events", "find_variables"]

NEEDED_EVENTS = (
    "conversation_initiation_metadata",
    "ping",
    "client_tool_call",
    "user_transcript",
    "agent_response",
    "agent_response_correction",
)
"""What convaid needs an agent to send in any conversation."""
VOICE_EVENTS = ("audio",)
"""What it needs in speech, too. Not ``interruption``: an owner leaves it out to make the agent uninterruptible."""

FLAGS = {
    "custom_llm_extra_body": "custom_llm_extra_body",
    "starting_workflow_node_id": "enable_starting_workflow_node_id_from_client",
    "procedure_ids": "enable_procedure_ids_from_client",
    "start_procedure_ids": "enable_procedure_ids_from_client",
}
"""Fields of the first frame beside the overrides that need the agent owner's permission, and its name."""

PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
OWN_VARIABLES = "system__"  # what the platform itself has values for begins so


def compare_agent(
    name: str, settings: ConversationConfig, agent: PlatformAgent, view: PlatformView, update: str
) -> Iterator[Finding]:
    """Yield the findings on one conversation and its agent; ``update`` is the command that completes its events."""
    where = (name,)
    if lacking := find_lacking_events(settings, agent):
        yield Finding(
            "client_events",
            f"its agent does not send {', '.join(lacking)}",
            f"{update}; or dashboard, agent, Advanced, Client Events",
            conversations=where,
        )
    if settings.sound is not None and "interruption" not in agent.client_events:
        yield Finding(
            "client_events",
            "its agent does not send interruption, so that nobody can interrupt it",
            "if that is not meant: dashboard, agent, Advanced, Client Events",
            conversations=where,
            is_note=True,
        )
    frame = orjson.loads(encode(build_initiation(settings), settings.initiation))
    for path, place in find_refused(frame, agent):
        yield Finding(
            "override_refused",
            f"its agent does not allow {path} to be overridden",
            f"allow it on the dashboard (agent, Security, Overrides), or remove it from {place.replace('NAME', name)}",
            place=path,
            conversations=where,
        )
    for variable, user in find_missing_variables(frame, agent, view).items():
        yield Finding(
            "variable_missing",
            f"{user} has {{{{{variable}}}}}, which has no value",
            f"set it in [conversations.{name}.dynamic_variables], or give it a default on the dashboard (agent)",
            place=variable,
            conversations=where,
        )
    if settings.auth == "public" and look_up(agent.body, "platform_settings", "auth", "enable_auth") is True:
        yield Finding(
            "auth_required",
            "its agent is private",
            f'set auth = "signed_url" in [conversations.{name}], or make it public (dashboard, agent, Security)',
            conversations=where,
        )
    if settings.sound is not None and look_up(agent.body, "conversation_config", "conversation", "text_only") is True:
        yield Finding(
            "text_only",
            "it has audio, and its agent converses in text alone",
            f'set audio = "none" in [conversations.{name}], or let the agent speak (dashboard, agent, Advanced)',
            conversations=where,
        )


def find_lacking_events(settings: ConversationConfig, agent: PlatformAgent) -> list[str]:
    """Return the events that convaid needs for a conversation and that its agent does not send."""
    needed = NEEDED_EVENTS if settings.sound is None else (*NEEDED_EVENTS, *VOICE_EVENTS)
    return [event for event in needed if event not in agent.client_events]


def find_refused(frame: Mapping[str, Any], agent: PlatformAgent) -> Iterator[tuple[str, str]]:
    """Yield each field of the first frame that the agent does not allow, and the table that it comes from."""
    allowed = look_up(agent.body, "platform_settings", "overrides")
    overrides = frame.get("conversation_config_override")
    for path in _list_leaves(overrides if isinstance(overrides, Mapping) else {}):
        is_top_level_text_only = path == ("text_only",)  # as the official Python SDK has it; it needs no permission
        if not is_top_level_text_only and look_up(allowed, "conversation_config_override", *path) is not True:
            yield ".".join(path), "[conversations.NAME.overrides] or .initiation"
    for field, permission in FLAGS.items():
        if frame.get(field) and look_up(allowed, permission) is not True:
            yield field, "[conversations.NAME]"


def _list_leaves(table: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from ((name, *path) for path in _list_leaves(value))
        else:
            yield (name,)


def find_missing_variables(frame: Mapping[str, Any], agent: PlatformAgent, view: PlatformView) -> dict[str, str]:
    """Return the dynamic variables that have no value when the conversation begins, and who uses each."""
    overridden = look_up(frame, "conversation_config_override", "agent")
    own = look_up(agent.body, "conversation_config", "agent")
    prompt = look_up(overridden, "prompt", "prompt") or look_up(own, "prompt", "prompt")
    first_message = look_up(overridden, "first_message") or look_up(own, "first_message")
    used: dict[str, str] = {}
    known = {*_list_keys(frame.get("dynamic_variables")), *_list_placeholders(own)}
    for tool in view.list_attached(agent):
        known |= _list_placeholders(tool.config)
        assignments = tool.config.get("assignments")
        for assignment in assignments if isinstance(assignments, list) else ():
            known.add(str(look_up(assignment, "dynamic_variable")))  # it gets its value in the conversation
        used |= dict.fromkeys(find_variables(tool.config), f'the tool "{tool.name}"')
    used |= dict.fromkeys(find_variables(prompt), "the agent's prompt")
    used |= dict.fromkeys(find_variables(first_message), "the first message")
    return {name: user for name, user in used.items() if name not in known and not name.startswith(OWN_VARIABLES)}


def _list_placeholders(config: object) -> set[str]:
    """Return the variables that have a default in an agent's or a tool's configuration."""
    return _list_keys(look_up(config, "dynamic_variables", "dynamic_variable_placeholders"))


def _list_keys(table: object) -> set[str]:
    return {*table} if isinstance(table, Mapping) else set()


def find_variables(config: object) -> Iterator[str]:
    """Yield the dynamic variables that a text, or a tool's configuration, uses."""
    waiting = [config]
    while waiting:  # not by recursion: the platform decides how deep it is
        value = waiting.pop()
        if isinstance(value, str):
            yield from PLACEHOLDER.findall(value)
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, Mapping):
            if isinstance(variable := value.get("dynamic_variable"), str) and variable and "value_path" not in value:
                yield variable
            waiting.extend(inner for key, inner in value.items() if key != "dynamic_variables")
