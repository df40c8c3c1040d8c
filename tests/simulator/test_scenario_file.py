"""Scenarios from TOML: every step in both spellings, every problem with its place, the bundled ones."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path

import attrs
import pytest

from convaid.audio import WavWriter
from convaid.errors import ConfigurationError
from convaid.protocol.from_agent import AgentTyping, VadScore
from convaid.simulator import Scenario, load_scenario, parse_scenario
from convaid.simulator.scenario import (
    STEPS,
    Alternative,
    Branch,
    Call,
    Close,
    Drop,
    End,
    ExpectAudio,
    ExpectResults,
    ExpectText,
    Fail,
    Frame,
    Freeze,
    Interrupt,
    McpCall,
    Raw,
    Refuse,
    Rule,
    Say,
    Send,
    Silence,
    find_short_field,
)

EVERY_STEP = """
[agent]
client_events = ["audio"]
max_duration = inf

[voice]
tone = 440

[[steps]]
refuse = {code = 3008, reason = "busy"}
[[steps]]
say = "Hello"
[[steps]]
say = {text = "Hello"}
[[steps]]
expect_text = "hi|hello"
[[steps]]
expect_text = {within_ms = 5000}
[[steps]]
expect_audio = {}
[[steps]]
call = "now"
[[steps]]
call = {tool = "now", parameters = {zone = {name = "UTC"}}, expect_result = "12", within_ms = 3000, wait = false}
[[steps]]
branch = [{when = "yes"}]
[[steps]]
expect_results = {}
[[steps]]
mcp_call = {tool = "find", parameters = {word = "x"}, approval_timeout_secs = 5, expect_approved = true}
[[steps]]
send = {type = "vad_score", vad_score_event = {vad_score = 0.5}, after_ms = 10}
[[steps]]
send = {type = "agent_typing", agent_typing_event = {is_typing = true}}
[[steps]]
interrupt = {}
[[steps]]
silence = 1.5
[[steps]]
freeze = 2
[[steps]]
error = {code = 1011, error_type = "unknown_websocket_crash"}
[[steps]]
close = 4300
[[steps]]
drop = {after_ms = 250}
[[steps]]
raw = "not JSON"
[[steps]]
frame = "AP8="
[[steps]]
end = {}

[[rules]]
when = "time (.*)"
call = {tool = "now", parameters = {zone = "$1"}}
say = "{result}"
end = true
"""


BRANCHES = """
[[steps]]
say = "Tea or coffee?"

[[steps]]
[[steps.branch.among]]
when = "(tea|coffee)"
example = "Tea, please."
steps = [
    {say = "Milk with your $1?"},
    {branch = [{when = "yes", steps = [{call = "pour_milk"}]}, {}]},
]
[[steps.branch.among]]
again = true
steps = [{say = "Pardon?"}]

