"""Scenarios against real tools over a real connection: what passes, what fails and why, and on which ways."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import pytest
import trio

from convaid import ToolContext, ToolError, tool
from convaid.config import ToolsConfig
from convaid.config.policy import ToolPolicy
from convaid.plugins import Plugin, Plugins
from convaid.simulator import parse_scenario
from convaid.testing.outcomes import count_outcomes, find_share
from convaid.testing.running import ScenarioReport, open_temporary_state, run_scenario

LIMIT = 20.0  # seconds: longer than any scenario here takes


@tool
def add(a: Annotated[int, "one"], b: Annotated[int, "the other"]) -> dict[str, int]:
    """Add two numbers."""
    return {"sum": a + b}


@tool
def fail() -> str:
    """Fail."""
    raise ToolError("It cannot be done.")


@tool(time_limit=0.8)
async def linger() -> None:
    """Never end."""
    await trio.sleep_forever()


@tool
async def promise(context: ToolContext) -> str:
    """Answer, and then work for longer than the conversation lasts."""
    context.defer("I am looking.")
    await trio.sleep(LIMIT)
    return "found"


@tool
def open_door() -> None:
    """Open the door."""


PLUGINS = Plugins((Plugin("test", "test", "test", "1", "ready", tools=(add, fail, linger, promise, open_door)),))
CONFIG = ToolsConfig(named={"open_door": ToolPolicy(permission="deny")})


async def run(text: str, time_limit: float = 10.0) -> ScenarioReport:
    with trio.fail_after(LIMIT):
        return await run_scenario(parse_scenario(text, "story.toml"), PLUGINS, CONFIG, time_limit=time_limit)


async def test_tools_are_driven_to_their_outcomes() -> None:
    report = await run("""
        [agent]
        first_message = "Hello."
        requires_authorization = true
        allowed_overrides = []

        [[steps]]
        expect_text = {matches = "add", example = "Please add."}
        [[steps]]
        call = {tool = "add", parameters = {a = 2, b = 3}, expect_result = {sum = 5}, expect_outcome = "ok"}
        [[steps]]
        call = {tool = "add", parameters = {a = 2}, expect_outcome = "invalid"}
        [[steps]]
        call = {tool = "fail", expect_outcome = "error", expect_result = "cannot be done"}
        [[steps]]
        call = {tool = "linger", expect_outcome = "time-out", within_ms = 10000}
        [[steps]]
        call = {tool = "open_door", expect_outcome = "denied"}
        [[steps]]
        call = {tool = "promise", expect_outcome = "deferred", expect_error = false}
        [[steps]]
        call = {tool = "nothing", expect_outcome = "unknown"}
        [[steps]]
        say = "{result}"
    """)
    assert report.failure is None
    assert report.passed
    assert [(call.tool, call.outcome) for call in report.calls] == [
        ("add", "ok"),
        ("add", "invalid"),
        ("fail", "error"),
        ("linger", "time-out"),
        ("open_door", "denied"),
        ("promise", "deferred"),
        ("nothing", "unknown"),
    ]
    assert report.calls[0].parameters == {"a": 2, "b": 3}
    assert report.transcript[:2] == ("agent: Hello.", "user: Please add.")
    assert report.transcript[2].startswith("tool: add({'a': 2, 'b': 3}) -> {\"sum\":5}  [ok, ")
    driven = {row.tool: row.outcomes for row in count_outcomes(report.calls, PLUGINS, CONFIG)}
    assert driven == {
        "add": {"ok": 1, "invalid": 1},
        "fail": {"error": 1},
        "linger": {"time-out": 1},
        "promise": {"deferred": 1},
        "open_door": {"denied": 1},
        "nothing": {"unknown": 1},
    }
    assert find_share(count_outcomes(report.calls, PLUGINS, CONFIG)) == 20.0
    assert find_share([]) == 100.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            'steps = [{call = {tool = "add", parameters = {a = 2, b = 3}, expect_result = {sum = 6}}}]',
            "steps[0].call: the result of add: sum: expected 6, got 5",
        ),
        (
            'steps = [{call = {tool = "fail", expect_outcome = "ok"}}]',
            'steps[0].call: expected the outcome "ok" of fail, got "error": \'It cannot be done.\'',
        ),
        (
            'steps = [{expect_text = "hello"}]',
            "steps[0].expect_text: there is no example: what does the user say here?",
        ),
        (
            'steps = [{expect_text = {matches = "hello", example = "Good day"}}]',
            "steps[0].expect_text: expected a text that matches 'hello', got 'Good day'",
        ),
        ("steps = [{expect_audio = {}}]", "steps[0].expect_audio: expects speech, and here the user can only write"),
        (
            'steps = [{branch = [{when = "a", example = "tea"}, {when = "b", example = "about"}]}]',
            "steps[0].branch: 'about', the example of 'b', fits 'a' first",
        ),
        ('steps = [{branch = [{when = "a"}]}]', "steps[0].branch: there is no example: what does the user say here?"),
        (
            '[[rules]]\nwhen = "tea"\n[[rules]]\nwhen = "te"\nexample = "steam"',
            "rules[1]: 'steam', the example of 'te', fits the rule for 'tea' first",
        ),
        (
            "agent.max_duration = 0.1\nsteps = [{silence = 5}]",
            "steps[0].silence: the conversation was over before the scenario was: "
            "closed by the agent, 1000 Conversation has exceeded maximum duration.",
        ),
        ("steps = [{silence = 5}]", "steps[0].silence: it was not over after 1 s"),
        ("agent.metadata_delay = 5", "agent.first_message: it was not over after 1 s"),
    ],
)
async def test_what_fails_says_where_and_why(text: str, problem: str) -> None:
    report = await run(text, time_limit=1.0 if "1 s" in problem else 10.0)
    assert str(report.failure) == problem
    assert not report.passed


@pytest.mark.parametrize(
    "text",
    [
        "",
        'steps = [{say = "Hello"}, {drop = {}}]',
        "steps = [{close = 4300}]",
        "steps = [{error = {code = 1011}}]",
        "steps = [{refuse = {}}]",
        "steps = [{refuse = {status = 503}}]",
    ],
)
async def test_an_ending_that_the_scenario_wants_is_no_failure(text: str) -> None:
    report = await run(text)
    assert report.failure is None
    assert report.ways == 1


async def test_every_way_through_the_branches_is_taken() -> None:
    report = await run("""
        [[steps]]
        branch = [
            {when = "(\\\\d)", example = "2", steps = [
                {call = {tool = "add", parameters = {a = "#1", b = 0}}},
                {branch = [
                    {when = "more", example = "more", steps = [{call = {tool = "add", parameters = {a = 1, b = 1}}}]},
                    {when = "enough", example = "enough"},
                ]},
            ]},
            {when = "what", example = "What?", again = true, steps = [{say = "A number."}]},
            {when = "bye", example = "Bye"},
            {steps = [{say = "Pardon?"}], again = true},
        ]
        [[steps]]
        call = {tool = "add", parameters = {a = 5, b = 5}}
    """)
    assert report.failure is None
    assert report.ways == 3
    results = [call.result for call in report.calls]
    assert results == ['{"sum":2}', '{"sum":2}', '{"sum":10}', '{"sum":2}', '{"sum":10}', '{"sum":10}']
    assert report.transcript[0] == "user: Bye"


async def test_ways_without_end_are_a_failure() -> None:
    either = '{branch = [{when = "a", example = "a"}, {when = "b", example = "b"}]}'
    report = await run(f"steps = [{', '.join([either] * 6)}]")
    assert str(report.failure) == "steps: more than 50 ways lead through its branches: make it several scenarios"


async def test_every_rule_is_tried_by_its_example_and_the_one_that_hangs_up_is_the_last() -> None:
    report = await run("""
        [[rules]]
        when = "bye"
        example = "Bye"
        say = "Goodbye."
        end = true
        [[rules]]
        when = "add (.) and (.)"
        example = "add 2 and 3"
        call = {tool = "add", parameters = {a = "#1", b = "#2"}, expect_result = {sum = 5}}
        say = "{result}"
        [[rules]]
        say = "Pardon?"
    """)
    assert report.failure is None
    assert [line for line in report.transcript if not line.startswith("tool")] == [
        "user: add 2 and 3",
        'agent: {"sum":5}',
        "user: Bye",
        "agent: Goodbye.",
    ]


async def test_a_plugin_that_does_not_open_is_named() -> None:
    @asynccontextmanager
    async def open_never() -> AsyncIterator[None]:
        await trio.sleep_forever()
        yield

    plugins = Plugins((Plugin("slow", "slow", "slow", "1", "ready", tools=(linger,), lifespan=open_never),))
    with trio.fail_after(LIMIT):
        report = await run_scenario(parse_scenario('steps = [{say = "Hi."}]', "story.toml"), plugins, time_limit=0.3)
    assert str(report.failure) == "the conversation did not begin within 0.3 s: the plugin slow takes too long to open"


async def test_a_tool_that_hangs_does_not_hold_up_the_end() -> None:
    began = time.perf_counter()
    report = await run('steps = [{call = {tool = "linger", wait = false}}, {end = {}}]')
    assert report.failure is None
    assert [call.outcome for call in report.calls] == ["stopped"]
    assert time.perf_counter() - began < LIMIT / 2


def test_state_is_kept_in_a_place_that_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/home/of/somebody")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    with open_temporary_state():
        folder = Path(os.environ["STATE_DIRECTORY"])
        assert os.environ["XDG_STATE_HOME"] == str(folder)
        (folder / "notes").touch()
    assert not folder.exists()
    assert os.environ["XDG_STATE_HOME"] == "/home/of/somebody"
    assert "STATE_DIRECTORY" not in os.environ


async def test_a_tool_that_nobody_has_is_a_slip_unless_it_is_expected() -> None:
    report = await run("""
        [[steps]]
        call = {tool = "ad", parameters = {a = 2, b = 3}}
    """)
    assert report.failure is not None
    assert "nobody offers the tool ad" in report.failure.message
    assert "Did you mean add?" in report.failure.got
    report = await run("""
        [[steps]]
        call = {tool = "ad", expect_outcome = "unknown"}
    """)
    assert report.passed


async def test_parameters_that_are_no_json_once_filled_in_are_a_failure() -> None:
    report = await run("""
        [[rules]]
        when = "add (.+)"
        example = "Please add {2}"
        call = {tool = "add", parameters_json = "$1"}
        say = "{result}"
    """)
    assert report.failure is not None
    assert report.failure.place == "rules[0].call"
    assert report.failure.message.startswith("add cannot be called with this: ")
    assert (report.failure.expected, report.failure.got) == ("a JSON object", "{2}")
    assert report.calls == ()
