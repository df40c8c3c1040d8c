"""`@tool`'s options, and what the platform is to be told of a tool, held against its own contract."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from convaid import Range, Tool, tool
from convaid.errors import ToolDefinitionError
from convaid.plugins.options import PlatformSettings

REST = Path(__file__).parents[2].parent / "shared" / "protocol" / "rest-openapi-subset.json"


@tool
def play(volume: Annotated[int, "how loud", Range(0, 100)] = 50) -> str:
    """Play the radio."""
    return "playing"


@tool(
    time_limit=30.5,
    expects_response=True,
    execution_mode="post_tool_speech",
    interruption_mode="disable_during_tool",
    pre_tool_speech="force",
    tool_error_handling_mode="summarized",
    tool_call_sound="elevator4",
    tool_call_sound_behavior="always",
    assignments=[{"dynamic_variable": "high", "value_path": "days.0.high", "sanitize": True}],
)
def forecast() -> dict[str, Any]:
    """Tell the weather."""
    return {"days": [{"high": 5}]}


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    if not REST.exists():
        pytest.skip(f"the platform's contract is not at {REST}")
    components: dict[str, Any] = json.loads(REST.read_text())["components"]
    return components


def test_the_platform_is_told_everything() -> None:
    assert play.describe() == {
        "type": "client",
        "name": "play",
        "description": "Play the radio.",
        "parameters": {
            "type": "object",
            "properties": {"volume": {"type": "integer", "description": "how loud (0 to 100)"}},
            "required": [],
        },
        "response_timeout_secs": 20,
        "expects_response": True,
        "execution_mode": "immediate",
        "interruption_mode": "allow",
        "pre_tool_speech": "auto",
        "tool_error_handling_mode": "passthrough",
        "tool_call_sound": None,
        "tool_call_sound_behavior": "auto",
        "assignments": [],
    }


def test_options_reach_the_platform_as_they_are() -> None:
    told = forecast.describe()
    assert told["response_timeout_secs"] == 36
    assert told["execution_mode"] == "post_tool_speech"
    assert told["interruption_mode"] == "disable_during_tool"
    assert told["pre_tool_speech"] == "force"
    assert told["tool_error_handling_mode"] == "summarized"
    assert (told["tool_call_sound"], told["tool_call_sound_behavior"]) == ("elevator4", "always")
    assert told["assignments"] == [
        {
            "source": "response",
            "dynamic_variable": "high",
            "value_path": "days.0.high",
            "sanitize": True,
            "preserve_native_type": False,
        }
    ]


@pytest.mark.parametrize("each", [play, forecast], ids=lambda each: each.name)
def test_what_is_told_is_valid_by_the_platforms_contract(each: Tool, contract: dict[str, Any]) -> None:
    config = {"$ref": "#/components/schemas/ClientToolConfig-Input", "components": contract}
    jsonschema.Draft202012Validator(config).validate(each.describe())
    known = contract["schemas"]["ClientToolConfig-Input"]["properties"]
    assert set(each.describe()) <= set(known)  # the platform drops what it does not know
    assert set(each.describe()["assignments"][0] if each is forecast else ()) <= set(
        contract["schemas"]["DynamicVariableAssignment"]["properties"]
    )


def test_every_choice_of_the_platforms_is_one_of_ours(contract: dict[str, Any]) -> None:
    for option, schema in {
        "execution_mode": "ToolExecutionMode",
        "interruption_mode": "ToolInterruptionMode",
        "pre_tool_speech": "PreToolSpeechMode",
        "tool_error_handling_mode": "ToolErrorHandlingMode",
        "tool_call_sound": "ToolCallSoundType",
        "tool_call_sound_behavior": "ToolCallSoundBehavior",
    }.items():
        for choice in contract["schemas"][schema]["enum"]:
            options: dict[str, Any] = {"tool_call_sound": "typing", option: choice}
            assert define(**options).describe()[option] == choice
    ours = set(PlatformSettings.__annotations__)
    theirs = set(contract["schemas"]["ClientToolConfig-Input"]["properties"])
    assert theirs - ours - set(play.describe()) == {
        "disable_interruptions",  # superseded by interruption_mode
        "force_pre_tool_speech",  # superseded by pre_tool_speech
        "dynamic_variables",  # placeholders for testing on the dashboard
    }


def define(function: Callable[..., Any] | None = None, **options: Any) -> Tool:
    def go() -> None:
        """Go."""

    return tool(**options)(function or go)


@pytest.mark.parametrize(
    ("time_limit", "timeout"),
    [(0.001, 6), (1, 6), (15, 20), (30.5, 36), (114.5, 120), (115, 120), (118, 120), (600, 120), (math.inf, 120)],
)
def test_the_platform_waits_a_little_longer_than_we_do_and_120_s_at_most(time_limit: float, timeout: int) -> None:
    assert define(time_limit=time_limit).describe()["response_timeout_secs"] == timeout
    assert play.describe(time_limit)["response_timeout_secs"] == timeout


def test_the_time_limit_in_effect_has_the_last_word() -> None:
    assert forecast.describe(5)["response_timeout_secs"] == 10


def test_the_agent_waits_for_every_answer_unless_told_otherwise() -> None:
    def no_annotation():  # type: ignore[no-untyped-def]
        """Go."""

    def something() -> int:
        """Go."""
        return 0

    async def something_async() -> bool:
        """Go."""
        return False

    # None is an answer, too: it says that it worked, where an error would say that it did not.
    for function in (None, no_annotation, something, something_async):
        assert define(function).platform_settings["expects_response"] is True
    for function in (None, no_annotation):
        assert define(function, expects_response=False).describe()["expects_response"] is False
    for function in (something, something_async):
        with pytest.raises(ToolDefinitionError, match=r"nobody would hear: remove expects_response=False, or annotate"):
            define(function, expects_response=False)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"tiem_limit": 5}, 'tiem_limit: is not known; did you mean "time_limit"?'),
        ({"execution_mode": "asnyc"}, 'execution_mode: expected one of "immediate", "post_tool_speech", "async", got'),
        ({"execution_mode": None}, "execution_mode: expected one of"),
        ({"interruption_mode": True}, "interruption_mode: expected one of"),
        ({"pre_tool_speech": "on"}, "pre_tool_speech: expected one of"),
        ({"tool_error_handling_mode": "raise"}, "tool_error_handling_mode: expected one of"),
        ({"tool_call_sound": "elevator"}, 'tool_call_sound: expected one of "typing", "elevator1"'),
        ({"tool_call_sound_behavior": "always"}, 'but no sound: add tool_call_sound="typing", say'),
        ({"expects_response": "yes"}, "expects_response: expected true or false"),
        ({"time_limit": "5"}, "time_limit: expected a number"),
        ({"time_limit": True}, "time_limit: expected a number"),
        ({"time_limit": 0}, "must be more than 0 s"),
        ({"parallel": 1.5}, "parallel: expected a whole number"),
        ({"name": ""}, "has a name that the platform refuses"),
        ({"description": " "}, "has no description"),
        ({"assignments": {"a": "b"}}, "assignments: expected a list, got a table"),
        ({"assignments": [{"dynamic_variable": "a"}]}, "assignments[0].value_path: is required and missing"),
        ({"assignments": [{"dynamic_variable": "a", "value_path": "b[0]"}]}, 'as in "days.0.high"'),
        ({"assignments": [{"dynamic_variable": "a", "value_path": ""}]}, 'as in "days.0.high"'),
        ({"assignments": [{"dynamic_variable": "", "value_path": "b"}]}, "name its dynamic_variable"),
        (
            {"assignments": [{"dynamic_variable": "a", "value_path": "b"}], "expects_response": False},
            "has assignments from a response that is not expected: remove expects_response=False",
        ),
    ],
)
def test_options_that_cannot_be_are_refused_with_the_remedy(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ToolDefinitionError) as caught:
        define(**options)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(f"{__file__}:")
