"""What a conversation starts with: overrides and dynamic variables, in the platform's own words."""

from __future__ import annotations

from typing import Any

import pytest

from convaid.protocol.to_agent import ConversationInitiationClientData
from convaid.simulator import Agent
from convaid.simulator.agent import Guesses
from convaid.simulator.scenario import Fail, Refuse
from convaid.simulator.starting import Terms, settle_terms

PERMISSIVE = Agent(
    first_message="Hello.",
    allowed_overrides=["agent.first_message", "agent.prompt.prompt", "conversation.text_only", "tts.voice_id"],
)


def start(
    agent: Agent = PERMISSIVE, override: Any = None, variables: Any = None, **initiation: Any
) -> Terms | Fail | Refuse:
    return settle_terms(
        agent,
        ConversationInitiationClientData(
            conversation_config_override=override, dynamic_variables=variables, **initiation
        ),
    )


@pytest.mark.parametrize(
    "override", [None, {}, {"agent": {}, "tts": {}, "conversation": {}}, {"agent": {"prompt": {}}}]
)
def test_nothing_and_empty_tables_override_nothing(override: Any) -> None:
    assert start(Agent(first_message="Hello.", allowed_overrides=[]), override) == Terms(
        Agent(first_message="Hello.", allowed_overrides=[])
    )


def test_without_an_initiation_the_agents_settings_hold() -> None:
    assert settle_terms(Agent(first_message="Hi.", text_only=True), None) == Terms(
        Agent(first_message="Hi.", text_only=True)
    )


def test_allowed_overrides_hold() -> None:
    override = {"agent": {"first_message": "Hey.", "prompt": {"prompt": "Be brief."}}, "tts": {"voice_id": "v"}}
    terms = start(override=override)
    assert isinstance(terms, Terms)
    assert terms.first_message == "Hey."


@pytest.mark.parametrize(
    ("override", "expected"),
    [({"text_only": True}, True), ({"conversation": {"text_only": True}}, True), ({"text_only": False}, False)],
)
def test_both_places_of_text_only_are_understood(override: Any, expected: bool) -> None:
    terms = start(Agent(), override)
    assert isinstance(terms, Terms)
    assert terms.is_text_only is expected


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


def test_overrides_that_change_what_is_simulated() -> None:
    allowed = [
        "conversation.max_duration_seconds",
        "conversation.client_events",
        "agent.max_conversation_duration_message",
        "turn.soft_timeout_config.message",
    ]
    override = {
        "conversation": {"max_duration_seconds": 30, "client_events": ["audio"]},
        "agent": {"max_conversation_duration_message": "Time is up."},
        "turn": {"soft_timeout_config": {"message": "Hm."}},
    }
    terms = start(Agent(allowed_overrides=allowed), override)
    assert isinstance(terms, Terms)
    assert (terms.agent.max_duration, terms.agent.max_duration_message) == (30, "Time is up.")
    assert terms.agent.client_events == ["audio"]
    assert terms.agent.silences.soft_timeout_message == "Hm."


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"text_only": "yes"}, "Override for field 'text_only' is not a boolean."),
        ({"text_only": 1}, "Override for field 'text_only' is not a boolean."),
        ({"conversation": {"text_only": "yes"}}, "Override for field 'text_only' is not a boolean."),
        ({"conversation": {"client_events": ["noise"]}}, 'Override: the text "noise" is no event'),
        ({"conversation": {"client_events": [["audio"]]}}, "Override: a list is no event"),
    ],
)
def test_an_override_that_is_no_such_value_ends_the_conversation(override: Any, words: str) -> None:
    failure = start(Agent(allowed_overrides=["conversation.text_only", "conversation.client_events"]), override)
    assert isinstance(failure, Fail)
    assert (failure.code, failure.error_type) == (1008, "value_error")
    assert failure.message.startswith(words)


@pytest.mark.parametrize("seconds", [-1, "30", True, 1.5])
def test_an_override_of_a_wrong_type_or_size_ends_the_conversation(seconds: Any) -> None:
    agent = Agent(allowed_overrides=["conversation.max_duration_seconds"])
    failure = start(agent, {"conversation": {"max_duration_seconds": seconds}})
    assert isinstance(failure, Fail)
    assert (failure.code, failure.error_type) == (1008, "value_error")


@pytest.mark.parametrize(
    ("field", "value", "permission"),
    [
        ("custom_llm_extra_body", {"temperature": 0.7}, "custom_llm_extra_body"),
        ("starting_workflow_node_id", "node_1", "starting_workflow_node_id"),
        ("procedure_ids", ["p"], "procedure_ids"),
        ("start_procedure_ids", ["p"], "procedure_ids"),
    ],
)
def test_some_fields_need_a_permission_of_their_own(field: str, value: Any, permission: str) -> None:
    refusal = f"Override for field '{field}' is not allowed by config."
    assert start(Agent(), **{field: value}) == Fail(1008, "override_error", refusal)
    assert isinstance(start(Agent(allowed_overrides=[permission]), **{field: value}), Terms)
    assert isinstance(start(Agent(), **{field: type(value)()}), Terms)  # the official Python SDK sends an empty body


def test_an_unknown_branch_is_refused() -> None:
    agent = Agent(branches=["branch_a"])
    assert start(agent, branch_id="branch_b") == Refuse(3000, "Request error")
    assert isinstance(start(agent, branch_id="branch_a"), Terms)
    assert isinstance(start(agent), Terms)
    assert isinstance(start(Agent(), branch_id="branch_b"), Terms)


def test_an_unknown_source_is_taken_unless_the_guess_is_another() -> None:
    strict = Agent(guesses=Guesses(any_source=False))
    assert isinstance(start(Agent(), source_info={"source": "toaster"}), Terms)
    assert isinstance(start(strict, source_info={"source": "python_sdk", "version": "2.78.0"}), Terms)
    assert isinstance(start(strict, source_info={"version": "1"}), Terms)
    assert isinstance(start(strict, source_info={"source": "toaster"}), Fail)


def test_variables_of_tools_are_required_too() -> None:
    failure = settle_terms(Agent(), None, {"room"})
    assert failure == Fail(1008, "missing_dynamic_variable", "Missing required dynamic variables in tools: {'room'}")
