"""Recordings turned into scenarios: the same tools pass them, and others do not."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio

from convaid import ToolError, tool
from convaid.config import ToolsConfig
from convaid.config.policy import ToolPolicy
from convaid.plugins import Plugin, Plugins
from convaid.protocol.from_agent import ClientToolCall, Error, Interruption, Ping, UserTranscript
from convaid.protocol.to_agent import Pong, UserMessage
from convaid.recording import FrameLine
from convaid.session.session import STOPPED
from convaid.simulator import Scenario, parse_scenario
from convaid.testing.replaying import replay_recording
from convaid.testing.running import ScenarioReport, run_scenario
from convaid.testing.scripting import write_scenario

from .recordings import Story

LIMIT = 20.0  # seconds: longer than any scenario here takes


@tool
def add(a: Annotated[int, "one"], b: Annotated[int | None, "the other"] = None) -> dict[str, int]:
    """Add two numbers."""
    return {"sum": a + (b or 0)}


@tool
def echo(text: Annotated[str, "what to say"]) -> str:
    """Say the same."""
    if not text:
        raise ToolError("Say something.")
    return f"you said {text}"


WAIT = {"seconds": 0.5}


@tool
async def wait_long() -> str:
    """Take a while."""
    await trio.sleep(WAIT["seconds"])
    return "waited"


TOOLS = Plugins((Plugin("test", "test", "test", "1", "ready", tools=(add, echo, wait_long)),))
CONFIG = ToolsConfig(named={"wait_long": ToolPolicy(on_interrupt="cancel")})


def convert(story: Story) -> Scenario:
    return parse_scenario(write_scenario(story.read("/home/of/somebody/evening.jsonl")), "evening.toml")


async def run_both(story: Story) -> ScenarioReport:
    """Replay a recording, which must find it the same, and run the scenario made of it."""
    with trio.fail_after(LIMIT):
        replayed = await replay_recording(story.read(), TOOLS, CONFIG)
        assert not replayed.differences, replayed.differences
        return await run_scenario(convert(story), TOOLS, CONFIG, time_limit=10)


def list_steps(story: Story) -> list[dict[str, Any]]:
    text = write_scenario(story.read())
    parse_scenario(text, "x.toml")
    steps = tomllib.loads(text)["steps"]
    assert isinstance(steps, list)
    return steps


def make_evening() -> Story:
    """A conversation with all that is usual."""
    story = Story.begin().agent(Ping(1)).us(Pong(1)).say('Good "evening"!\n')
    story.us(UserMessage("Add them.")).agent(UserTranscript("Add them.", 3))
    story.call("add", {"a": 2, "b": 3}).result('{"sum":5}').say("It is {5}: $1 {{x}}")
    story.agent(UserTranscript("And {{name}}, by voice?", 4)).call("echo", {"text": "{{name}}"})
    story.result("you said {{name}}").call("echo", {"text": ""}).result("Say something.", is_error=True)
    story.call("echo", {"text": "unheard"}, expects_response=False).result("you said unheard")
    story.call("add", {"a": 1, "b": None}).result({"sum": {"any": True}})
    story.call("wait_long").call("echo", {"text": "now"}).result("you said now").result("waited", number=6)
    return story.close()


async def test_the_tools_of_the_recording_pass_its_scenario() -> None:
    report = await run_both(make_evening())
    assert report.failure is None
    # In no order: some of them run at once, and which is over first is chance.
    assert Counter((call.tool, call.outcome) for call in report.calls) == {
        ("add", "ok"): 2,
        ("echo", "ok"): 3,
        ("echo", "error"): 1,
        ("wait_long", "ok"): 1,
    }
    assert {"a": 1, "b": None} in [call.parameters for call in report.calls]
    assert "user: And name, by voice?" in report.transcript


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('{"sum":5}', '{"sum":6}', "the result of add"),
        ("you said {{name}}", "you said it", "the result of echo"),
        ("Say something.", "Say it.", "the result of echo"),
        ("waited", "slept", "the result of wait_long"),
    ],
)
async def test_what_is_not_as_in_the_recording_fails(old: str, new: str, problem: str) -> None:
    story = make_evening()
    for line in story.lines:
        if isinstance(line, FrameLine) and line.frame and line.frame.get("result") == old:
            line.frame["result"] = new
    with trio.fail_after(LIMIT):
        report = await run_scenario(convert(story), TOOLS, CONFIG, time_limit=10)
    assert report.failure is not None
    assert problem in str(report.failure)


def test_the_scenario_reads_as_one_that_a_person_has_written() -> None:
    text = write_scenario(make_evening().read("/home/of/somebody/evening.jsonl"))
    assert text.startswith("# From the recording evening.jsonl: ")
    assert '[agent.dynamic_variables]\nname = "name"\n' in text
    assert '[[steps]]\nsay = "Good \\"evening\\"!\\n"\n' in text
    assert '[[steps]]\nexpect_text = { example = "Add them." }\n' in text
    assert text.count("Add them.") == 1
    call = 'call = { tool = "add", parameters = { a = 2, b = 3 }, expect_result = { exact = "{\\"sum\\":5}" } }'
    assert f"[[steps]]\n{call}\n" in text
    assert text.endswith("[[steps]]\nend = {}\n")
    assert "ping" not in text


def test_calls_that_overlap_are_not_waited_for() -> None:
    story = Story.begin().call("wait_long").call("add", {"a": 1}).result('{"sum":1}').result("waited", number=1).close()
    assert list_steps(story) == [
        {"call": {"tool": "wait_long", "expect_result": {"exact": "waited"}, "wait": False}},
        {"call": {"tool": "add", "parameters": {"a": 1}, "expect_result": {"exact": '{"sum":1}'}}},
        {"expect_results": {}},
        {"end": {}},
    ]


async def test_an_interruption_reaches_the_call_that_it_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WAIT, "seconds", 15)
    stopped = 'The tool "wait_long" was stopped, because the user interrupted.'
    story = Story.begin().say("One moment.").call("wait_long").agent(Interruption(7)).result(stopped, is_error=True)
    report = await run_both(story.call("add", {"a": 1}).result('{"sum":1}').close())
    assert report.failure is None
    assert [call.outcome for call in report.calls] == ["stopped", "ok"]
    (interruption,) = [step["raw"] for step in list_steps(story) if "raw" in step]
    assert interruption["after_ms"] == 200


async def test_a_call_without_an_answer_expects_none() -> None:
    story = Story.begin().call("wait_long").result(STOPPED, is_error=True).stop()
    assert list_steps(story) == [{"call": {"tool": "wait_long", "wait": False}}, {"end": {}}]
    assert (await run_both(story)).failure is None


def test_a_call_that_came_twice_is_one_step() -> None:
    story = Story.begin().call("add", {"a": 1}).call("add", {"a": 1}, number=1).result('{"sum":1}', number=1)
    assert [list(step) for step in list_steps(story)] == [["call"], ["end"]]


async def test_odd_frames_go_over_the_wire_as_they_came() -> None:
    story = Story.begin().agent("{no JSON").add(FrameLine(3, "agent", binary="AAE="))
    story.agent(ClientToolCall("add", "call_odd", [5])).say("a {result} b").say("")
    story.call("echo", {"text": "{result} {a} $1 #1"}).result("you said {result} {a} $1 #1").close()
    steps = list_steps(story)
    assert [next(iter(step)) for step in steps] == ["raw", "frame", "raw", "raw", "call", "end"]
    assert '"agent_response":"a {result} b"' in steps[3]["raw"]
    report = await run_both(story)
    assert report.failure is None
    assert {"text": "{result} {a} $1 #1"} in [call.parameters for call in report.calls]


@pytest.mark.parametrize(
    ("story", "step"),
    [
        (Story.begin().close(), {"end": {}}),
        (Story.begin().stop(), {"end": {}}),
        (Story.begin(), {"end": {}}),
        (Story.begin().close(1006, "", "link lost"), {"drop": {}}),
        (Story.begin().close(4300, "Too many.", "busy"), {"close": {"code": 4300, "reason": "Too many."}}),
        (Story().close(3000, "No.", "refused"), {"refuse": {"code": 3000, "reason": "No."}}),
        (
            Story.begin().agent(Error(1011, "Oh.", "llm_error")).close(1011, "Oh.", "trouble on the platform"),
            {"error": {"code": 1011, "error_type": "llm_error", "message": "Oh."}},
        ),
    ],
    ids=["end", "stopped", "cut", "lost", "close", "refused", "error"],
)
async def test_it_ends_as_the_recording_does(story: Story, step: dict[str, Any]) -> None:
    assert list_steps(story) == [step]
    with trio.fail_after(LIMIT):
        assert (await run_scenario(convert(story), TOOLS, time_limit=10)).failure is None


def test_what_toml_cannot_hold_is_written_as_json(tmp_path: Path) -> None:
    odd = {"a": None, "b": 2**63, "c": [{"d": None}], "e": "\x7f\x00\u2028", "f": 1e300, "g": {}}
    (call, _) = list_steps(Story.begin().call("echo", odd))
    assert "parameters" not in call["call"]
    assert '"b":9223372036854775808' in call["call"]["parameters_json"]
    plain = {"a b": {"c.d": [1.5, True, "\x7f\x00\u2028"]}, "g": {}}
    (call, _) = list_steps(Story.begin().call("echo", plain))
    assert call["call"]["parameters"] == plain
