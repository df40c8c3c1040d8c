"""Whatever the platform's tools and agents look like, matching comes to an end without an exception."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from convaid.config import parse_configuration
from convaid.matching.matching import find_findings
from convaid.matching.plan import plan_push
from convaid.matching.record import PushRecord, RecordedTool
from convaid.matching.view import PlatformAgent, PlatformView, find_response_timeouts, list_tools
from convaid.rest import PlatformTool

from .workspace import AGENT, MAIN, TOOLS, make_plugins

CONFIGURATION = parse_configuration(MAIN + 'overrides.language = "de"\n', "test")
OFFERED = list_tools(make_plugins(*TOOLS), CONFIGURATION.tools)
BODY: dict[str, Any] = {
    "conversation_config": {
        "agent": {
            "first_message": "Hello {{customer}}",
            "prompt": {"prompt": "p", "tool_ids": ["tool_set_lamps", "tool_find_lamps", "tool_blink"]},
            "dynamic_variables": {"dynamic_variable_placeholders": {}},
        },
        "conversation": {"client_events": ["audio"], "text_only": False},
    },
    "platform_settings": {"overrides": {"conversation_config_override": {"agent": {"language": True}}}},
    "workflow": {"nodes": {"a": {"additional_tool_ids": ["tool_blink"], "tools": [{"tool_id": "tool_blink"}]}}},
}
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def list_places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in inner for place in [(*path, key), *list_places(each, (*path, key))]]


@st.composite
def spoilt(draw: st.DrawFn, value: Any) -> Any:
    """The value with up to three pieces of it replaced by something else."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(0, 3))):
        *steps, last = draw(st.sampled_from(list_places(value)))
        table = value
        for step in steps:
            table = table[step]
        table[last] = draw(JUNK)
        if not list_places(value):
            break
    return value


TOOL_CONFIGS = {name: {**tool.config, "name": name} for name, tool in OFFERED.items()}


@settings(max_examples=50, deadline=None)
@given(configs=spoilt(TOOL_CONFIGS), body=spoilt(BODY))
def test_nothing_that_the_platform_says_is_too_odd(configs: dict[str, Any], body: dict[str, Any]) -> None:
    tools = [
        PlatformTool(f"tool_{name}", {**(config if isinstance(config, dict) else {}), "name": name})
        for name, config in configs.items()
    ]
    view = PlatformView("platform", tuple(tools), (PlatformAgent(AGENT, "", body),))
    for finding in find_findings(OFFERED, CONFIGURATION.conversations, view):
        assert finding.message
    find_response_timeouts(view, AGENT)
    record = PushRecord.__new__(PushRecord)
    record.tools = {tool.name: RecordedTool(tool.id, "created") for tool in tools}
    for step in plan_push(OFFERED, CONFIGURATION.conversations, view, record, prunes=True).steps:
        step.write_diff()
