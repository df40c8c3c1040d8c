"""What a conversation starts with: overrides and dynamic variables, in the platform's own words."""

from __future__ import annotations

from typing import Any

import pytest

from convaid.protocol.to_agent import ConversationInitiationClientData
from convaid.simulator import Agent
from convaid.simulator.scenario import Fail
from convaid.simulator.starting import Terms, settle_terms

PERMISSIVE = Agent(
    first_message="Hello.",
    allowed_overrides=["agent.first_message", "agent.prompt.prompt", "conversation.text_only", "tts.voice_id"],
)


def start(agent: Agent = PERMISSIVE, override: Any = None, variables: Any = None) -> Terms | Fail:
    initiation = ConversationInitiationClientData(conversation_config_override=override, dynamic_variables=variables)
    return settle_terms(agent, initiation)


@pytest.mark.parametrize(
    "override", [None, {}, {"agent": {}, "tts": {}, "conversation": {}}, {"agent": {"prompt": {}}}]
)
def test_nothing_and_empty_tables_override_nothing(override: Any) -> None:
    assert start(Agent(first_message="Hello.", allowed_overrides=[]), override) == Terms(False, "Hello.", {})


def test_without_an_initiation_the_agents_settings_hold() -> None:
    assert settle_terms(Agent(first_message="Hi.", text_only=True), None) == Terms(True, "Hi.", {})


def test_allowed_overrides_hold() -> None:
    override = {"agent": {"first_message": "Hey.", "prompt": {"prompt": "Be brief."}}, "tts": {"voice_id": "v"}}
    assert start(override=override) == Terms(False, "Hey.", {})


@pytest.mark.parametrize(
    ("override", "expected"),
    [({"text_only": True}, True), ({"conversation": {"text_only": True}}, True), ({"text_only": False}, False)],
)
def test_both_places_of_text_only_are_understood(override: Any, expected: bool) -> None:
    assert start(Agent(), override) == Terms(expected, "", {})


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ({"agent": {"language": "de"}}, "language"),
        ({"tts": {"speed": None}}, "speed"),
        ({"agent": {"prompt": {"llm": "x"}}}, "llm"),
        ({"conversation": {"client_events": []}}, "client_events"),
        ({"agent": "odd"}, "agent"),
    ],
)
def test_other_overrides_end_the_conversation(override: Any, name: str) -> None:
    reason = f"Override for field '{name}' is not allowed by config."
    assert start(override=override) == Fail(1008, "override_error", reason)


def test_a_first_message_that_is_no_text_ends_the_conversation() -> None:
    failure = start(override={"agent": {"first_message": 5}})
    assert isinstance(failure, Fail)
    assert failure.error_type == "value_error"


def test_missing_dynamic_variables_end_the_conversation() -> None:
    agent = Agent(first_message="Hello {{name}} from {{ town }}.", required_dynamic_variables=["age"])
    failure = start(agent, variables={"town": "Ulm"})
    reason = "Missing required dynamic variables in first message: {'age', 'name'}"
    assert failure == Fail(1008, "missing_dynamic_variable", reason)


def test_dynamic_variables_are_filled_in() -> None:
    terms = start(Agent(first_message="x {{name}}"), variables={"name": "Ada", "age": 36})
    assert isinstance(terms, Terms)
    assert terms.fill_in("{{name}} is {{ age }}, {{height}} tall") == "Ada is 36, {{height}} tall"
