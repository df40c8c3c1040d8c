"""Whatever a peer sends: the checks say what is wrong with it, or complete it to what they take again as it is."""

from __future__ import annotations

import re
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from convaid.protocol.bodies import is_deeper
from convaid.simulator.workspace.agent_shapes import check_agent, merge
from convaid.simulator.workspace.checks import DEEPEST, Check, Faults
from convaid.simulator.workspace.tool_shapes import check_tool_request

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 200),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "client", "webhook", "object", "array", "string", "integer", "async", "level", "pcm_16000"]),
    st.text(max_size=3),
)
KEYS = st.sampled_from(
    re.findall(
        r"\w+",
        """type name description parameters properties required items enum constant_value is_omitted level
        dynamic_variable tool_config response_mocks mock_result response_timeout_secs expects_response
        api_schema url params system_tool_type conversation_config agent prompt tool_ids conversation
        client_events text_only platform_settings auth overrides conversation_config_override workflow nodes
        additional_tool_ids tools tool_id first_message tts tags""",
    )
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=30
)
NODES = st.recursive(
    st.fixed_dictionaries({"type": st.sampled_from(["string", "integer"]), "description": st.just("x")}) | VALUES,
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["object", "array"])},
        optional={"properties": st.dictionaries(KEYS, inner, max_size=3), "items": inner, "required": st.lists(KEYS)},
    ),
    max_leaves=6,
)
TOOLS = st.fixed_dictionaries(
    {"type": st.just("client"), "name": st.just("x"), "description": st.just("x")},
    optional={"parameters": NODES, "assignments": VALUES, "response_timeout_secs": LEAVES, "dynamic_variables": VALUES},
)


def hold(check: Check, value: Any) -> None:
    faults: Faults = []
    complete = check(value, ("body",), faults)
    assert all(fault.place[0] == "body" and fault.message and fault.type for fault in faults)
    if not faults:
        again = check(orjson.loads(orjson.dumps(complete)), ("body",), faults)
        assert (again, faults) == (complete, [])


@given(VALUES | st.fixed_dictionaries({"tool_config": TOOLS | VALUES}))
def test_tools(value: Any) -> None:
    hold(check_tool_request, value)


@given(VALUES | st.fixed_dictionaries({"conversation_config": VALUES}, optional={"platform_settings": VALUES}))
def test_agents(value: Any) -> None:
    hold(check_agent, value)


@given(VALUES, VALUES)
def test_what_is_merged_has_all_that_is_new(old: Any, new: Any) -> None:
    merged = merge(old, new)
    assert merge(merged, new) == merged
    if not isinstance(new, dict) or not isinstance(old, dict):
        assert merged == new


def test_the_deepest_that_is_taken_can_be_checked_and_written() -> None:
    node: Any = {"type": "string", "description": "x"}
    while not is_deeper({"tool_config": {"parameters": node}}, DEEPEST - 2):
        node = {"type": "object", "properties": {"a": node}}
    tool = {"tool_config": {"type": "client", "name": "x", "description": "x", "parameters": node}}
    assert not is_deeper(tool, DEEPEST)
    hold(check_tool_request, tool)
