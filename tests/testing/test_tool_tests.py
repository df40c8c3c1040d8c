"""The tool tests of the official command line: what they become here, and what cannot be tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest

from convaid import tool
from convaid.errors import ConfigurationError
from convaid.plugins import Tool
from convaid.simulator import Scenario
from convaid.simulator.scenario import Call, End
from convaid.testing.tool_tests import NotTested, find_tool_tests, load_tool_test

from ..folders import make_test, write_folder, write_json


class Spot(TypedDict):
    """Where.

    Attributes:
        city: the city
    """

    city: str


@tool
def set_lamp(room: Literal["hall", "kitchen"], level: int, spot: Spot | None = None, note: str = "") -> str:
    """Set a lamp.

    Args:
        room: which
        level: how bright
        spot: where
        note: what for
    """
    return f"{room} {level} {spot} {note}"


@tool
def ring(on: bool = True) -> str:
    """Ring the bell.

    Args:
        on: or not
    """
    return "ding"


OFFERED: dict[str, Tool] = {set_lamp.name: set_lamp, ring.name: ring}
LAMP = set_lamp.describe()
HALL = ("room", {"type": "exact", "expected_value": "hall"})
SEVEN = ("level", {"type": "exact", "expected_value": "7"})


def exact(value: str) -> dict[str, Any]:
    return {"type": "exact", "expected_value": value}


def regex(pattern: str) -> dict[str, Any]:
    return {"type": "regex", "pattern": pattern}


def load(folder: Path, test: Any, lamp: Any = LAMP) -> Scenario | NotTested:
    write_folder(folder, tools={"tool_1": lamp, "tool_2": ring.describe(), "tool_3": LAMP | {"name": "set_lmp"}})
    write_json(folder / "test_configs" / "a.json", test)
    return load_tool_test(folder / "test_configs" / "a.json", OFFERED)


def load_parameters(folder: Path, test: Any, lamp: Any = LAMP) -> dict[str, Any]:
    scenario = load(folder, test, lamp)
    assert isinstance(scenario, Scenario), scenario
    called, end = scenario.steps
    assert isinstance(called, Call)
    assert isinstance(end, End)
    assert (called.tool, called.expect_error) == ("set_lamp", False)
    return called.parameters


def test_exact_values_become_what_the_tool_takes(tmp_path: Path) -> None:
    test = make_test("tool_1", HALL, SEVEN, ("spot.city", exact("Rome")), ("note", exact("7")))
    assert load_parameters(tmp_path, test) == {"room": "hall", "level": 7, "spot": {"city": "Rome"}, "note": "7"}


@pytest.mark.parametrize(
    ("rule", "note"),
    [
        (regex("^(tea|coffee)$"), "tea"),
        (regex(r"kitchen table"), "kitchen table"),
        (regex(r"\d{2}:\d{2}"), "08:30"),
        (regex(r"(?i)PLEASE.*"), "Please"),
        (regex(r"table$"), "table"),
        (regex(r"^...$"), "the"),
        (regex(r"^3\.5 \(or so\)$"), "3.5 (or so)"),
    ],
)
def test_a_pattern_is_met_by_a_value_that_is_known(rule: dict[str, Any], note: str, tmp_path: Path) -> None:
    history = [{"role": "user", "message": "Please wake me at 08:30 at the kitchen table"}]
    test = make_test("tool_1", HALL, SEVEN, ("note", rule), chat_history=history)
    assert load_parameters(tmp_path, test)["note"] == note


def test_what_is_open_is_as_in_an_earlier_call_or_left_out(tmp_path: Path) -> None:
    calls = [{"tool_name": "set_lamp", "params_as_json": '{"room": "kitchen", "level": 3, "note": "old"}'}]
    history = [{"role": "agent", "message": None, "tool_calls": calls}]
    anything, judged = {"type": "anything"}, {"type": "llm", "description": "a friendly note"}
    test = make_test("tool_1", ("level", anything), ("note", judged), chat_history=history)
    assert load_parameters(tmp_path, test) == {"room": "kitchen", "level": 3}


def test_the_platform_fills_in_what_it_would(tmp_path: Path) -> None:
    level = {"type": "integer", "dynamic_variable": "level"}
    lamp = {
        **LAMP,
        "parameters": {**LAMP["parameters"], "properties": {**LAMP["parameters"]["properties"], "level": level}},
    }
    test = make_test("tool_1", HALL, dynamic_variables={"level": 5})
    assert load_parameters(tmp_path, test, lamp) == {"room": "hall", "level": 5}


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ({"type": "llm", "success_condition": "polite"}, "it judges what the agent says"),
        ({"success_condition": "polite", "chat_history": []}, "it judges what the agent says"),
        ({"type": "simulation"}, "it simulates a whole conversation"),
        ({"type": "tool"}, "it expects nothing of a tool"),
        (make_test("tool_9", type="tool") | {"tool_call_parameters": {"verify_absence": False}}, "it expects nothing"),
        (make_test("tool_1", HALL), "nothing says what level is, which the tool needs"),
        (make_test("tool_1", HALL, ("level", {"type": "llm", "description": "bright"})), "nothing says what level is"),
        (make_test("tool_1", HALL, ("level", regex("^9{5}$"))), "no value of level is known that matches"),
    ],
)
def test_what_cannot_be_tested_says_why(test: Any, reason: str, tmp_path: Path) -> None:
    found = load(tmp_path, test)
    assert isinstance(found, NotTested)
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"verify_absence": True}, "it expects a tool not to be called"),
        ({"referenced_tool": {"id": "tool_123", "type": "webhook"}}, "it is about a tool of the type webhook"),
    ],
)
def test_what_the_platform_alone_does_says_so(change: Any, reason: str, tmp_path: Path) -> None:
    test = make_test("tool_1")
    test["tool_call_parameters"] |= change
    found = load(tmp_path, test)
    assert isinstance(found, NotTested)
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    ("test", "complaint"),
    [
        ("{", r"a\.json: is not JSON"),
        ("[]", r"a\.json: is not a JSON object"),
        (
            make_test("tool_9"),
            r"referenced_tool\.id: .*tools\.json has no tool with the id tool_9; `elevenlabs tools pull",
        ),
        (make_test("tool_3"), r'nobody offers the tool "set_lmp" here; did you mean "set_lamp"'),
        (
            make_test("tool_1", ("leval", exact("7"))),
            r'parameters\[0\]: the tool has no parameter leval; did you mean "level"',
        ),
        (
            make_test("tool_1", ("level", exact("loud"))),
            r"level is to be 'loud', which the tool does not take: .*integer",
        ),
        (
            make_test("tool_1", ("room", exact("attic"))),
            r"which the tool does not take: it is one of 'hall', 'kitchen'",
        ),
        (make_test("tool_1", ("note", regex("("))), r"'\(' is not a regular expression"),
        (make_test("tool_1", ("note", {"type": "magic"})), r'note: a rule "magic" is not known here'),
        (make_test("tool_1") | {"tool_call_parameters": 3}, r"tool_call_parameters: is not an object"),
    ],
)
def test_a_test_that_cannot_be_met_fails_at_its_place(test: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        load(tmp_path, test)


def test_tests_are_found_by_the_index_and_beside_it(tmp_path: Path) -> None:
    assert find_tool_tests(tmp_path) == []
    write_folder(tmp_path, tests={"test_1": make_test("tool_1"), "": make_test("tool_1")})
    write_json(tmp_path / "test_configs" / "deep" / "new.json", make_test("tool_1"))
    names = [str(path.relative_to(tmp_path)) for path in find_tool_tests(tmp_path)]
    assert names == ["test_configs/test-0.json", "test_configs/test-1.json", "test_configs/deep/new.json"]
    write_json(tmp_path / "tests.json", {"tests": 3})
    with pytest.raises(ConfigurationError, match=r"tests\.json: tests: is not a list"):
        find_tool_tests(tmp_path)
