"""How the platform treats the calls of a tool: what its settings there say of time, answers and variables. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from math import inf
from typing import Any, Literal

from attrs import Factory, field, frozen

from convaid.patterns import PatternTimeout, search_text

__all__ = ["MockResult", "ToolSettings", "find_mock", "read_tool_settings"]

MISSING = object()


@frozen
class ToolSettings:
    """A client tool's settings, as far as a call of it depends on them. The defaults are for a tool nobody knows."""

    response_timeout: float = 20.0  # seconds; inf: for ever
    expects_response: bool = True
    execution_mode: str = "immediate"
    interruption_mode: str = "allow"
    hides_errors: bool = False
    parameters: Mapping[str, Any] = field(factory=dict, repr=False)
    assignments: Sequence[Mapping[str, Any]] = ()
    placeholders: Mapping[str, Any] = Factory(dict)  # dynamic variables that have a value here
    mocks: Sequence[Mapping[str, Any]] = ()

    @property
    def required_variables(self) -> set[str]:
        """The dynamic variables that the parameters are filled from."""
        named = {node["dynamic_variable"] for node in _list_nodes(self.parameters) if node.get("dynamic_variable")}
        return {name for name in named - self.placeholders.keys() if not name.startswith("system__")}

    def fill_parameters(self, parameters: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """What the tool is called with: what the agent has chosen, and what the platform fills in itself."""
        return _fill_object(self.parameters, parameters, {**self.placeholders, **variables})

    def assign(self, result: str) -> tuple[dict[str, Any], str]:
        """The dynamic variables that a result sets, and the result without what the agent is not to see of it."""
        if not self.assignments:
            return {}, result
        try:
            content = json.loads(result)
        except (ValueError, RecursionError):
            return {}, result
        values, is_sanitized = {}, False
        for assignment in self.assignments:
            steps = str(assignment["value_path"]).split(".")
            value = _walk(content, steps)
            if value is MISSING:
                continue
            if isinstance(value, dict | list):
                value = deepcopy(value) if assignment.get("preserve_native_type") else json.dumps(value)
            values[str(assignment["dynamic_variable"])] = value
        for assignment in self.assignments:
            if assignment.get("sanitize"):
                is_sanitized |= _remove(content, str(assignment["value_path"]).split("."))
        return values, json.dumps(content, ensure_ascii=False) if is_sanitized else result


def read_tool_settings(config: Mapping[str, Any], mocks: Sequence[Mapping[str, Any]] | None) -> ToolSettings:
    """The settings of a client tool from its complete configuration."""
    seconds = config["response_timeout_secs"]
    mode = config["interruption_mode"]
    return ToolSettings(
        response_timeout=inf if seconds == -1 else float(seconds),
        expects_response=config["expects_response"],
        execution_mode=config["execution_mode"],
        interruption_mode="disable_during_tool" if mode == "allow" and config["disable_interruptions"] else mode,
        hides_errors=config["tool_error_handling_mode"] in ("auto", "hide"),
        parameters=config["parameters"] or {},
        assignments=config["assignments"],
        placeholders=config["dynamic_variables"]["dynamic_variable_placeholders"],
        mocks=mocks or (),
    )


# --- parameters ------------------------------------------------------------------------------------------------------


def _list_nodes(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.get("properties", {}).values()
        if node.get("items"):
            waiting.append(node["items"])


def _fill_object(schema: Mapping[str, Any], given: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    filled = dict(given)
    for name, node in schema.get("properties", {}).items():
        if node.get("is_omitted"):
            filled.pop(name, None)
        elif node.get("constant_value") not in (None, ""):
            filled[name] = node["constant_value"]
        elif node.get("dynamic_variable") in variables:
            filled[name] = variables[node["dynamic_variable"]]
        elif node.get("type") == "object" and isinstance(inner := filled.get(name, {}), Mapping):
            inner = _fill_object(node, inner, variables)
            filled |= {name: inner} if inner else {}
    return filled


# --- results ---------------------------------------------------------------------------------------------------------


def _walk(content: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        if isinstance(content, Mapping) and step in content:
            content = content[step]
        elif isinstance(content, list) and step.isdecimal() and int(step) < len(content):
            content = content[int(step)]
        else:
            return MISSING
    return content


def _remove(content: Any, steps: Sequence[str]) -> bool:
    parent = _walk(content, steps[:-1])
    if isinstance(parent, dict):
        return parent.pop(steps[-1], MISSING) is not MISSING
    if isinstance(parent, list) and _walk(parent, steps[-1:]) is not MISSING:
        parent[int(steps[-1])] = None
        return True
    return False


# --- mocks -----------------------------------------------------------------------------------------------------------


@frozen
class MockResult:
    """What is answered in a tool's place."""

    result: str
    is_error: bool = False


def find_mock(
    tool: str, parameters: Mapping[str, Any], mocks: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any] | None
) -> MockResult | None:
    """What is answered in the tool's place, as the initiation's ``tool_mock_config`` wants it; None: it is called."""
    wanted = wanted or {}
    strategy: Literal["none", "all", "selected"] = wanted.get("mocking_strategy", "none")
    if strategy != "all" and not (strategy == "selected" and tool in wanted.get("mocked_tool_names", ())):
        return None
    for mock in mocks:
        if all(_fits(condition, parameters) for condition in mock["parameter_conditions"]):
            return MockResult(mock["mock_result"], mock["is_error"])
    if wanted.get("fallback_strategy") == "call_real_tool":
        return None
    return MockResult(f"No mock of the tool {tool} fits this call.", True)


def _fits(condition: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    value = _walk(parameters, str(condition.get("path", "")).split("."))
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    match condition.get("eval"):
        case {"type": "anything"}:
            return True
        case {"type": "exact", "expected_value": str(expected)}:
            return value is not MISSING and text == expected
        case {"type": "regex", "pattern": str(pattern)}:
            try:
                return value is not MISSING and search_text(pattern, text) is not None
            except PatternTimeout:
                return False
    return False  # "llm": there is no language model
