"""How a conversation starts: what the user's initiation asks for, held against what the agent allows. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from attrs import evolve, field, frozen

from convaid.protocol.to_agent import ConversationInitiationClientData
from convaid.simulator.scenario import Agent, Fail, Refuse

__all__ = ["Terms", "find_placeholders", "list_overrides", "settle_terms"]

PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")

EFFECTIVE = {
    "agent.first_message": ("first_message", str),
    "agent.prompt.prompt": ("prompt", str),
    "agent.language": ("language", str),
    "agent.max_conversation_duration_message": ("max_duration_message", str),
    "conversation.text_only": ("text_only", bool),
    "conversation.client_events": ("client_events", list),
    "conversation.max_duration_seconds": ("max_duration", int),
    "turn.soft_timeout_config.message": ("soft_timeout_message", str),
}
"""The overrides that change what is simulated, the setting that each changes, and its type; others are only taken."""
TYPE_NAMES = {str: "a string", bool: "a boolean", int: "an integer", list: "a list"}

GATED = {
    "custom_llm_extra_body": "custom_llm_extra_body",
    "starting_workflow_node_id": "starting_workflow_node_id",
    "procedure_ids": "procedure_ids",
    "start_procedure_ids": "procedure_ids",
}
"""Fields of the initiation that need a permission, and its name."""

# As the platform's REST document lists them (ConversationInitiationSource).
SOURCES = """
    unknown android_sdk node_js_sdk react_native_sdk react_sdk js_sdk python_sdk widget sip_trunk twilio exotel genesys
    avaya audiocodes swift_sdk whatsapp twilio_sms flutter_sdk zendesk_integration slack_integration
    telegram_integration intercom_integration freshdesk_integration salesforce_integration template_preview
    genesys_bot_connector subagent_tool
"""


@frozen
class Terms:
    """What holds for one conversation: the agent with the overrides, and the dynamic variables.

    These may change while it lasts, as tools' results set some.
    """

    agent: Agent
    variables: dict[str, Any] = field(factory=dict)

    @property
    def is_text_only(self) -> bool:
        return self.agent.text_only

    @property
    def first_message(self) -> str:
        return self.agent.first_message

    def fill_in(self, text: str) -> str:
        """Put dynamic variables in the place of their names; an unknown name stays as it is."""
        return PLACEHOLDER.sub(lambda found: str(self.variables.get(found[1], found[0])), text)


def settle_terms(
    agent: Agent, initiation: ConversationInitiationClientData | None, required_in_tools: Set[str] = frozenset()
) -> Terms | Fail | Refuse:
    """Return what holds for the conversation, or how the platform would end it: 1008, or 3000, in its own words."""
    initiation = initiation or ConversationInitiationClientData()
    if agent.branches and initiation.branch_id not in (None, *agent.branches):
        return Refuse(reason="Request error")  # which has been seen with a branch that there was not
    if failure := _find_gated(agent, initiation):
        return failure
    wanted = initiation.conversation_config_override or {}
    overrides = dict(list_overrides(wanted))
    overrides.pop("text_only", None)  # where the official Python SDK puts it; the platform takes it without permission
    for path in sorted(overrides.keys() - set(agent.allowed_overrides)):
        return refuse_override(path.rpartition(".")[2])
    changes: dict[str, Any] = {}
    for path, (setting, kind) in EFFECTIVE.items():
        if path in overrides:
            if type(overrides[path]) is not kind:
                name = path.rpartition(".")[2]
                return Fail(1008, "value_error", f"Override for field '{name}' is not {TYPE_NAMES[kind]}.")
            changes[setting] = overrides[path]
    if not isinstance(wanted.get("text_only"), bool | None):
        return Fail(1008, "value_error", "Override for field 'text_only' is not a boolean.")
    if wanted.get("text_only") is True:
        changes["text_only"] = True
    if "soft_timeout_message" in changes:
        changes["silences"] = evolve(agent.silences, soft_timeout_message=changes.pop("soft_timeout_message"))
    try:
        agent = evolve(agent, **changes)
    except ValueError as error:
        return Fail(1008, "value_error", f"Override: {error}")
    variables = {**agent.dynamic_variables, **(initiation.dynamic_variables or {})}
    required = {*agent.required_dynamic_variables, *find_placeholders(f"{agent.first_message} {agent.prompt}")}
    for place, names in (("first message", required), ("tools", required_in_tools)):
        if missing := sorted(names - variables.keys()):
            listed = ", ".join(repr(name) for name in missing)
            message = f"Missing required dynamic variables in {place}: {{{listed}}}"
            return Fail(1008, "missing_dynamic_variable", message)
    return Terms(agent, variables)


def _find_gated(agent: Agent, initiation: ConversationInitiationClientData) -> Fail | None:
    """What the initiation asks for beside overrides, and may not."""
    for name, permission in GATED.items():
        if getattr(initiation, name) and permission not in agent.allowed_overrides:  # the Python SDK sends an empty one
            return refuse_override(name)
    source = (initiation.source_info or {}).get("source") or "unknown"
    if source not in SOURCES.split() and not agent.guesses.any_source:
        return Fail(1008, "value_error", f"Source {source!r} is not known.")
    return None


def refuse_override(name: str) -> Fail:
    return Fail(1008, "override_error", f"Override for field '{name}' is not allowed by config.")


def find_placeholders(text: str) -> list[str]:
    """The dynamic variables that a text needs; those of the platform's own are always there."""
    return [name for name in PLACEHOLDER.findall(text) if not name.startswith("system__")]


def list_overrides(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every single field that is overridden, by its path; a table without fields overrides nothing."""
    waiting: list[tuple[str, Any]] = [(path + name, value) for name, value in table.items()]
    while waiting:  # not by recursion: a peer decides how deep it is
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{name}.{inner}", content) for inner, content in value.items()]
        else:
            yield name, value
