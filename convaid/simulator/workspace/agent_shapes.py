"""The shape of an agent as the platform takes it, as far as it matters here; the rest is kept as it came.

`describe_agent` and `read_agent` are the one place where a scenario's agent and the platform's JSON meet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve

from convaid.audio.formats import FORMATS
from convaid.protocol.from_agent import FROM_AGENT
from convaid.simulator.scenario import Agent
from convaid.simulator.starting import find_placeholders, list_overrides
from convaid.simulator.workspace.checks import (
    Fault,
    Faults,
    Place,
    allowed,
    anything,
    choice,
    fields,
    flag,
    listing,
    mapping,
    optional,
    required,
    text,
    whole,
)

__all__ = ["check_agent", "describe_agent", "merge", "read_agent"]

EVENTS = sorted({*FROM_AGENT, "dtmf_request"} - {"error"})  # errors cannot be left out
# What an agent sends that was made without saying so is not documented; these are what the dashboard begins with.
DEFAULT_EVENTS = ["audio", "interruption", "user_transcript", "agent_response", "agent_response_correction"]

audio_format = choice(*(each.name for each in FORMATS))


def merge(old: Any, new: Any) -> Any:
    """What a PATCH makes of a setting: dictionaries field by field, anything else is replaced whole."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return new
    return {**old, **{name: merge(old[name], value) if name in old else value for name, value in new.items()}}


def build_permissions(paths: Iterable[str]) -> dict[str, Any]:
    """Permission to override what stands at these paths, as the platform nests them."""
    permissions: dict[str, Any] = {}
    for path in paths:
        inner: Any = True
        for name in reversed(path.split(".")):
            inner = {name: inner}
        permissions = merge(permissions, inner)
    return permissions


ALL_REFUSED = {
    "agent": {
        "first_message": False,
        "language": False,
        "max_conversation_duration_message": False,
        "prompt": {
            "prompt": False,
            "llm": False,
            "tool_ids": False,
            "native_mcp_server_ids": False,
            "knowledge_base": False,
        },
    },
    "asr": {"keywords": False},
    "conversation": {"text_only": False, "max_duration_seconds": False},
    "tts": {"voice_id": False, "stability": False, "speed": False, "similarity_boost": False},
    "turn": {"soft_timeout_config": {"message": False}},
}


def check_permissions(value: Any, place: Place, faults: Faults) -> Any:
    """Which fields may be overridden: flags, in tables of tables."""
    complete = merge(ALL_REFUSED, mapping(anything)(value, place, faults))
    for path, is_allowed in list_overrides(complete) if isinstance(complete, dict) else ():
        flag(is_allowed, (*place, *path.split(".")), faults)
    return complete


# An object of which each part has its default stands for itself where it is left out.
def section(known: dict[str, Any]) -> Any:
    check = fields(known, others="keep")
    return optional(check, check({}, (), []))


CONVERSATION_CONFIG = section(
    {
        "agent": section(
            {
                "first_message": optional(text(), ""),
                "language": optional(text(), "en"),
                "dynamic_variables": section({"dynamic_variable_placeholders": optional(mapping(anything), {})}),
                "prompt": section(
                    {
                        "prompt": optional(text(), ""),
                        "llm": optional(text(), "gemini-2.5-flash"),
                        "tool_ids": optional(listing(text()), []),
                        "tools": allowed(listing(mapping(anything))),
                    }
                ),
            }
        ),
        "conversation": section(
            {
                "text_only": optional(flag, False),
                "max_duration_seconds": optional(whole(1), 600),
                "client_events": optional(listing(choice(*EVENTS)), DEFAULT_EVENTS),
            }
        ),
        "asr": section({"user_input_audio_format": optional(audio_format, "pcm_16000")}),
        "tts": section(
            {
                "voice_id": optional(text(), "cjVigY5qzO86Huf0OWal"),  # the document's default
                "agent_output_audio_format": optional(audio_format, "pcm_16000"),
            }
        ),
    }
)
PLATFORM_SETTINGS = section(
    {
        "auth": section({"enable_auth": optional(flag, False), "allowlist": optional(listing(anything), [])}),
        "overrides": section(
            {
                "conversation_config_override": optional(check_permissions, ALL_REFUSED),
                "custom_llm_extra_body": optional(flag, False),
            }
        ),
        "archived": optional(flag, False),
    }
)
NODE = fields(
    {
        "additional_tool_ids": allowed(listing(text())),
        "tools": allowed(listing(fields({"tool_id": required(text())}, others="keep"))),
    },
    others="keep",
)
WORKFLOW = section(
    {
        "edges": optional(mapping(anything), {}),
        "nodes": optional(
            mapping(NODE), {"start_node": {"type": "start", "position": {"x": 0, "y": 0}, "edge_order": []}}
        ),
        "prevent_subagent_loops": optional(flag, False),
    }
)
check_agent = fields(
    {
        "name": optional(text(), "New agent"),
        "tags": optional(listing(text()), []),
        "conversation_config": required(CONVERSATION_CONFIG.check),
        "platform_settings": PLATFORM_SETTINGS,
        "workflow": WORKFLOW,
    }
)
"""What the platform needs to make an agent, completed; what it does not know at the top is dropped."""


def describe_agent(agent: Agent, name: str) -> Any:
    """The settings of a scenario's agent as the platform would keep them."""
    required_in_prompt = " ".join(f"{{{{{name}}}}}" for name in agent.required_dynamic_variables)
    settings = {
        "name": name,
        "conversation_config": {
            "agent": {
                "first_message": agent.first_message,
                "dynamic_variables": {"dynamic_variable_placeholders": dict(agent.dynamic_variables)},
                "prompt": {"prompt": f"A scenario tells this agent what to say. {required_in_prompt}".rstrip()},
            },
            "conversation": {
                "text_only": agent.text_only,
                "max_duration_seconds": math.ceil(min(agent.max_duration, 86400)),  # inf is no whole number
                "client_events": list(agent.client_events),
            },
            "asr": {"user_input_audio_format": agent.user_input_audio_format},
            "tts": {"agent_output_audio_format": agent.agent_output_audio_format},
        },
        "platform_settings": {
            "auth": {"enable_auth": agent.requires_authorization},
            "overrides": {"conversation_config_override": build_permissions(agent.allowed_overrides)},
        },
    }
    faults: list[Fault] = []  # a scenario may have an agent that the platform would not take
    return check_agent(settings, (), faults)


def read_agent(agent_id: str, settings: Mapping[str, Any], simulated: Agent) -> Agent:
    """The agent that these settings make; what the platform has no setting for is as with the ``simulated`` one."""
    conversation_config, platform_settings = settings["conversation_config"], settings["platform_settings"]
    agent, conversation = conversation_config["agent"], conversation_config["conversation"]
    permissions = list_overrides(platform_settings["overrides"]["conversation_config_override"])
    return evolve(
        simulated,
        id=agent_id,
        requires_authorization=platform_settings["auth"]["enable_auth"],
        first_message=agent["first_message"],
        text_only=conversation["text_only"],
        client_events=conversation["client_events"],
        user_input_audio_format=conversation_config["asr"]["user_input_audio_format"],
        agent_output_audio_format=conversation_config["tts"]["agent_output_audio_format"],
        required_dynamic_variables=find_placeholders(agent["prompt"]["prompt"]),
        dynamic_variables=agent["dynamic_variables"]["dynamic_variable_placeholders"],
        allowed_overrides=[path for path, is_allowed in permissions if is_allowed],
        max_duration=float(conversation["max_duration_seconds"]),
    )
