"""The shape of a tool as the platform takes it, and with which defaults it gives it back.

Client tools are checked in full. Of the other kinds, which an account may hold beside them, what every tool has is
checked and the rest is kept as it came.
"""

from __future__ import annotations

from typing import Any

from convaid.simulator.workspace.checks import (
    Check,
    Fault,
    Faults,
    Place,
    anything,
    choice,
    fields,
    flag,
    listing,
    mapping,
    nullable,
    optional,
    refine,
    required,
    text,
    whole,
)

__all__ = ["KINDS", "check_tool_request"]

NAME = "[a-zA-Z0-9_-]{1,64}"
LITERALS = ("boolean", "string", "integer", "number")
SOURCES = "description, dynamic_variable, is_system_provided, constant_value, or is_omitted"


# --- parameters -------------------------------------------------------------------------------------------------------


def check_node(value: Any, place: Place, faults: Faults) -> Any:
    """A parameter, or the elements of a list: a literal, an object or an array."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "object":
        return check_object(value, place, faults)
    return (check_array if kind == "array" else check_literal)(value, place, faults)


def check_type(value: Any, place: Place, faults: Faults) -> Any:
    """A literal's type, or two of them where one is ``"null"``."""
    if not isinstance(value, list):
        return choice(*LITERALS)(value, place, faults)
    if len(value) != 2:
        faults.append(Fault(place, "List should have 2 items", "too_long" if len(value) > 2 else "too_short"))
    return listing(choice(*LITERALS, "null"))(value, place, faults)


def check_constant(value: Any, place: Place, faults: Faults) -> Any:
    if isinstance(value, dict | list):
        faults.append(Fault(place, "Input should be a valid string, integer, number or boolean", "union_type"))
    return value


def list_sources(node: dict[str, Any]) -> list[str]:
    """Where the value of a node comes from: more than one of them contradict each other."""
    names = ("description", "dynamic_variable", "is_system_provided", "is_omitted")
    return [name for name in names if node.get(name)] + ["constant_value"] * (node["constant_value"] not in (None, ""))


def check_sources(node: dict[str, Any], place: Place, faults: Faults) -> None:
    if len(list_sources(node)) > 1:
        faults.append(Fault(place, f"Value error, Can only set one of: {SOURCES}", "value_error"))


def check_literal_sources(node: dict[str, Any], place: Place, faults: Faults) -> None:
    check_sources(node, place, faults)
    if not list_sources(node):
        faults.append(Fault(place, f"Value error, Must set one of: {SOURCES}", "value_error"))


def check_required(node: dict[str, Any], place: Place, faults: Faults) -> None:
    """That what is required must be there, and not omitted, is this simulator's reading of the platform's rules."""
    check_sources(node, place, faults)
    for name in node["required"]:
        if name not in node["properties"]:
            problem = "is required but not in properties"
        elif node["properties"][name]["is_omitted"]:
            problem = "is required and is_omitted"
        else:
            continue
        faults.append(Fault((*place, "required"), f"Value error, '{name}' {problem}", "value_error"))


check_literal = refine(
    fields(
        {
            "type": required(check_type),
            "description": optional(text(), ""),
            "enum": optional(nullable(listing(text()))),
            "is_system_provided": optional(flag, False),
            "dynamic_variable": optional(text(), ""),
            "allowed_values": optional(nullable(fields({"dynamic_variable": required(text(shortest=1))}))),
            "allowed_values_dynamic_variable": optional(text(), ""),
            "constant_value": optional(check_constant, ""),
            "is_omitted": optional(flag, False),
        }
    ),
    check_literal_sources,
)
CONTAINER = {
    "type": required(anything),
    "description": optional(text(), ""),
    "dynamic_variable": optional(text(), ""),
    "is_omitted": optional(flag, False),
}
check_object = refine(
    fields(
        CONTAINER
        | {
            "type": optional(choice("object"), "object"),
            "constant_value": optional(nullable(mapping(anything))),
            "required": optional(listing(text()), []),
            "properties": optional(mapping(check_node), {}),
            "required_constraints": optional(nullable(mapping(anything))),
        },
        others="forbid",
        ignored={"property_kind"},
    ),
    check_required,
)
check_array = refine(
    fields(
        CONTAINER
        | {
            "constant_value": optional(nullable(listing(anything))),
            "items": optional(check_node, check_literal({"type": "string", "description": "Array element"}, (), [])),
        },
        others="forbid",
        ignored={"property_kind"},
    ),
    check_sources,
)


