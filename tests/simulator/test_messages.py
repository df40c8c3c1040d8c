"""What the user's messages do, what the platform tells by itself, and what a scenario has it send."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from convaid.errors import ConfigurationError
from convaid.protocol.from_agent import Audio
from convaid.protocol.to_agent import (
    ClientToolResult,
    ContextualUpdate,
    Feedback,
    FileInput,
    McpToolApprovalResult,
    MultimodalMessage,
    UserMessage,
)
from convaid.protocol.user_side import UserSide
from convaid.session.heard import Ledger
from convaid.simulator import Agent, Rule, Scenario, parse_scenario
from convaid.simulator.fields import EVENTS
from convaid.simulator.record import UploadedFile
from convaid.simulator.scenario import Call, End, ExpectAudio, ExpectText, Interrupt, McpCall, Say, Silence
from convaid.transport import LinkClosed

from .peers import MemoryPeer, hold_conversation
from .test_conversation import make_audio

TALK = Agent(client_events=EVENTS)
TEXT = Agent(client_events=EVENTS, text_only=True)
PHOTO = UploadedFile("file_1", "photo.png", "image/png", b"")


# --- the user's side -----------------------------------------------------------------------------------------------


async def test_a_contextual_update_replaces_those_of_its_id(autojump_clock: MockClock) -> None:
    updates = [
        ContextualUpdate("on page 1", "page"),
        ContextualUpdate("it is night"),
        ContextualUpdate("on page 2", "page"),
        ContextualUpdate("it is late"),
    ]
    async with hold_conversation(Scenario(agent=TEXT, rules=[Rule(say="x")])) as (peer, record):
        for update in updates:
            peer.put(update)
        await trio.sleep(1)
        peer.put(LinkClosed(1000))
    assert record.context == [updates[1], updates[2], updates[3]]
    assert "agent_response" not in peer.types()


async def test_feedback_is_for_a_turn_and_can_be_taken_back(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(agent=TEXT)) as (peer, record):
        for event_id, score in ((1, "like"), (2, "dislike"), (1, "dislike"), (2, None)):
            peer.put(Feedback(event_id, score))  # type: ignore[arg-type]
        await trio.sleep(1)
        peer.put(LinkClosed(1000))
    assert record.scores == {1: "dislike"}


async def test_files_are_told_with_the_text(autojump_clock: MockClock) -> None:
    texts = ["What is this? (file photo.png)", "(file photo.png)"]
    steps = [*(ExpectText(text.replace("?", r"\?").replace("(", r"\(").replace(")", r"\)")) for text in texts), End()]
    async with hold_conversation(Scenario(agent=TEXT, steps=steps)) as (peer, record):
        record.files["file_1"] = PHOTO
        file = FileInput("file_1")
        peer.put(MultimodalMessage(UserMessage("What is this?"), file, [file]))  # as the official Python SDK sends it
        peer.put(MultimodalMessage(file=file))
        peer.put(MultimodalMessage())
    assert record.problem is None
    assert [line.text for line in record.transcript] == texts


async def test_an_unknown_file_ends_the_conversation(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(agent=TEXT)) as (peer, _):
        peer.put(MultimodalMessage(file=FileInput("file_2")))
    assert peer.closed == LinkClosed(1008, "File with id file_2 not found.")
    assert peer.find("error")[0]["error_event"]["error_type"] == "value_error"


# --- the platform's side -------------------------------------------------------------------------------------------


async def test_while_the_user_speaks_the_platform_tells_what_it_hears(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(agent=TALK, steps=[ExpectAudio(), End()])) as (peer, _):
        await trio.sleep(1)
        for is_loud in [False] * 2 + [True] * 12 + [False] * 7:
            peer.put(make_audio(0.1, is_loud=is_loud))
            await trio.sleep(0.1)
    scores = [frame["vad_score_event"]["vad_score"] for frame in peer.find("vad_score")]
    assert scores[:2] == [0, 0]
    assert all(score > 0.9 for score in scores[2:14])
    assert scores[14:20] == [0] * 6
    tentative = [frame["tentative_user_transcription_event"] for frame in peer.find("tentative_user_transcript")]
    assert [event["user_transcript"] for event in tentative] == [
        f"(speech of {seconds:.1f} s so far)" for seconds in (0.5, 1.0, 1.5)
    ]
    (final,) = peer.find("user_transcript")
    assert {event["event_id"] for event in tentative} == {final["user_transcription_event"]["event_id"]}


async def test_the_last_piece_of_speech_is_final_and_characters_have_their_times(autojump_clock: MockClock) -> None:
    async with hold_conversation(Scenario(agent=TALK, steps=[Say("Good morning."), End()])) as (peer, _):
        pass
    events = [frame["audio_event"] for frame in peer.find("audio")]
    assert [event["is_final"] for event in events] == [False] * (len(events) - 1) + [True]
    assert "".join("".join(event["alignment"]["chars"]) for event in events) == "Good morning."
    assert all(
        0 <= start < 100 + duration
        for event in events
        for start, duration in zip(
            event["alignment"]["char_start_times_ms"], event["alignment"]["char_durations_ms"], strict=True
        )
    )
    (usage,) = peer.find("context_usage")
    assert usage["context_usage_event"]["event_id"] == events[0]["event_id"]
    assert peer.types()[1] == "asr_initiation_metadata"


@pytest.mark.parametrize("unheard", [0.2, 1.0, 1.95])
async def test_the_times_of_the_characters_say_how_far_a_turn_was_heard(
    unheard: float, autojump_clock: MockClock
) -> None:
    said = "One two three four five six seven."
    async with hold_conversation(Scenario(agent=TALK, steps=[Say(said), End()])) as (peer, _):
        pass
    side, ledger, arrived = UserSide(), Ledger(), 0.0
    for _, frame in peer.sent:
        if isinstance(message := side.receive(json.dumps(frame)), Audio):
            seconds = len(b64decode(message.audio_base_64)) / 32000
            arrived += seconds
            ledger.add_speech(message, seconds, arrived)
    assert arrived == pytest.approx(len(said) / 15, abs=0.001)
    (heard,) = ledger.cut(unheard)
    assert heard.text is not None
    assert said.startswith(heard.text)
    assert len(heard.text) == pytest.approx((arrived - unheard) * 15, abs=2)


async def test_what_is_cut_off_is_never_final_nor_complete(autojump_clock: MockClock) -> None:
    agent = Agent(client_events=EVENTS)
    steps = [Say("x" * 200, after_ms=10), End()]
    async with hold_conversation(Scenario(agent=agent, steps=steps)) as (peer, record):
        await trio.sleep(0.3)
        peer.put(make_audio(0.2, is_loud=True))
    assert not any(frame["audio_event"]["is_final"] for frame in peer.find("audio"))
    assert "agent_response_complete" not in peer.types()
    assert list(record.corrections) == [1]


async def test_the_full_result_of_a_tool_is_told_and_cut(autojump_clock: MockClock) -> None:
    scenario = Scenario(agent=TEXT, steps=[Call("a"), Call("b"), Call("c", response_timeout_secs=1), End()])
    async with hold_conversation(scenario) as (peer, record):
        for result, error_type in (("y" * 100_000, None), ("no, thanks", "user_rejected")):
            await trio.sleep(0.1)
            peer.put(ClientToolResult(record.calls[-1].tool_call_id, result, False, error_type))  # type: ignore[arg-type]
    told = [frame["agent_tool_response_full_payload"] for frame in peer.find("agent_tool_response_full_payload")]
    assert [(len(each["full_tool_result"]), each["truncated"]) for each in told] == [
        (65536, True),
        (10, False),
        (0, False),
    ]
    assert [(each["is_error"], each["is_called"]) for each in told] == [(False, True), (True, False), (True, True)]
    requests = [frame["agent_tool_request"] for frame in peer.find("agent_tool_request")]
    assert requests[0]["response_timeout_secs"] == 20
    assert requests[2]["response_timeout_secs"] == 1
    assert {"expects_response", "disable_interruptions", "execution_mode"} <= requests[0].keys()


# --- calls to MCP servers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "states", "end"),
    [
        (True, ["loading", "awaiting_approval", "success"], {"result": [{"type": "text", "text": "42"}]}),
        (False, ["loading", "awaiting_approval", "failure"], {"error_message": "The user has rejected the tool call."}),
        (
            None,
            ["loading", "awaiting_approval", "failure"],
            {"error_message": "The approval of the tool call has timed out."},
        ),
    ],
)
async def test_a_call_of_an_mcp_tool_waits_for_approval(
    answer: bool | None, states: list[str], end: dict[str, Any], autojump_clock: MockClock
) -> None:
    call = McpCall("find", {"word": "x"}, approval_timeout_secs=10, result="42")
    async with hold_conversation(Scenario(agent=TEXT, steps=[call, Say("{result}"), End()])) as (peer, record):
        await trio.sleep(1)
        call_id = peer.find("mcp_tool_call")[0]["mcp_tool_call"]["tool_call_id"]
        peer.put(McpToolApprovalResult("another", True))
        if answer is not None:
            peer.put(McpToolApprovalResult(call_id, answer))
            peer.put(McpToolApprovalResult(call_id, not answer))  # too late
    calls = [frame["mcp_tool_call"] for frame in peer.find("mcp_tool_call")]
    assert [each["state"] for each in calls] == states
    assert calls[1]["approval_timeout_secs"] == 10
    assert end.items() <= calls[2].items()
    response = peer.find("agent_tool_response")[0]["agent_tool_response"]
    assert (response["tool_type"], response["is_called"]) == ("mcp", answer is True)
    assert record.counts["unexpected approval"] == (1 if answer is None else 2)


async def test_an_mcp_tool_may_need_no_approval_and_fail(autojump_clock: MockClock) -> None:
    call = McpCall("find", needs_approval=False, error="It is broken.")
    async with hold_conversation(Scenario(agent=TEXT, steps=[call, Say("{result}"), End()])) as (peer, record):
        pass
    assert [frame["mcp_tool_call"]["state"] for frame in peer.find("mcp_tool_call")] == ["loading", "failure"]
    assert record.transcript[0].text == "It is broken."


async def test_what_is_expected_of_an_approval(autojump_clock: MockClock) -> None:
    call = McpCall("find", expect_approved=True)
    async with hold_conversation(Scenario(agent=TEXT, steps=[call, End()])) as (peer, record):
        await trio.sleep(1)
        peer.put(McpToolApprovalResult(peer.find("mcp_tool_call")[0]["mcp_tool_call"]["tool_call_id"], False))
    assert record.problem == "steps[0].mcp_call: expected an approval of find, got a rejection"


# --- messages by hand ----------------------------------------------------------------------------------------------


def parse_sending(*messages: str) -> Scenario:
    steps = "".join(f"[[steps]]\nsend = {message}\n" for message in messages)
    return parse_scenario(f"[agent]\nclient_events = []\n{steps}[[steps]]\nclose = 4000\n", "story.toml")


async def play(*messages: str) -> MemoryPeer:
    async with hold_conversation(parse_sending(*messages)) as (peer, _):
        pass
    return peer


async def test_any_message_can_be_sent_by_hand_and_is_numbered(autojump_clock: MockClock) -> None:
    peer = await play(
        '{type = "agent_typing", agent_typing_event = {is_typing = true}, after_ms = 500}',
        '{type = "agent_response", agent_response_event = {agent_response = "Hi."}}',
        '{type = "agent_reasoning_response_part", reasoning_response_part = {text = "Hm.", type = "delta"}}',
        '{type = "agent_response_metadata", agent_response_metadata_event = {metadata = {a = 1}, event_id = 9}}',
        '{type = "external_agent_connected"}',
        '{type = "asr_initiation_metadata", asr_initiation_metadata_event = {model = "m"}}',
    )
    sent = [frame for _, frame in peer.sent if frame["type"] not in ("conversation_initiation_metadata", "ping")]
    assert sent[0] == {"type": "agent_typing", "agent_typing_event": {"is_typing": True}}
    assert sent[1]["agent_response_event"] == {"agent_response": "Hi.", "event_id": 2}
    assert sent[2]["reasoning_response_part"]["event_id"] == "3"
    assert sent[3]["agent_response_metadata_event"]["event_id"] == 9
    assert [frame["type"] for frame in sent[4:]] == ["external_agent_connected", "asr_initiation_metadata"]
    assert peer.closed == LinkClosed(4000)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("3", "expected a table (object), got the number 3"),
        ("{}", "has no type"),
        ('{type = "vad_scor"}', 'did you mean "vad_score"?'),
        ('{type = "dtmf_request"}', "as raw"),
        ('{type = "vad_score", vad_score_event = {vad_score = "much"}}', "vad_score.vad_score: expected a number"),
        ('{type = "vad_score", vad_score_event = {vad_score = 0.5, x = 1}}', "vad_score.x is not known"),
        ('{type = "vad_score"}', "vad_score.vad_score_event: expected an object"),
        ('{type = "ping", ping_event = {event_id = 99999999999999999999}}', "cannot be written as JSON"),
        ('{type = "conversation_initiation_metadata"}', "it comes by itself"),
        ('{type = "error", error_event = {code = 1011}}', "there is a step for that"),
        ('{type = "vad_score", vad_score_event = {vad_score = 0.5}, after_ms = -1}', "after_ms"),
    ],
)
def test_a_message_that_the_protocol_does_not_know_is_refused_with_its_place(message: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_sending(message)
    assert "steps[0].send" in str(raised.value)
    assert problem in str(raised.value)


async def test_what_cannot_be_sent_now_fails_the_scenario(autojump_clock: MockClock) -> None:
    audio = '{type = "audio", audio_event = {audio_base_64 = "", event_id = 1}}'
    scenario = parse_sending(audio)
    steps = [Say("x" * 100), Interrupt(), *scenario.steps, Silence(1)]
    async with hold_conversation(Scenario(agent=TALK, steps=steps)) as (_, record):
        pass
    assert record.problem == "steps[2].send: this cannot be sent now: audio: event 1 was interrupted"
