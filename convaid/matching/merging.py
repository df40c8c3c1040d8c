"""What the platform's configuration of a tool becomes when ours is written over it (pure)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from typing import Any

from convaid.matching.parameters import find_filling, list_types, read_object
from convaid.matching.tools import PLATFORM_DEFAULTS

__all__ = ["find_changes", "merge_config", "tidy_config", "write_diff"]

SUPERSEDED = ("disable_interruptions", "force_pre_tool_speech")  # by interruption_mode and pre_tool_speech
OUR_KEYS = ("type", "description", "enum", "properties", "required", "items")  # of a parameter's node
PLACEHOLDERS = "dynamic_variable_placeholders"  # of what stands in it, empty values count, too


def merge_config(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's configuration with ours written over what the platform has.

    What is set on the dashboard alone survives: settings that we have no word for, parameters that the platform fills
    in or leaves out, assignments to other variables. Parameters that the function does not have go, unless they are
    left out of calls anyway.
    """
    kept = {name: value for name, value in theirs.items() if name not in SUPERSEDED}
    return {
        **kept,
        **ours,
        "parameters": _merge_object(ours["parameters"], theirs.get("parameters")),
        "assignments": _merge_assignments(ours["assignments"], theirs.get("assignments")),
    }


def _merge_assignments(ours: list[Any], theirs: object) -> list[Any]:
    names = [assignment["dynamic_variable"] for assignment in ours]
    others = [each for each in theirs if isinstance(each, Mapping)] if isinstance(theirs, list) else []
    return [*(each for each in others if each.get("dynamic_variable") not in names), *ours]


def _merge_object(ours: Mapping[str, Any], theirs: object) -> dict[str, Any]:
    their_properties, their_required = read_object(theirs)
    filled = {name for name, node in their_properties.items() if name in ours["properties"] and find_filling(node)}
    properties = {
        name: their_properties[name] if name in filled else _merge_node(node, their_properties.get(name))
        for name, node in ours["properties"].items()
    }
    omitted = {
        name: node for name, node in their_properties.items() if name not in properties and node.get("is_omitted")
    }
    required = [name for name in ours["required"] if name not in filled] + sorted(filled & their_required)
    return {**_list_foreign(theirs), **ours, "properties": properties | omitted, "required": required}


def _merge_node(ours: Mapping[str, Any], theirs: Mapping[str, Any] | None) -> dict[str, Any]:
    if theirs is None or list_types(ours) != list_types(theirs):
        return dict(ours)
    if ours["type"] == "object":
        return _merge_object(ours, theirs)
    merged = {**_list_foreign(theirs), **ours}
    if ours["type"] == "array":
        items = theirs.get("items")
        merged["items"] = _merge_node(ours["items"], items if isinstance(items, Mapping) else None)
    return merged


def _list_foreign(node: object) -> dict[str, Any]:
    """Return what a node of the platform's has that we have no word for; and its description, which we may not have."""
    if not isinstance(node, Mapping):
        return {}
    return {name: value for name, value in node.items() if name not in OUR_KEYS or name == "description"}


def tidy_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's configuration without what says nothing, so that two that mean the same are equal."""
    told = {**PLATFORM_DEFAULTS, **{name: value for name, value in config.items() if name not in SUPERSEDED}}
    if not read_object(told.get("parameters"))[0]:
        told["parameters"] = None
    tidied = _tidy(told)
    assert isinstance(tidied, dict)
    return tidied


def _tidy(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping) and key == "constant_value":
        return value
    if isinstance(value, Mapping):
        inner = {name: _tidy(each, "" if key == "properties" else name) for name, each in value.items()}
        return {name: each for name, each in inner.items() if key == PLACEHOLDERS or not _says_nothing(name, each)}
    if isinstance(value, list):
        items = [_tidy(each) for each in value]
        return sorted(items, key=str) if key in ("required", "enum") else items
    return value


def _says_nothing(name: str, value: object) -> bool:
    if value is False or value == 0:
        return name != "constant_value"
    return value in (None, "", [], {})


def find_changes(wanted: object, got: object, path: str = "") -> Iterator[str]:
    """Yield what differs between two tidied values, as a path and what became of it."""
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        for name, value in wanted.items():
            where = f"{path}.{name}" if path else name
            if name not in got:
                yield f"{where} was dropped"
            else:
                yield from find_changes(value, got[name], where)
        yield from (f"{path}.{name} was added" if path else f"{name} was added" for name in got if name not in wanted)
    elif wanted != got:
        yield f"{path} became {json.dumps(got, ensure_ascii=False)}"


def write_diff(before: object, after: object, name: str) -> str:
    """Return what changes, as a unified diff of JSON; None stands for nothing. "" if nothing changes."""
    lines = (_write_lines(before), _write_lines(after))
    names = (f"{name} (on the platform)" if before is not None else "/dev/null", name)
    if after is None:
        names = (names[0], "/dev/null")
    return "\n".join(line.rstrip("\n") for line in unified_diff(*lines, *names, n=2))


def _write_lines(value: object) -> list[str]:
    if value is None:
        return []
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).splitlines()
