"""What the platform's side does in a conversation, on a clock that is moved: order, pings, clocks, tools, speech."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from convaid.audio import AudioFormat, Converter, make_tone
from convaid.protocol.to_agent import (
    ClientToolResult,
    ContextualUpdate,
    ConversationInitiationClientData,
    MultimodalMessage,
    Pong,
    UserActivity,
    UserAudio,
    UserMessage,
)
from convaid.simulator import Agent, Ending, Rule, Scenario, Voice
from convaid.simulator.scenario import (
    Call,
    Close,
    End,
    ExpectAudio,
    ExpectResults,
    ExpectText,
    Fail,
    Interrupt,
    Raw,
    Say,
    Silence,
)
from convaid.transport import LinkClosed

from .peers import MemoryPeer, hold_conversation

TEXT = Agent(text_only=True)


def make_audio(seconds: float, *, is_loud: bool, audio_format: str = "pcm_16000") -> UserAudio:
    target = AudioFormat.parse(audio_format)
    pcm = make_tone(440, seconds, target.rate, -20) if is_loud else bytes(2 * round(seconds * target.rate))
    sound = Converter(AudioFormat("pcm", target.rate), target).convert(pcm)
    return UserAudio(base64.b64encode(sound).decode())


def find_call_id(peer: MemoryPeer, tool: str) -> str:
    calls = [frame["client_tool_call"] for frame in peer.find("client_tool_call")]
    return str(next(call["tool_call_id"] for call in calls if call["tool_name"] == tool))


# --- the beginning -------------------------------------------------------------------------------------------------


async def test_metadata_comes_first_and_once(autojump_clock: MockClock) -> None:
    scenario = Scenario(agent=Agent(first_message="Hello.", agent_output_audio_format="pcm_24000"), steps=[End()])
    async with hold_conversation(scenario) as (peer, record):
        pass
    assert peer.types()[0] == "conversation_initiation_metadata"
    assert peer.types().count("conversation_initiation_metadata") == 1
    assert peer.sent[0][1]["conversation_initiation_metadata_event"] == {
        "conversation_id": "conv_test",
        "agent_output_audio_format": "pcm_24000",
        "user_input_audio_format": "pcm_16000",
    }
    assert record.ending == Ending("agent", 1000)
    assert peer.closed == LinkClosed(1000)


@pytest.mark.parametrize(
    ("first_frame", "waits"),
    [(None, 1.5), (make_audio(0.1, is_loud=False), 0.0), (ConversationInitiationClientData(), 0.0)],
    ids=["none", "audio", "initiation"],
)
async def test_metadata_waits_for_the_initiation_for_a_while(
    first_frame: Any, waits: float, autojump_clock: MockClock
) -> None:
    async with hold_conversation(Scenario(steps=[End()]), first_frame) as (peer, _):
        began = trio.current_time()
    assert peer.when("conversation_initiation_metadata") == [pytest.approx(began + waits)]


async def test_metadata_may_be_slow(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(agent=Agent(metadata_delay=7), steps=[End()])) as (peer, _):
        began = trio.current_time()
    assert peer.when("conversation_initiation_metadata") == [pytest.approx(began + 7)]


async def test_an_override_that_is_not_allowed_ends_the_conversation(autojump_clock: MockClock) -> None:
    initiation = ConversationInitiationClientData(conversation_config_override={"tts": {"voice_id": "v"}})
    async with hold_conversation(Scenario(), initiation) as (peer, record):
        pass
    reason = "Override for field 'voice_id' is not allowed by config."
    assert peer.types() == ["error"]
    assert peer.sent[0][1]["error_event"] == {"code": 1008, "message": reason, "error_type": "override_error"}
    assert peer.closed == LinkClosed(1008, reason)
    assert record.initiation == initiation


# --- pings and clocks ----------------------------------------------------------------------------------------------


async def test_pings_have_their_own_counter_and_tell_the_round_trip(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(agent=Agent(ping_interval=2))) as (peer, record):
        await trio.sleep(0.25)
        peer.put(Pong(1))
        await trio.sleep(3)
        peer.put(LinkClosed(1000))
    pings = [frame["ping_event"] for frame in peer.find("ping")]
    assert pings == [{"event_id": 1, "ping_ms": None}, {"event_id": 2, "ping_ms": 250}]
    assert record.received["pong"] == 1


async def test_pings_can_stall(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(agent=Agent(ping_interval=float("inf")))) as (peer, _):
        await trio.sleep(30)
        peer.put(LinkClosed(1000))
    assert "ping" not in peer.types()


async def test_no_input_for_a_minute_ends_the_conversation(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario()) as (peer, record):
        began = trio.current_time()
        await trio.sleep(50)
        peer.put(Pong(25))  # is no input
    assert trio.current_time() == pytest.approx(began + 60)
    assert peer.find("error")[0]["error_event"]["error_type"] == "transport_receive_timeout"
    assert record.ending is not None
    assert record.ending.code == 1002


@pytest.mark.parametrize("message", [make_audio(0.02, is_loud=False), UserMessage("hi"), UserActivity()])
async def test_input_restarts_the_minute(message: Any, autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario()) as (peer, _):
        began = trio.current_time()
        await trio.sleep(50)
        peer.put(message)
    assert trio.current_time() == pytest.approx(began + 110)


async def test_the_longest_duration_ends_the_conversation_with_1000(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(agent=Agent(max_duration=20))) as (peer, _):
        began = trio.current_time()
    assert trio.current_time() == pytest.approx(began + 20)
    assert peer.find("error")[0]["error_event"]["error_type"] == "max_duration_exceeded"
    assert peer.closed is not None
    assert peer.closed.code == 1000


# --- text ----------------------------------------------------------------------------------------------------------


async def test_a_turn_in_text_mode_is_streamed_and_shares_one_event_id(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(agent=TEXT, steps=[Say("Good  morning, you."), End()])) as (peer, record):
        pass
    turn = [frame for _, frame in peer.sent if frame["type"].startswith("agent_") and "tool" not in frame["type"]]
    parts = [frame["text_response_part"] for frame in turn[:-2]]
    assert [part["type"] for part in parts] == ["start", "delta", "delta", "delta", "stop"]
    assert "".join(part["text"] for part in parts) == "Good  morning, you."
    assert [frame["type"] for frame in turn[-2:]] == ["agent_response", "agent_response_complete"]
    event_ids = {next(value for key, value in frame.items() if key != "type")["event_id"] for frame in turn}
    assert event_ids == {1}
    assert "audio" not in peer.types()
    assert [(line.speaker, line.text) for line in record.transcript] == [("agent", "Good  morning, you.")]


async def test_what_the_agents_settings_leave_out_is_not_sent(autojump_clock: MockClock) -> None:
    agent = Agent(text_only=True, client_events=["agent_response"])
    async with hold_conversation(
        Scenario(agent=agent, steps=[Say("Hi."), Call("t", response_timeout_secs=1), End()])
    ) as (peer, _):
        pass
    assert set(peer.types()) == {"conversation_initiation_metadata", "ping", "agent_response", "client_tool_call"}


@pytest.mark.parametrize("override", [{"text_only": True}, {"conversation": {"text_only": True}}])
async def test_text_only_may_be_asked_for(override: dict[str, Any], autojump_clock: MockClock) -> None:
    initiation = ConversationInitiationClientData(conversation_config_override=override)
    async with hold_conversation(Scenario(steps=[Say("Hi."), End()]), initiation) as (peer, _):
        pass
    assert "agent_response" in peer.types()
    assert "audio" not in peer.types()


async def test_user_text_comes_back_as_a_transcript(autojump_clock: MockClock) -> None:
    scenario = Scenario(agent=TEXT, steps=[ExpectText("one"), ExpectText("two"), End()])
    async with hold_conversation(scenario) as (peer, record):
        peer.put(UserMessage("Number one"))
        peer.put(MultimodalMessage(text=UserMessage("number TWO")))
        peer.put(UserMessage(None))
        peer.put(ContextualUpdate("it is night"))
    transcripts = [frame["user_transcription_event"] for frame in peer.find("user_transcript")]
    assert [event["user_transcript"] for event in transcripts] == ["Number one", "number TWO"]
    assert transcripts[0]["event_id"] < transcripts[1]["event_id"]
    assert ContextualUpdate("it is night") in record.messages
    assert record.problem is None
    assert [line.text for line in record.transcript] == ["Number one", "number TWO"]


@pytest.mark.parametrize(
    ("step", "text", "problem"),
    [
        (ExpectText("yes", within_ms=5000), None, "steps[0].expect_text: no text within 5000 ms"),
        (ExpectText("yes"), "no", "steps[0].expect_text: expected a text that matches 'yes', got 'no'"),
        (ExpectAudio(), "yes", "steps[0].expect_audio: expected speech, the user came with 'yes'"),
        (ExpectAudio(within_ms=3000), None, "steps[0].expect_audio: no speech within 3000 ms"),
    ],
)
async def test_an_expectation_that_is_not_met_ends_the_conversation(
    step: Any, text: str | None, problem: str, autojump_clock: MockClock
) -> None:
    async with hold_conversation(Scenario(steps=[step, End()])) as (peer, record):
        if text is not None:
            peer.put(UserMessage(text))
    assert record.problem == problem
    assert peer.find("error")[0]["error_event"]["code"] == 1008
    assert peer.closed == LinkClosed(1008, f"scenario: {problem}")


# --- tools ---------------------------------------------------------------------------------------------------------


async def test_a_call_is_recorded_with_its_result_and_its_time(autojump_clock: MockClock) -> None:
    scenario = Scenario(agent=TEXT, steps=[Call("add", {"a": 2}, expect_result="^5$", expect_error=False), End()])
    async with hold_conversation(scenario) as (peer, record):
        await trio.sleep(0.5)
        peer.put(ClientToolResult(find_call_id(peer, "add"), "5", False))
    (call,) = record.calls
    assert (call.tool, call.parameters, call.result, call.is_error) == ("add", {"a": 2}, "5", False)
    assert call.seconds == pytest.approx(0.5)
    (sent,) = peer.find("client_tool_call")
    assert sent["client_tool_call"]["parameters"] == {"a": 2}
    assert sent["client_tool_call"]["expects_response"] is True
    names = [frame["agent_tool_response"]["tool_name"] for frame in peer.find("agent_tool_response")]
    assert names == ["add", "end_call"]


@pytest.mark.parametrize(
    ("expectation", "is_error", "problem"),
    [
        ({"expect_result": "^6$"}, False, "the result of add: expected what matches '^6$', got '5'"),
        ({"expect_error": True}, False, "expected an error of add, got '5'"),
        ({"expect_error": False}, True, "expected a result of add, got '5'"),
    ],
)
async def test_another_result_than_expected(
    expectation: dict[str, Any], is_error: bool, problem: str, autojump_clock: MockClock
) -> None:
    async with hold_conversation(Scenario(steps=[Call("add", **expectation), End()])) as (peer, record):
        await trio.sleep(0.1)
        peer.put(ClientToolResult(find_call_id(peer, "add"), "5", is_error))
    assert record.problem == f"steps[0].call: {problem}"


async def test_a_result_that_never_comes_fails_where_it_was_expected(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(steps=[Call("add", expect_result="5", within_ms=3000)])) as (_, record):
        pass
    assert record.problem == "steps[0].call: add did not answer within 3000 ms"


async def test_a_late_result_is_counted_and_the_agent_has_gone_on(autojump_clock: MockClock) -> None:
    scenario = Scenario(
        agent=TEXT, steps=[Call("slow", response_timeout_secs=2), Say("Never mind."), ExpectText(), End()]
    )
    async with hold_conversation(scenario) as (peer, record):
        await trio.sleep(3)
        peer.put(ClientToolResult(find_call_id(peer, "slow"), "at last", False))
        peer.put(ClientToolResult("call_of_somebody_else", "?", False))
        peer.put(UserMessage("bye"))
    assert (record.counts["late result"], record.counts["unexpected result"]) == (1, 1)
    assert record.calls[0].result is None
    assert record.calls[0].seconds is None
    assert peer.find("agent_tool_response")[0]["agent_tool_response"]["is_error"] is True
    assert record.ending == Ending("agent", 1000)


async def test_calls_overlap_and_results_come_in_any_order(autojump_clock: MockClock) -> None:
    calls = [Call("a", wait=False, expect_result="A"), Call("b", wait=False, expect_result="B")]
    async with hold_conversation(Scenario(steps=[*calls, ExpectResults(), End()])) as (peer, record):
        await trio.sleep(1)
        peer.put(ClientToolResult(find_call_id(peer, "b"), "B", False))
        peer.put(ClientToolResult(find_call_id(peer, "a"), "A", False))
    assert record.problem is None
    assert [call.result for call in record.calls] == ["A", "B"]


async def test_results_that_were_not_waited_for_may_be_missed_later(autojump_clock: MockClock) -> None:
    steps = [Call("a", wait=False), Call("b", wait=False), ExpectResults(within_ms=2000)]
    async with hold_conversation(Scenario(steps=steps)) as (peer, record):
        await trio.sleep(1)
        peer.put(ClientToolResult(find_call_id(peer, "a"), "A", False))
    assert record.problem == "steps[2].expect_results: no result within 2000 ms from: b"


async def test_a_call_that_expects_no_response_is_not_waited_for_but_may_be_answered(autojump_clock: MockClock) -> None:
    steps = [Call("light", expects_response=False), Silence(1), End()]
    async with hold_conversation(Scenario(steps=steps)) as (peer, record):
        await trio.sleep(0.5)
        peer.put(ClientToolResult(find_call_id(peer, "light"), "on", False))
    assert peer.find("client_tool_call")[0]["client_tool_call"]["expects_response"] is False
    assert record.calls[0].result == "on"
    assert not record.counts


# --- rules ---------------------------------------------------------------------------------------------------------


async def test_rules_call_tools_with_what_the_user_said_and_say_the_result(autojump_clock: MockClock) -> None:
    rules = [
        Rule(r"delete note (\d+)", Call("delete", {"number": "#1", "why": ["said $1, {{name}}"]}), "Done: {result}"),
        Rule("bye", say="Goodbye {{name}}.", end=True),
        Rule(say="What?"),
    ]
    initiation = ConversationInitiationClientData(dynamic_variables={"name": "Ada"})
    async with hold_conversation(Scenario(agent=TEXT, rules=rules), initiation) as (peer, record):
        peer.put(UserMessage("mumble"))
        peer.put(UserMessage("delete note " + "9" * 5000))
        await trio.sleep(21)
        peer.put(UserMessage("Please DELETE NOTE 12"))
        await trio.sleep(1)
        peer.put(ClientToolResult(record.calls[1].tool_call_id, "gone", False))
        await trio.sleep(1)
        peer.put(UserMessage("Bye"))
    assert len(record.calls[0].parameters["number"]) == 5000  # no number that fits anywhere
    assert record.calls[1].parameters == {"number": 12, "why": ["said 12, Ada"]}
    said = [line.text for line in record.transcript if line.speaker == "agent"]
    assert said == ["What?", "Done: (no result in time)", "Done: gone", "Goodbye Ada."]
    assert record.ending == Ending("agent", 1000)


async def test_a_rule_may_leave_tool_and_parameters_to_the_user(autojump_clock: MockClock) -> None:
    rules = [Rule(r"call (\w+) with (.*)", Call("$1", parameters_json="$2"), "{result}")]
    async with hold_conversation(Scenario(agent=TEXT, rules=rules)) as (peer, record):
        peer.put(UserMessage('call dim with {"level": 3, "why": "#1 $1 {{name}}"}'))
        await trio.sleep(1)
        peer.put(ClientToolResult(record.calls[0].tool_call_id, "dimmed", False))
        for wrong in ("{", "[1]", '{"level": NaN}', '{"a":' * 300 + "1" + "}" * 300):
            peer.put(UserMessage(f"call dim with {wrong}"))
        await trio.sleep(1)
    assert [(call.tool, call.parameters) for call in record.calls] == [
        ("dim", {"level": 3, "why": "#1 $1 {{name}}"})  # what the user says is not read as a template
    ]
    said = [line.text for line in record.transcript if line.speaker == "agent"]
    assert said[0] == "dimmed"
    assert all("not a JSON object" in text for text in said[1:])
    assert len(said) == 5


async def test_without_a_rule_that_fits_the_agent_keeps_silent(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(agent=TEXT, rules=[Rule("x", say="y")])) as (peer, record):
        peer.put(UserMessage("a"))
        await trio.sleep(1)
        peer.put(LinkClosed(1001, "going away"))
    assert [line.speaker for line in record.transcript] == ["user"]
    assert record.ending == Ending("user", 1001, "going away")


# --- speech --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pcm_8000", "pcm_16000", "pcm_44100", "ulaw_8000"])
async def test_speech_comes_faster_than_real_time_in_the_announced_format(name: str, autojump_clock: MockClock) -> None:
    text = "x" * 60  # four seconds at 15 characters a second
    scenario = Scenario(agent=Agent(agent_output_audio_format=name), steps=[Say(text), End()])
    async with hold_conversation(scenario) as (peer, _):
        pass
    chunks = [base64.b64decode(frame["audio_event"]["audio_base_64"]) for frame in peer.find("audio")]
    assert AudioFormat.parse(name).seconds_of(sum(map(len, chunks))) == pytest.approx(4, abs=0.01)
    assert {frame["audio_event"]["event_id"] for frame in peer.find("audio")} == {1}
    times = peer.when("audio")
    assert times[-1] - times[0] < 1
    assert peer.when("agent_response")[0] <= times[0]
    assert trio.current_time() - times[0] == pytest.approx(
        4, abs=0.01
    )  # the goodbye is heard before the agent hangs up


async def test_the_user_speaks_over_the_agent(autojump_clock: MockClock) -> None:
    scenario = Scenario(steps=[Say("one two three four five six seven eight"), ExpectAudio(), Say("Yes?"), End()])
    async with hold_conversation(scenario) as (peer, record):
        await trio.sleep(0.4)
        peer.put(make_audio(0.1, is_loud=True))
        await trio.sleep(0.05)
        assert peer.types().count("interruption") == 1
        peer.put(make_audio(0.7, is_loud=False))
    interrupted = peer.types().index("interruption")
    assert peer.sent[interrupted][1]["interruption_event"]["event_id"] == 1
    correction = peer.find("agent_response_correction")[0]["agent_response_correction_event"]
    assert correction["corrected_agent_response"] == "one"
    later = [frame["audio_event"]["event_id"] for _, frame in peer.sent[interrupted:] if frame["type"] == "audio"]
    assert later
    assert min(later) > 1
    (transcript,) = peer.find("user_transcript")
    assert transcript["user_transcription_event"]["user_transcript"].startswith("(speech of 0.1 s")
    assert record.problem is None


async def test_an_agent_without_interruption_events_cannot_be_interrupted(autojump_clock: MockClock) -> None:
    agent = Agent(client_events=["audio", "agent_response"])
    async with hold_conversation(Scenario(agent=agent, steps=[Say("x" * 30), End()])) as (peer, _):
        await trio.sleep(0.1)
        peer.put(make_audio(0.3, is_loud=True))
    assert "interruption" not in peer.types()
    assert len(peer.find("audio")) == 20


async def test_the_agent_can_be_interrupted_by_a_step_and_only_while_it_speaks(autojump_clock: MockClock) -> None:
    steps = [Interrupt(), Say("x" * 30), Silence(1), Interrupt(), Interrupt(), End()]
    async with hold_conversation(Scenario(steps=steps)) as (peer, _):
        began = trio.current_time()
    assert [frame["interruption_event"]["event_id"] for frame in peer.find("interruption")] == [1]
    assert trio.current_time() - began == pytest.approx(1.4)  # sending 0.4, silence 1, nothing left to be heard


async def test_a_recording_is_spoken_whole(tmp_path: Any, autojump_clock: MockClock) -> None:
    import wave

    with wave.open(str(tmp_path / "hello.wav"), "wb") as wav:
        wav.setparams((2, 2, 22050, 0, "NONE", ""))
        wav.writeframes(bytes(4 * 22050))
    scenario = Scenario(voice=Voice(wav=tmp_path / "hello.wav"), steps=[Say("Hi."), End()])
    async with hold_conversation(scenario) as (peer, _):
        pass
    size = sum(len(base64.b64decode(frame["audio_event"]["audio_base_64"])) for frame in peer.find("audio"))
    assert size / 32000 == pytest.approx(1, abs=0.01)


# --- endings -------------------------------------------------------------------------------------------------------


async def test_a_failure_is_an_error_frame_and_a_close_with_the_same_code(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(steps=[Fail(1011, "unknown_websocket_crash", "Oh no.")])) as (peer, record):
        pass
    assert peer.types()[-1] == "error"
    assert peer.sent[-1][1]["error_event"] == {
        "code": 1011,
        "message": "Oh no.",
        "error_type": "unknown_websocket_crash",
    }
    assert peer.closed == LinkClosed(1011, "Oh no.")
    assert record.ending is not None
    assert record.ending.error is not None


async def test_a_close_has_no_error_frame_and_its_reason_fits(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(steps=[Close(4300, "ü" * 100)])) as (peer, _):
        pass
    assert "error" not in peer.types()
    assert peer.closed == LinkClosed(4300, "ü" * 61)


async def test_raw_frames_are_sent_as_they_are(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(steps=[Raw('{"type": "news"}'), Raw('{"type": "news"}'), End()])) as (
        peer,
        _,
    ):
        pass
    assert peer.find("news") == [{"type": "news"}] * 2


@pytest.mark.parametrize(
    "frame",
    [
        '{"type": "client_tool_result", "tool_call_id": "c", "result": {"a": 1}, "is_error": false}',
        '{"type": "client_tool_result", "tool_call_id": "c", "result": 5, "is_error": false}',
        '{"user_audio_chunk": "not base64!"}',
        '{"text": " "}',
        "[]",
        "hello",
    ],
)
async def test_an_invalid_message_ends_the_conversation(frame: str, autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario()) as (peer, record):
        peer.put(frame)
    assert peer.find("error")[0]["error_event"]["error_type"] == "invalid_message"
    assert record.ending is not None
    assert record.ending.code == 1008
    assert record.ending.reason.startswith("Invalid message received")


async def test_unknown_types_and_fields_are_ignored_and_counted(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(agent=TEXT, steps=[ExpectText(), End()])) as (peer, record):
        peer.put('{"type": "enclave_setup_config", "x": 1}')
        peer.put('{"type": "user_message", "text": "hi", "mood": "good"}')
    assert record.counts == {"unknown type": 1, "unknown field": 1}
    assert record.problem is None
