"""What an agent does at a branch, when its steps begin, and what it expects of tools, on a clock that is moved."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from convaid.protocol.to_agent import ClientToolResult, ConversationInitiationClientData, UserMessage
from convaid.simulator import Agent, Ending, Failure, Rule, Scenario
from convaid.simulator.scenario import Alternative, Branch, Call, End, ExpectResults, ExpectText, Fail, Say, Step

from .peers import MemoryPeer, hold_conversation

TEXT = Agent(text_only=True)
DRINKS = Branch(
    [
        Alternative("(tea|coffee)", [Say("One $1."), Branch([Alternative("milk", [Call("pour", {"ml": "#1"})])])]),
        Alternative(r"(\d+) glasses", [Call("fill", {"count": "#1", "words": ["$1, {{name}}"]}, wait=False)]),
        Alternative(steps=[Say("Pardon?")], again=True),
    ],
    rounds=3,
)


async def play(*steps: Step, says: tuple[str, ...] = (), **settings: Any) -> tuple[MemoryPeer, Any]:
    """Play steps to a user who says one thing a second."""
    scenario = Scenario(agent=TEXT, steps=steps, **settings)
    initiation = ConversationInitiationClientData(dynamic_variables={"name": "Ada"})
    async with hold_conversation(scenario, initiation) as (peer, record):
        for text in says:
            await trio.sleep(1)
            peer.put(UserMessage(text))
    return peer, record


def list_said(record: Any) -> list[str]:
    return [line.text for line in record.transcript if line.speaker == "agent"]


# --- branches ------------------------------------------------------------------------------------------------------


async def test_the_first_alternative_that_fits_is_taken_and_then_the_steps_go_on(autojump_clock: MockClock) -> None:
    peer, record = await play(DRINKS, Say("Done."), End(), says=("A TEA, please", "With milk"))
    assert list_said(record) == ["One TEA.", "Done."]
    assert [(call.tool, call.parameters) for call in record.calls] == [("pour", {"ml": ""})]
    assert record.is_played
    assert peer.find("error") == []


async def test_what_was_matched_is_filled_in(autojump_clock: MockClock) -> None:
    _, record = await play(DRINKS, End(), says=("12 glasses",))
    assert record.calls[0].parameters == {"count": 12, "words": ["12, Ada"]}


async def test_an_alternative_may_lead_back_so_many_times(autojump_clock: MockClock) -> None:
    _, record = await play(DRINKS, End(), says=("What?", "Why?", "2 glasses"))
    assert list_said(record) == ["Pardon?", "Pardon?"]
    assert record.problem is None
    _, record = await play(DRINKS, End(), says=("What?", "Why?", "How?"))
    assert record.problem == "steps[0].branch: the user has chosen 3 times, and is still here"


async def test_what_fits_no_alternative_ends_the_conversation(autojump_clock: MockClock) -> None:
    _, record = await play(DRINKS, says=("tea", "no"))
    assert record.failure == Failure(
        "steps[0].branch.among[0].steps[1].branch", "no alternative fits 'no'", "one of 'milk'", "no"
    )
    assert not record.is_played
    _, record = await play(Branch(DRINKS.among, within_ms=500))
    assert record.problem == "steps[0].branch: no text within 500 ms"


# --- time ----------------------------------------------------------------------------------------------------------


async def test_a_step_begins_so_long_after_the_one_before(autojump_clock: MockClock) -> None:
    _, record = await play(Say("One.", after_ms=250), ExpectText(after_ms=5000), Say("Two."), End(), says=("hi",))
    assert [(line.text, round(line.at, 2)) for line in record.transcript] == [
        ("One.", 0.25),
        ("hi", 1.0),
        ("Two.", 5.25),
    ]


async def test_a_call_of_a_rule_waits_too(autojump_clock: MockClock) -> None:
    rules = [Rule(call=Call("t", after_ms=1500, response_timeout_secs=1), say="Done.", end=True)]
    _, record = await play(rules=rules, says=("go",))
    assert record.calls[0].asked_at == pytest.approx(record.started_at + 2.5)
    assert record.problem is None  # nothing was expected of it


ENDLESS, FOREVER = "a" * 60 + "!", "(a|a)+$"


@pytest.mark.parametrize(
    ("steps", "rules", "place"),
    [
        ([ExpectText(FOREVER)], [], "steps[0].expect_text"),
        ([Branch([Alternative(FOREVER)])], [], "steps[0].branch"),
        ([], [Rule("b"), Rule(FOREVER), Rule("c")], "rules[1]"),
    ],
)
async def test_a_pattern_that_takes_too_long_ends_the_conversation(
    steps: list[Step], rules: list[Rule], place: str, autojump_clock: MockClock
) -> None:
    peer, record = await play(*steps, says=(ENDLESS,), rules=rules)
    assert record.failure.place == place
    assert record.failure.message.startswith(f"the pattern '{FOREVER}' takes too long")
    assert "write it so that" in peer.find("error")[0]["error_event"]["message"]


# --- tools ---------------------------------------------------------------------------------------------------------


async def answer(step: Call, result: str, *, is_error: bool = False, seconds: float = 0.5, outcome: Any = None) -> Any:
    """What becomes of a call that is answered so."""
    steps = [step, End()] if step.wait else [step, ExpectResults(), End()]
    async with hold_conversation(Scenario(agent=TEXT, steps=steps)) as (peer, record):
        await trio.sleep(seconds)
        if record.calls:
            record.calls[0].outcome = outcome
            peer.put(ClientToolResult(record.calls[0].tool_call_id, result, is_error))
    return record


@pytest.mark.parametrize("waits", [True, False])
async def test_an_answer_comes_within_its_time_or_not(waits: bool, autojump_clock: MockClock) -> None:
    step = Call("add", within_ms=800, wait=waits)
    assert (await answer(step, "5")).problem is None
    late = await answer(step, "5", seconds=1)
    assert late.failure.place == "steps[0].call"
    assert late.failure.expected.startswith("an answer within")
    assert (await answer(Call("add", response_timeout_secs=0.8), "5", seconds=1)).problem is None


@pytest.mark.parametrize(
    ("expected", "result", "path"),
    [
        ({"high": {"pattern": r"^\d+$"}, "note": {"any": True}}, '{"city": "Rome", "high": 31, "note": null}', None),
        ({"high": 30}, '{"city": "Rome", "high": 31}', "high: expected 30, got 31"),
        ({"city": "Rome"}, "no JSON", """expected {"city": "Rome"}, got 'no JSON'"""),
    ],
)
async def test_a_part_of_a_result_is_expected(
    expected: Any, result: str, path: str | None, autojump_clock: MockClock
) -> None:
    record = await answer(Call("weather", expect_result=expected), result)
    assert record.problem == (path and f"steps[0].call: the result of weather: {path}")


@pytest.mark.parametrize(
    ("expected", "known", "is_error", "fits"),
    [
        ("ok", "ok", False, True),
        ("ok", "deferred", False, False),
        ("time-out", "time-out", True, True),
        ("time-out", "error", True, False),
        ("ok", None, False, True),
        ("ok", None, True, False),
        ("denied", None, True, True),
        ("deferred", None, False, True),
    ],
)
async def test_an_outcome_is_expected(
    expected: Any, known: Any, is_error: bool, fits: bool, autojump_clock: MockClock
) -> None:
    record = await answer(Call("add", expect_outcome=expected), "5", is_error=is_error, outcome=known)
    got = known or ("an error" if is_error else "a result")
    got = f'"{got}"' if known else got
    assert record.problem == (
        None if fits else f"steps[0].call: expected the outcome \"{expected}\" of add, got {got}: '5'"
    )


@pytest.mark.parametrize(
    ("step", "what"),
    [
        (Call("add", expect_result=FOREVER), "the result"),
        (Call("add", expect_result=FOREVER, wait=False), "the result"),
        (Call("add", {"a": ENDLESS}, expect_parameters={"a": {"pattern": FOREVER}}), "the arguments"),
    ],
)
async def test_a_pattern_that_takes_too_long_is_told_with_its_call(
    step: Call, what: str, autojump_clock: MockClock
) -> None:
    record = await answer(step, ENDLESS)
    assert record.failure.place == "steps[0].call"
    assert record.failure.message.startswith(f"{what} of add: the pattern '{FOREVER}' takes too long")


async def test_what_a_tool_is_called_with_is_expected(autojump_clock: MockClock) -> None:
    def make_rules(pattern: str) -> list[Rule]:
        step = Call("add", parameters_json="$1", expect_parameters={"text": {"pattern": pattern}}, wait=False)
        return [Rule("add (.*)", step, end=True)]

    _, record = await play(rules=make_rules("tea"), says=('add {"text": "Tea", "more": 1}',))
    assert record.calls[0].parameters == {"text": "Tea", "more": 1}
    assert record.problem is None
    _, record = await play(rules=make_rules("milk"), says=('add {"text": "Tea"}',))
    assert record.problem == "rules[0].call: the arguments of add: text: expected what matches 'milk', got 'Tea'"
    assert not record.calls


async def test_what_breaks_the_conversation_off_on_purpose_has_been_played(autojump_clock: MockClock) -> None:
    _, record = await play(Say("Hi."), Fail(1011))
    assert (record.place, record.is_played) == ("steps[1].error", True)
    assert isinstance(record.ending, Ending)