# --- tools -----------------------------------------------------------------------------------------------------------

ANY_TOOL = {
    "type": required(text()),
    "name": required(text(pattern=NAME)),
    "description": required(text()),
    "disable_interruptions": optional(flag, False),
    "interruption_mode": optional(choice("allow", "disable_during_tool", "disable_during_tool_and_turn"), "allow"),
    "force_pre_tool_speech": optional(flag, False),
    "pre_tool_speech": optional(choice("auto", "force", "off"), "auto"),
    "assignments": optional(
        listing(
            fields(
                {
                    "source": optional(choice("response"), "response"),
                    "dynamic_variable": required(text()),
                    "value_path": required(text()),
                    "sanitize": optional(flag, False),
                    "preserve_native_type": optional(flag, False),
                }
            )
        ),
        [],
    ),
    "tool_call_sound": optional(nullable(choice("typing", "elevator1", "elevator2", "elevator3", "elevator4"))),
    "tool_call_sound_behavior": optional(choice("auto", "always"), "auto"),
    "tool_error_handling_mode": optional(choice("auto", "summarized", "passthrough", "hide"), "auto"),
}
EXECUTION = {
    "dynamic_variables": optional(
        fields({"dynamic_variable_placeholders": optional(mapping(anything), {})}),
        {"dynamic_variable_placeholders": {}},
    ),
    "execution_mode": optional(choice("immediate", "post_tool_speech", "async"), "immediate"),
}


def check_patience(tool: dict[str, Any], place: Place, faults: Faults) -> None:
    """To wait for ever (-1) a tool must wait: so says the official Python SDK, which is newer than the document."""
    if tool["response_timeout_secs"] == -1 and not tool["expects_response"]:
        words = "Value error, -1 (no time limit) requires expects_response to be true"
        faults.append(Fault((*place, "response_timeout_secs"), words, "value_error"))


check_client_tool = refine(
    fields(
        ANY_TOOL
        | EXECUTION
        | {
            "response_timeout_secs": optional(whole(1, 120, beside=(-1,)), 20),
            "parameters": optional(nullable(check_object)),
            "expects_response": optional(flag, False),
        }
    ),
    check_patience,
)
KINDS: dict[str, Check] = {
    "client": check_client_tool,
    "webhook": fields(
        ANY_TOOL
        | EXECUTION
        | {
            "response_timeout_secs": optional(whole(5, 300), 20),
            "api_schema": required(fields({"url": required(text())}, others="keep")),
        },
        others="keep",
    ),
    "system": fields(
        ANY_TOOL
        | {
            "description": optional(text(), ""),
            "response_timeout_secs": optional(whole(), 20),
            "params": required(fields({"system_tool_type": required(text())}, others="keep")),
        },
        others="keep",
    ),
    "mcp": fields(ANY_TOOL | {"response_timeout_secs": optional(whole(5, 300), 30)}, others="keep"),
}


def check_config(value: Any, place: Place, faults: Faults) -> Any:
    """A tool's configuration, by its ``type``; that is a part of the places of its faults, as on the platform."""
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind in KINDS:
        return KINDS[kind](value, (*place, kind), faults)
    if not isinstance(value, dict):
        words, fault = "Input should be a valid dictionary or object to extract fields from", "model_attributes_type"
    elif "type" not in value:
        words, fault = "Unable to extract tag using discriminator 'type'", "union_tag_not_found"
    else:
        names = ", ".join(f"'{name}'" for name in KINDS)
        words = f"Input tag '{kind}' found using 'type' does not match any of the expected tags: {names}"
        fault = "union_tag_invalid"
    faults.append(Fault(place, words, fault))
    return value


MOCK = fields(
    {
        "parameter_conditions": optional(listing(mapping(anything)), []),
        "mock_result": required(text()),
        "is_error": optional(flag, False),
    }
)
check_tool_request = fields(
    {"tool_config": required(check_config), "response_mocks": optional(nullable(listing(MOCK)))},
)
