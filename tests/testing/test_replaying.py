"""Recordings replayed with real tools: what is the same, what differs, and what is accepted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import pytest
import trio

from convaid import Tool, ToolContext, ToolError, tool
from convaid.config import Secret, ToolsConfig, parse_configuration
from convaid.config.policy import ToolPolicy
from convaid.errors import ConfigurationError
from convaid.plugins import Plugin, Plugins
from convaid.protocol.from_agent import Audio, ClientToolCall, Error, Interruption, Ping, UserTranscript
from convaid.protocol.to_agent import ContextualUpdate, Pong, UserAudio, UserMessage
from convaid.recording import CloseLine, FrameLine, LostLine, Redactor
from convaid.testing.accepting import accept_differences
from convaid.testing.recorded import load_recording
from convaid.testing.replaying import ReplayReport, make_redactor, replay_recording

from .recordings import Story

LIMIT = 20.0  # seconds: longer than any replay here takes
Text = Annotated[str, "a text"]


@tool
def add(a: Annotated[int, "one"], b: Annotated[int, "the other"]) -> dict[str, int]:
    """Add two numbers."""
    return {"sum": a + b}


WAIT = {"seconds": 1.0}


@tool
async def wait_long(context: ToolContext) -> str:
    """Take its time, which an interruption ends."""
    await trio.sleep(WAIT["seconds"])
    return "waited"


@tool
async def promise(seconds: Annotated[float, "how long"], context: ToolContext) -> str:
    """Answer at once, and then come to something."""
    context.defer("I am at it.")
    await trio.sleep(seconds)
    return "found"


@tool
def fail() -> str:
    """Fail."""
    raise ToolError("It cannot be done.")


def make_echo(before: str = "you said ") -> Tool:
    @tool
    def echo(text: Text) -> str:
        """Say the same."""
        if before == "error":
            raise ToolError("I do not repeat that.")
        return before + text

    return echo


CONFIG = ToolsConfig(named={"wait_long": ToolPolicy(on_interrupt="cancel")})


async def replay(story: Story, echo: Tool | None = None, time_limit: float = 10.0, **options: object) -> ReplayReport:
    tools = (add, wait_long, promise, fail, echo or make_echo())
    plugins = Plugins((Plugin("test", "test", "test", "1", "ready", tools=tools),))
    redactor = options.get("redactor")
    assert redactor is None or isinstance(redactor, Redactor)
    with trio.fail_after(LIMIT):
        return await replay_recording(story.read(), plugins, CONFIG, time_limit=time_limit, redactor=redactor)


def list_differences(report: ReplayReport) -> list[str]:
    return [str(difference) for difference in report.differences]


async def test_the_same_tools_come_to_the_same() -> None:
    story = Story.begin().say("Hello").us(UserMessage("Add!")).agent(UserTranscript("Add!", 2))
    story.call("add", {"a": 1, "b": 2}).result('{"sum":3}')
    story.call("echo", {"text": "ünï"}).result("you said ünï").call("fail").result("It cannot be done.", is_error=True)
    story.agent(Ping(1)).us(Pong(1)).us(UserAudio("AAA=")).agent(Audio("AAA=", 3)).say("Done.").close()
    report = await replay(story)
    assert list_differences(report) == []
    assert [(call.tool, call.outcome) for call in report.calls] == [("add", "ok"), ("echo", "ok"), ("fail", "error")]
    assert [line.partition(" ")[0] for line in report.transcript] == [
        "agent:",
        "user:",
        "tool:",
        "tool:",
        "tool:",
        "agent:",
    ]
    assert report.summarize("x.jsonl").passed
    assert report.seconds < 5


async def test_what_differs_is_told_by_its_line() -> None:
    story = Story.begin().call("echo", {"text": "a"}).result("you said a")
    story.call("add", {"a": 1, "b": 1}).result('{"sum":3}').close()
    report = await replay(story, make_echo("error"))
    assert list_differences(report) == [
        "line 5: the result of echo is another one",
        "line 7: the result of add is another one",
    ]
    first, second = report.differences
    assert (first.expected, first.got) == ("you said a", "error: I do not repeat that.")
    assert (second.expected, second.got) == ('{"sum":3}', '{"sum":2}')
    summary = report.summarize("x.jsonl")
    assert summary.failure is not None
    assert str(summary.failure).splitlines() == list_differences(report)


async def test_an_error_of_the_same_words_is_not_the_same() -> None:
    report = await replay(Story.begin().call("fail").result("It cannot be done.").close())
    assert list_differences(report) == ["line 5: fail comes to an error now"]


async def test_a_tool_that_is_gone_differs() -> None:
    report = await replay(Story.begin().call("sing").result("la").close())
    assert list_differences(report) == ["line 5: the result of sing is another one"]
    assert 'There is no tool named "sing"' in report.differences[0].got


async def test_a_result_may_stand_there_as_what_is_expected_of_it() -> None:
    story = Story.begin().call("echo", {"text": "12:30"}).result({"pattern": r"\d\d:\d\d"})
    story.call("add", {"a": 1, "b": 2}).result({"sum": {"any": True}})
    assert list_differences(await replay(story)) == []
    story = Story.begin().call("echo", {"text": "noon"}).result({"pattern": r"\d\d:\d\d"}).close()
    assert list_differences(await replay(story)) == [
        "line 5: the result of echo: expected what matches '\\\\d\\\\d:\\\\d\\\\d', got 'you said noon'"
    ]


async def test_a_pattern_that_takes_too_long_is_a_difference() -> None:
    story = Story.begin().call("echo", {"text": "a" * 50 + "!"}).result({"pattern": "(a|a)+$"}).close()
    (difference,) = (await replay(story)).differences
    assert "takes too long" in difference.message


# --- order, and what is not compared ----------------------------------------------------------------------------------


async def test_what_came_after_a_result_is_played_after_it() -> None:
    """Calls overlap as they did, and the second begins only when the first is over, where it did so then."""
    story = Story.begin().call("wait_long").call("echo", {"text": "a"}).result("you said a")
    story.result("waited", number=1).call("echo", {"text": "b"}).result("you said b").close()
    report = await replay(story)
    assert list_differences(report) == []
    assert [call.tool for call in report.calls] == ["echo", "wait_long", "echo"]


async def test_an_interruption_finds_the_call_that_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WAIT, "seconds", 60)
    text = 'The tool "wait_long" was stopped, because the user interrupted.'
    story = Story.begin().call("wait_long").agent(Interruption(5)).result(text, is_error=True).close()
    for _ in range(5):
        report = await replay(story)
        assert list_differences(report) == []
        assert report.seconds < 5


async def test_calls_to_which_the_recording_has_no_answer_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WAIT, "seconds", 60)
    story = Story.begin().call("echo", {"text": "a"}).call("wait_long").close(1006, "", "link lost")
    report = await replay(story)
    assert list_differences(report) == []
    assert report.seconds < 5


async def test_a_call_that_came_twice_is_run_once() -> None:
    story = (
        Story.begin().call("echo", {"text": "a"}).call("echo", {"text": "a"}, number=1).result("you said a", number=1)
    )
    report = await replay(story.close())
    assert list_differences(report) == []
    assert len(report.calls) == 1


async def test_a_session_that_we_stopped_is_stopped_again() -> None:
    from convaid.session.session import STOPPED

    story = (
        Story.begin().call("echo", {"text": "a"}).result("you said a").call("wait_long").result(STOPPED, is_error=True)
    )
    report = await replay(story.stop())
    assert list_differences(report) == []
    story = Story.begin().call("echo", {"text": "a"}).result("you said a")
    assert list_differences(await replay(story)) == []  # a recording that was cut off


async def test_a_session_that_is_not_over_in_time_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WAIT, "seconds", 60)
    story = Story.begin().call("wait_long").result("waited").close()
    report = await replay(story, time_limit=0.8)
    assert list_differences(report) == ["line 5: it was not over after 0.8 s"]
    assert report.differences[0].accepted is None


async def test_odd_frames_are_played_as_they_came() -> None:
    story = Story.begin().agent("{no JSON").agent("").agent({"type": "from_the_future", "x": {"y": [None, 1.5]}})
    story.add(FrameLine(9, "agent", binary="AAECAw==")).agent({"type": "ping"}).agent({})
    story.agent(ClientToolCall("add", "call_odd", "no table")).call("echo", {"text": "a"}).result("you said a").close()
    report = await replay(story)
    assert list_differences(report) == []
    assert [call.outcome for call in report.calls] == ["invalid", "ok"]


async def test_what_the_recording_lacks_is_noted() -> None:
    story = Story.begin().add(FrameLine(2, "agent", left_out=2_000_000)).add(LostLine(3, 5))
    report = await replay(story.result("of a call that is lost", number=7).close())
    assert list_differences(report) == []
    assert report.notes == (
        "line 4: a frame of 2000000 characters is not in the recording",
        "line 5: 5 frames are not in the recording",
        "line 6: the call that this answers is not in the recording",
    )


# --- endings ----------------------------------------------------------------------------------------------------------


async def test_an_ending_of_the_platforms_is_compared() -> None:
    error = Error(1008, "Override for field 'x' is not allowed by config.", "override_error")
    story = Story.begin().agent(error).close(1008, "Override", "contract fault")
    report = await replay(story)
    assert list_differences(report) == [f"line {len(story.lines) + 1}: the session ended otherwise"]
    assert report.differences[0].expected == "contract fault, 1008: Override"
    (accepted,) = report.differences[0].accepted or ()
    story.lines[-1] = accepted
    assert list_differences(await replay(story)) == []


@pytest.mark.parametrize(
    ("code", "reason", "end"),
    [(3000, "Could not authorize the conversation.", "refused"), (1000, "", "refused"), (1006, "", "link lost")],
)
async def test_a_session_that_never_began_ends_as_it_did(code: int, reason: str, end: str) -> None:
    assert list_differences(await replay(Story().close(code, reason, end))) == []


# --- what comes late --------------------------------------------------------------------------------------------------

LATE = 'The tool "promise", which was called earlier with {"seconds":0.1}, has ended: found'


async def test_what_comes_late_is_waited_for_and_compared() -> None:
    story = Story.begin().call("promise", {"seconds": 0.1}).result("I am at it.").us(ContextualUpdate(LATE)).close()
    assert list_differences(await replay(story)) == []
    story.lines[-3] = FrameLine(9, "us", frame={"type": "contextual_update", "text": "lost"})
    report = await replay(story)
    assert list_differences(report) == ["line 6: what the agent is told late is something else"]
    assert report.differences[0].got == LATE


async def test_what_comes_late_and_is_not_in_the_recording_is_told() -> None:
    story = (
        Story.begin().call("promise", {"seconds": 0.1}).result("I am at it.").call("wait_long").result("waited").close()
    )
    report = await replay(story)
    assert list_differences(report) == ["line 8: the agent is told late of something that is not in the recording"]
    assert report.differences[0].is_addition


async def test_what_never_comes_is_told() -> None:
    story = Story.begin().call("echo", {"text": "a"}).result("you said a").us(ContextualUpdate("?")).close()
    report = await replay(story, time_limit=0.8)
    assert list_differences(report) == ["line 6: it was not over after 0.8 s"]


# --- what is redacted -------------------------------------------------------------------------------------------------


async def test_names_of_variables_stand_for_their_values_on_both_sides() -> None:
    story = Story.begin().call("echo", {"text": "{{customer}}"}).result("you said {{customer}}").close()
    assert list_differences(await replay(story)) == []


async def test_secrets_in_results_are_taken_out_before_they_are_compared() -> None:
    story = Story.begin().call("echo", {"text": "a"}).result("the key *** and sk_***: a").close()
    echo = make_echo("the key s3cret-value and sk_0123456789abcdef: ")
    assert list_differences(await replay(story, echo, redactor=Redactor([Secret("s3cret-value")]))) == []


def test_the_api_key_that_there_is_now_is_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "0123456789abcdef" * 2)
    configuration = parse_configuration(
        '[plugins.test]\npassword = "s3cret-value"\n[conversations.a]\nagent_id = "a"', "x"
    )
    text = f"{'0123456789abcdef' * 2} and s3cret-value"
    assert make_redactor(configuration).redact_text(text) == "*** and ***"
    monkeypatch.setenv("ELEVENLABS_API_KEY", "two words")  # which cannot be used, and is not needed
    assert make_redactor(configuration).redact_text("s3cret-value") == "***"


async def test_where_arguments_are_redacted_the_difference_says_so() -> None:
    story = Story.begin().call("echo", {"text": "***"}).result("you said something").close()
    (difference,) = (await replay(story)).differences
    assert difference.message.endswith("; what it was called with is redacted in the recording")


# --- accepting --------------------------------------------------------------------------------------------------------


async def test_what_has_changed_can_be_accepted(tmp_path: Path) -> None:
    story = Story.begin().say("Hello").call("echo", {"text": "a"}).result("you said a")
    story.call("echo", {"text": "b"}).result({"pattern": "said"}).call("promise", {"seconds": 0.05}).result("No.")
    story.call("wait_long").result("waited").close(1000, "", "refused")
    path = tmp_path / "story.jsonl"
    path.write_bytes(story.write().replace(b'"Hello"', b'"H\\u0065llo"'))
    path.chmod(0o640)
    (tmp_path / "link.jsonl").symlink_to(path)

    async def replay_file(echo: Tool) -> tuple[list[str], list[str]]:
        recording = load_recording(tmp_path / "link.jsonl")
        plugins = Plugins((Plugin("test", "test", "test", "1", "ready", tools=(echo, promise, wait_long)),))
        with trio.fail_after(LIMIT):
            report = await replay_recording(recording, plugins)
        return list_differences(report), [str(rest) for rest in accept_differences(recording, report.differences)]

    told, rest = await replay_file(make_echo("you shouted "))
    pattern = "line 8: the result of echo: expected what matches 'said', got 'you shouted b'"
    assert told == [
        "line 6: the result of echo is another one",
        pattern,
        "line 10: the result of promise is another one",
        "line 13: the agent is told late of something that is not in the recording",
        "line 14: the session ended otherwise",
    ]
    assert rest == [pattern]
    assert '"H\\u0065llo"' in path.read_text()  # what does not differ stays to the letter
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link.jsonl", "story.jsonl"]
    assert (tmp_path / "link.jsonl").is_symlink()
    assert await replay_file(make_echo("you shouted ")) == ([pattern], [pattern])
    frames = [json.loads(line).get("frame", {}) for line in path.read_text().splitlines()]
    assert [frame["result"] for frame in frames if "result" in frame] == [
        "you shouted a",
        {"pattern": "said"},
        "I am at it.",
        "waited",
    ]
    assert (await replay_file(make_echo("you said ")))[1] == []
    assert await replay_file(make_echo("you said ")) == ([], [])


async def test_where_nothing_differs_the_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "story.jsonl"
    path.write_bytes(Story.begin().close().write())
    before = path.stat()
    assert accept_differences(load_recording(path), []) == []
    assert path.stat() == before


async def test_a_result_that_never_came_is_removed_where_that_is_accepted(tmp_path: Path) -> None:
    story = Story.begin().call("wait_long").add(CloseLine(3, "agent", 1000)).result("waited")
    path = tmp_path / "story.jsonl"
    path.write_bytes(story.write())
    recording = load_recording(path)
    report = await replay_recording(
        recording, Plugins((Plugin("test", "test", "test", "1", "ready", tools=(wait_long,)),))
    )
    assert list_differences(report) == ["line 6: wait_long has not answered: the session was over before"]
    assert accept_differences(recording, report.differences) == []
    assert list(load_recording(path).lines) == [2, 3, 4, 5]


# --- files that cannot be used ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        ({"pattern": "("}, "line 5.frame.result: is not a regular expression"),
        ({"a": [{"pattern": "("}]}, "line 5.frame.result: a[0]: is not a regular expression"),
    ],
)
def test_expectations_that_cannot_be_are_told_by_their_lines(tmp_path: Path, result: object, problem: str) -> None:
    path = tmp_path / "story.jsonl"
    path.write_bytes(Story.begin().call("echo").result(result).close().write())
    with pytest.raises(ConfigurationError) as caught:
        load_recording(path)
    assert problem in str(caught.value)


def test_other_slips_of_whoever_edits_a_recording_are_told_too(tmp_path: Path) -> None:
    path = tmp_path / "story.jsonl"
    story = (
        Story.begin()
        .call("echo")
        .us({"type": "client_tool_result", "tool_call_id": "x", "result": "", "is_error": "no"})
    )
    path.write_bytes(story.add(FrameLine(9, "agent", binary="?")).write())
    with pytest.raises(ConfigurationError) as caught:
        load_recording(path)
    assert [problem.path for problem in caught.value.problems] == ["line 5.frame.is_error", "line 6.binary"]
