"""The shape of an agent as the platform takes it, as far as it matters here; the rest is kept as it came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convaid.audio.formats import FORMATS
from convaid.simulator.agent import Guesses, Limits, Silences
from convaid.simulator.fields import EVENTS
from convaid.simulator.starting import list_overrides
from convaid.simulator.workspace.checks import (
    Faults,
    Place,
    allowed,
    anything,
    choice,
    fields,
    flag,
    listing,
    mapping,
    nullable,
    number,
    optional,
    required,
    text,
    whole,
)

__all__ = ["FLAGS", "check_agent", "merge"]

FLAGS = {
    "custom_llm_extra_body": "custom_llm_extra_body",
    "enable_starting_workflow_node_id_from_client": "starting_workflow_node_id",
    "enable_procedure_ids_from_client": "procedure_ids",
}
"""Permissions beside those of overrides: the platform's names, and a scenario's."""

audio_format = choice(*(each.name for each in FORMATS))


def merge(old: Any, new: Any) -> Any:
    """What a PATCH makes of a setting: dictionaries field by field, anything else is replaced whole."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return new
    return {**old, **{name: merge(old[name], value) if name in old else value for name, value in new.items()}}


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
                "max_conversation_duration_message": optional(text(), ""),
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
                "client_events": optional(listing(choice(*EVENTS)), Guesses().new_agent_events),
                "file_input": section(
                    {"enabled": optional(flag, True), "max_files_per_conversation": optional(whole(-1), 10)}
                ),
            }
        ),
        "turn": section(
            {
                "turn_timeout": optional(number, 7),
                "initial_wait_time": optional(nullable(number)),
                "silence_end_call_timeout": optional(number, -1),
                "soft_timeout_config": section(
                    {
                        "timeout_seconds": optional(number, -1),
                        "message": optional(text(shortest=1), Silences().soft_timeout_message),
                    }
                ),
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
        "auth": section(
            {
                "enable_auth": optional(flag, False),
                "allowlist": optional(listing(fields({"hostname": required(text())}, others="keep")), []),
                "require_origin_header": optional(flag, False),
                "shareable_token": optional(nullable(text())),
            }
        ),
        "call_limits": section(
            {
                "agent_concurrency_limit": optional(whole(-1), -1),
                "daily_limit": optional(whole(0), Limits().daily_limit),
                "bursting_enabled": optional(flag, True),
            }
        ),
        "queueing_config": section(
            {"enabled": optional(flag, False), "wait_timeout_seconds": optional(whole(1, 1800), 180)}
        ),
        "overrides": section(
            {
                "conversation_config_override": optional(check_permissions, ALL_REFUSED),
                **{name: optional(flag, False) for name in FLAGS},
                "enable_conversation_initiation_client_data_from_webhook": optional(flag, False),
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
