"""How a conversation starts: what the user's initiation asks for, held against what the agent allows. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from convaid.protocol.to_agent import ConversationInitiationClientData
from convaid.simulator.scenario import Agent, Fail

__all__ = ["Terms", "find_placeholders", "list_overrides", "settle_terms"]

PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@frozen
class Terms:
    """What holds for one conversation."""

    is_text_only: bool
    first_message: str
    variables: Mapping[str, Any]

    def fill_in(self, text: str) -> str:
        """Put dynamic variables in the place of their names; an unknown name stays as it is."""
        return PLACEHOLDER.sub(lambda found: str(self.variables.get(found[1], found[0])), text)


def settle_terms(agent: Agent, initiation: ConversationInitiationClientData | None) -> Terms | Fail:
    """Return what holds for the conversation, or how the platform would end it: 1008 in its own words."""
    wanted = (initiation and initiation.conversation_config_override) or {}
    overrides = dict(list_overrides(wanted))
    overrides.pop("text_only", None)  # where the official Python SDK puts it; the platform takes it without permission
    for path in overrides.keys() - set(agent.allowed_overrides):
        name = path.rpartition(".")[2]
        return Fail(1008, "override_error", f"Override for field '{name}' is not allowed by config.")
    first_message = overrides.get("agent.first_message", agent.first_message)
    if not isinstance(first_message, str):
        return Fail(1008, "value_error", "Override for field 'first_message' is not a string.")
    variables = {**agent.dynamic_variables, **((initiation and initiation.dynamic_variables) or {})}
    required = {*agent.required_dynamic_variables, *find_placeholders(first_message)}
    if missing := sorted(required - variables.keys()):
        names = ", ".join(repr(name) for name in missing)
        message = f"Missing required dynamic variables in first message: {{{names}}}"
        return Fail(1008, "missing_dynamic_variable", message)
    is_text_only = agent.text_only or True in (wanted.get("text_only"), overrides.get("conversation.text_only"))
    return Terms(is_text_only, first_message, variables)


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
