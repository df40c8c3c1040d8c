"""Where a tool's parameters here and on the platform differ (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from convaid.matching.findings import Kind

__all__ = ["Difference", "compare_parameters", "find_filling"]


@frozen
class Difference:
    """One thing in which a tool differs."""

    kind: Kind
    place: str
    message: str
    is_note: bool = False


def find_filling(node: Mapping[str, Any]) -> str:
    """Return how the platform fills a parameter in by itself, in words; "" where the language model provides it."""
    if node.get("is_omitted"):
        return "leaves it out (is_omitted)"
    if node.get("is_system_provided"):
        return "fills it in by itself (is_system_provided)"
    if variable := node.get("dynamic_variable"):
        return f"fills it in with the dynamic variable {variable}"
    if node.get("constant_value") not in ("", None):  # False and 0 are constants, too
        return "fills it in with a constant (constant_value)"
    return ""


def compare_parameters(ours: Mapping[str, Any], theirs: object, place: str = "") -> Iterator[Difference]:
    """Yield the differences of two object nodes; ``theirs`` may be anything, and null has no parameters."""
    our_properties, our_required = ours["properties"], set(ours["required"])
    their_properties, their_required = read_object(theirs)
    extra = [name for name in their_properties if name not in our_properties]
    for name, node in our_properties.items():
        where = f"{place}{name}"
        if name in their_properties:
            yield from _compare_parameter(
                node, their_properties[name], where, name in our_required, name in their_required
            )
        elif twin := next((other for other in extra if other.lower() == name.lower()), None):
            extra.remove(twin)
            yield Difference("name_case", where, f'is called "{twin}" on the platform; upper and lower case count')
        else:
            outcome = "the function requires it" if name in our_required else "the agent never passes it"
            yield Difference("parameter_missing", where, f"is missing on the platform, and {outcome}")
    for name in extra:
        filling = find_filling(their_properties[name])
        if not their_properties[name].get("is_omitted"):
            words = f"the function does not have it, and the platform {filling or 'asks the agent for it'}"
            yield Difference("parameter_extra", f"{place}{name}", f"{words}: such calls are refused")


def read_object(node: object) -> tuple[dict[str, Mapping[str, Any]], set[str]]:
    """Return the properties of an object node as it came, and the names of those that are required."""
    node = node if isinstance(node, Mapping) else {}
    properties, required = node.get("properties"), node.get("required")
    if not isinstance(properties, Mapping):
        properties = {}
    return (
        {str(name): inner if isinstance(inner, Mapping) else {} for name, inner in properties.items()},
        {name for name in required if isinstance(name, str)} if isinstance(required, list) else set(),
    )


def _compare_parameter(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], place: str, is_required: bool, is_required_there: bool
) -> Iterator[Difference]:
    filling = find_filling(theirs)
    if filling:
        outcome = ", and the function requires it" if is_required and theirs.get("is_omitted") else ""
        yield Difference("parameter_filled", place, f"the platform {filling}{outcome}; the agent does not choose it")
    elif is_required and not is_required_there:
        yield Difference("parameter_required", place, "is required here, and optional on the platform")
    elif is_required_there and not is_required:
        yield Difference("parameter_required", place, "is optional here, and required on the platform")
    yield from _compare_nodes(ours, theirs, place, is_filled=bool(filling))


def _compare_nodes(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], place: str, *, is_filled: bool = False
) -> Iterator[Difference]:
    our_types, their_types = list_types(ours), list_types(theirs)
    if our_types != their_types:
        here, there = " or ".join(our_types), " or ".join(their_types) or "nothing"
        yield Difference("parameter_type", place, f"is {here} here, and {there} on the platform")
        return
    if is_filled:
        return
    if set(our_choices := ours.get("enum") or []) != set(their_choices := _list_choices(theirs)):
        here, there = (", ".join(choices) or "any" for choices in (our_choices, their_choices))
        yield Difference("parameter_enum", place, f"its values are {here} here, and {there} on the platform")
    if ours.get("description", "") != (theirs.get("description") or ""):
        yield Difference("description", place, "is described in other words on the platform", is_note=True)
    if "object" in our_types:
        yield from compare_parameters(ours, theirs, f"{place}.")
    elif "array" in our_types:
        items = theirs.get("items")
        yield from _compare_nodes(ours["items"], items if isinstance(items, Mapping) else {}, f"{place}[]")


def list_types(node: Mapping[str, Any]) -> list[str]:
    """Return the types of a node, null last."""
    kinds = node.get("type")
    if isinstance(kinds, str):
        return [kinds]
    return sorted((str(kind) for kind in kinds), key=lambda kind: kind == "null") if isinstance(kinds, list) else []


def _list_choices(node: Mapping[str, Any]) -> list[str]:
    choices = node.get("enum")
    return [str(choice) for choice in choices] if isinstance(choices, list) else []