[[steps]]
end = {}
"""


def find_problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        parse_scenario(text, "story.toml")
    assert raised.value.source == "story.toml"
    return [str(problem) for problem in raised.value.problems]


def test_every_step_can_be_written() -> None:
    scenario = parse_scenario(EVERY_STEP, "tales/story.toml")
    assert scenario.name == "story"
    assert scenario.agent.client_events == ["audio"]
    assert scenario.agent.max_duration == float("inf")
    assert scenario.voice.tone == 440
    assert list(scenario.steps) == [
        Refuse(3008, "busy"),
        Say("Hello"),
        Say("Hello"),
        ExpectText("hi|hello"),
        ExpectText(within_ms=5000),
        ExpectAudio(),
        Call("now"),
        Call("now", {"zone": {"name": "UTC"}}, "12", within_ms=3000, wait=False),
        Branch([Alternative("yes")]),
        ExpectResults(),
        McpCall("find", {"word": "x"}, approval_timeout_secs=5, expect_approved=True),
        Send(VadScore(0.5), after_ms=10),
        Send(AgentTyping(True)),
        Interrupt(),
        Silence(1.5),
        Freeze(2),
        Fail(1011, "unknown_websocket_crash"),
        Close(4300),
        Drop(after_ms=250),
        Raw("not JSON"),
        Frame("AP8="),
        End(),
    ]
    assert {type(step) for step in scenario.steps} == set(STEPS.values())
    assert list(scenario.rules) == [Rule("time (.*)", Call("now", {"zone": "$1"}), "{result}", True)]
    assert scenario.refusal == Refuse(3008, "busy")


def test_branches_have_steps_of_their_own() -> None:
    milk = Branch([Alternative("yes", [Call("pour_milk")]), Alternative()])
    assert parse_scenario(BRANCHES, "story.toml").steps == [
        Say("Tea or coffee?"),
        Branch(
            [
                Alternative("(tea|coffee)", [Say("Milk with your $1?"), milk], example="Tea, please."),
                Alternative(steps=[Say("Pardon?")], again=True),
            ]
        ),
        End(),
    ]


def test_an_empty_file_is_an_agent_that_listens() -> None:
    assert parse_scenario("", "quiet.toml") == Scenario("quiet", steps=[], rules=[])


def test_every_problem_is_told_with_its_place() -> None:
    problems = find_problems("""
        [agent]
        ping_intervall = 2
        user_input_audio_format = "mp3"
        max_duration = 0
        metadata_delay = -1
        [[steps]]
        sai = "Hello"
        [[steps]]
        expect_text = "("
        [[steps]]
        silence = "long"
        [[steps]]
        call = {parameters = 3}
        [[steps]]
        refuse = {code = 70000, status = 200}
        [[rules]]
        when = 5
    """)
    assert [problem.partition(": ")[0] for problem in sorted(problems)] == [
        "agent.max_duration",
        "agent.metadata_delay",
        "agent.ping_intervall",
        "agent.user_input_audio_format",
        "rules[0].when",
        "steps[0].sai",
        "steps[1].expect_text.matches",
        "steps[2].silence.seconds",
        "steps[3].call.parameters",
        "steps[3].call.tool",
        "steps[4].refuse.code",
        "steps[4].refuse.status",
    ]
    assert any('did you mean "ping_interval"?' in problem for problem in problems)
    assert any('did you mean "say"?' in problem for problem in problems)
    assert any("not a regular expression" in problem for problem in problems)


def test_every_problem_of_a_branch_is_told_with_its_place() -> None:
    assert find_problems("""
        [[steps]]
        branch = 3
        [[steps]]
        branch = []
        [[steps]]
        branch = [
            {when = "(", steps = [{sai = "Hello"}, {say = 3}]},
            5,
            {wen = "tea", steps = 3},
            {steps = [
                {branch = [{steps = [{refuse = {}}, {call = {tool = "t", expect_result = {a = {pattern = "("}}}}]}]},
            ]},
        ]
    """) == [
        "steps[0].branch.among: expected a list, got the number 3",
        "steps[1].branch.among: must not be empty",
        "steps[2].branch.among[0].when: is not a regular expression: missing ), unterminated subpattern at position 0",
        "steps[2].branch.among[1]: expected a table (object), got the number 5",
        'steps[2].branch.among[2].wen: is not known; did you mean "when"?',
        'steps[2].branch.among[0].steps[0].sai: is not known; did you mean "say"?',
        "steps[2].branch.among[0].steps[1].say.text: expected text, got the number 3",
        "steps[2].branch.among[2].steps: expected a list, got the number 3",
        "steps[2].branch.among[3].steps[0].branch.among[0].steps[1].call.expect_result: "
        "a: is not a regular expression: missing ), unterminated subpattern at position 0",
        "steps[2].branch.among[3].steps[0].branch.among[0].steps[0].refuse: "
        "only the first step can refuse the conversation",
    ]


def test_branches_may_not_be_nested_for_ever() -> None:
    text = "{branch = [{steps = [" * 30 + "]}]}" * 30
    (problem,) = find_problems(f"steps = [{text}]")
    assert problem.endswith("is nested too deeply")


def test_problems_between_steps() -> None:
    assert find_problems("""
        [[steps]]
        [[steps]]
        say = "a"
        drop = {}
        [[steps]]
        refuse = {}
        [voice]
        wav = "nothing.wav"
    """) == [
        "steps[0]: a step has one name, this one has 0",
        "steps[1]: a step has one name, this one has 2",
        "steps[2].refuse: only the first step can refuse the conversation",
        "voice.wav: cannot be read: [Errno 2] No such file or directory: 'nothing.wav'",
    ]


@pytest.mark.parametrize("text", ["steps = 3", "steps = [3]", "[[steps]]\nsay = 3", "[steps]\nsay = 'x'"])
def test_odd_shapes_are_problems_too(text: str) -> None:
    assert find_problems(text)


def test_an_event_that_there_is_not_is_a_problem() -> None:
    (problem,) = find_problems('agent.client_events = ["audio", "user_transcripts"]')
    assert problem.startswith('agent.client_events: the text "user_transcripts" is no event; did you mean user_transcr')
    assert "tentative_user_transcript" in problem
    (problem,) = find_problems('agent.guesses.new_agent_events = ["noise"]')
    assert problem.startswith('agent.guesses.new_agent_events: the text "noise" is no event; known here: agent_')


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "story.toml")
    with pytest.raises(ConfigurationError, match=r"story\.toml: cannot be read: it is no regular file"):
        load_scenario(tmp_path / "story.toml")
    with pytest.raises(ConfigurationError, match=r"voice\.wav: cannot be read: .*it is no regular file"):
        parse_scenario('voice.wav = "story.toml"', "other.toml", tmp_path)


def test_a_variable_that_cannot_be_told_by_rest_is_a_problem() -> None:
    (problem,) = find_problems("[agent.dynamic_variables]\ncount = 10000000000000000000000")
    assert problem.startswith("agent.dynamic_variables: cannot be written as JSON")


def test_what_is_not_toml_is_told() -> None:
    (problem,) = find_problems("steps = [")
    assert problem.startswith("is not TOML")


def test_a_file_is_read_and_a_recording_is_found_beside_it(tmp_path: Path) -> None:
    with (tmp_path / "hello.wav").open("wb", buffering=0) as file:
        WavWriter(file, 16000).write(bytes(32000))
    (tmp_path / "story.toml").write_text('voice = {wav = "hello.wav"}')
    scenario = load_scenario(tmp_path / "story.toml")
    assert (scenario.name, scenario.voice.wav) == ("story", tmp_path / "hello.wav")
    with pytest.raises(ConfigurationError, match=re.escape("other.toml: cannot be read")):
        load_scenario(str(tmp_path / "other.toml"))


BUNDLED = [Path(str(file)).stem for file in (files("convaid.simulator") / "scenarios").iterdir()]


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_scenarios_are_sound(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    for step in scenario.steps:
        if isinstance(step, ExpectText):
            assert step.example
            assert re.search(step.matches, step.example, re.IGNORECASE)
    for rule in scenario.rules:
        assert rule is next(other for other in scenario.rules if re.search(other.when, rule.example, re.IGNORECASE))
        used = {int(number) for number in re.findall(r"[$#](\d)", f"{rule.call and rule.call.parameters} {rule.say}")}
        assert max(used, default=0) <= re.compile(rule.when).groups


def test_the_bundled_ones_are_those_that_are_named() -> None:
    assert {"default", "demo"} <= set(BUNDLED)
    demo = load_scenario("demo")
    assert len(demo.examples) == 4
    assert {step.tool for step in demo.steps if isinstance(step, Call)} == {"current_time", "add_note", "search_notes"}
    assert isinstance(demo.steps[-1], End)


@pytest.mark.parametrize(
    ("text", "tool", "parameters"),
    [
        ("What time is it?", "current_time", {}),
        ("what's the time in europe/berlin?", "current_time", {"zone": "$1"}),
        ("Which day is it", "current_time", {}),
        ("Remember that the tea is finished", "add_note", {"text": "$1"}),
        ("note down: buy tea", "add_note", {"text": "$1"}),
        ("Show my notes", "list_notes", {}),
        ("search my notes for tea.", "search_notes", {"words": "$1"}),
        ("delete note 12", "delete_note", {"number": "#1"}),
        ("Bye", None, None),
        ("Why?", None, None),
    ],
)
def test_the_default_rules_find_their_tool(text: str, tool: str | None, parameters: dict[str, str] | None) -> None:
    rule = next(rule for rule in load_scenario("default").rules if re.search(rule.when, text, re.IGNORECASE))
    assert (rule.call and rule.call.tool, rule.call and rule.call.parameters) == (tool, parameters)


def test_every_step_has_a_first_field_that_may_stand_alone_or_none() -> None:
    for cls in STEPS.values():
        for field in attrs.fields(cls):
            assert field.default is not attrs.NOTHING or field == find_short_field(cls), (
                f"{cls.__name__}.{field.name} cannot be left out"
            )
