"""The daemon against the simulator: connecting in every way, endings of every kind, tools, and stopping."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio
import trio.testing
from wsproto.events import TextMessage

from convaid import ToolContext, events, tool
from convaid.config import ConversationConfig
from convaid.errors import ConfigurationError
from convaid.protocol.endings import Cause, Retry
from convaid.protocol.to_agent import ConversationInitiationClientData
from convaid.supervisor import NotConnected

from ..transport.servers import accept_by_hand, serve_raw
from .holding import MAIN, hold

HANG_UP = 'steps = [{say = "Hello."}, {end = {}}]'
LISTEN = 'steps = [{say = "Hello."}]\n[[rules]]\nsay = "I see."'


@tool
def add(a: Annotated[int, "one"], b: Annotated[int, "the other"]) -> int:
    """Add two numbers."""
    return a + b


@tool
async def wait_a_second(context: ToolContext) -> str:
    """Wait a second."""
    await trio.sleep(1)
    return f"waited in {context.conversation}"


@tool
def hang() -> None:
    """Hang for longer than anybody waits."""
    time.sleep(20)


async def test_a_conversation_from_its_start_to_the_agents_goodbye() -> None:
    async with hold(
        'steps = [{say = "Hello."}, {call = {tool = "add", parameters = {a = 2, b = 3}}}, {end = {}}]',
        tools=[add],
    ) as held:
        await held.over.wait()
        (record,) = held.simulator.conversations
    assert record.problem is None
    assert [type(event) for event in held.events if not isinstance(event, events.MessageReceived)] == [
        events.Connecting,
        events.Connected,
        events.ToolCallStarted,
        events.ToolCallEnded,
        events.Ended,
    ]
    end = held.daemon.endings["main"]
    assert (end.cause, end.code, end.retry) == (Cause.ENDED_BY_AGENT, 1000, Retry.NO)


async def test_what_the_configuration_says_is_what_the_agent_gets() -> None:
    configuration = (
        MAIN
        + """
environment = "staging"
branch_id = "agtbrch_1"
user_id = "user-1"
overrides = {prompt = "Be brief.", first_message = "Hi!", language = "de", voice_id = "v1", text_only = true}
dynamic_variables = {name = "Ada", count = 3}
custom_llm_extra_body = {temperature = 0.1}
initiation = {conversation_config_override = {tts = {speed = 1.1}}, something_new = [1]}
"""
    )
    scenario = f"""
{HANG_UP}
[agent]
allowed_overrides = ["agent.prompt.prompt", "agent.first_message", "agent.language", "tts.voice_id", "tts.speed",
                     "conversation.text_only", "custom_llm_extra_body"]
"""
    async with hold(scenario, configuration=configuration) as held:
        await held.over.wait()
        (record,) = held.simulator.conversations
    assert record.problem is None
    assert record.initiation is not None
    assert record.initiation.conversation_config_override == {
        "agent": {"prompt": {"prompt": "Be brief."}, "first_message": "Hi!", "language": "de"},
        "tts": {"voice_id": "v1", "speed": 1.1},
        "conversation": {"text_only": True},
    }
    assert record.initiation.dynamic_variables == {"name": "Ada", "count": 3}
    assert record.initiation.custom_llm_extra_body == {"temperature": 0.1}
    assert record.initiation.user_id == "user-1"
    assert record.initiation.branch_id == "agtbrch_1"
    assert record.query["environment"] == "staging"
    assert record.counts["unknown field"] == 1
    assert held.daemon.endings["main"].cause is Cause.ENDED_BY_AGENT


async def test_a_signed_url_is_minted_for_every_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_test_0123456789")
    private = "[agent]\nrequires_authorization = true"
    async with hold(
        f"steps = [{{drop = {{}}}}]\n{private}",
        f"{HANG_UP}\n{private}",
        configuration=MAIN + 'auth = "signed_url"',
        key="sk_test_0123456789",
    ) as held:
        await held.over.wait()
        minted = [request for request in held.simulator.requests if request.path.endswith("/get-signed-url")]
        assert [request.status for request in minted] == [200, 200]
        first, second = held.simulator.conversations
    assert first.query["conversation_signature"] != second.query["conversation_signature"]
    assert held.daemon.endings["main"].cause is Cause.ENDED_BY_AGENT


async def test_a_wrong_key_is_refused_with_the_remedy_and_not_tried_again_soon(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_wrong_0123456789")
    async with hold(HANG_UP, configuration=MAIN + 'auth = "signed_url"', key="sk_right_0123456789") as held:
        (retry,) = await held.wait_for(events.RetryPlanned)
    assert (retry.end.cause, retry.end.code, retry.end.retry) == (Cause.REFUSED, 401, Retry.REPAIR)
    assert retry.delay > 300
    assert retry.end.remedy
    assert "sk_wrong" not in caplog.text + repr(held.events)


async def test_a_signed_url_may_come_from_an_endpoint_of_the_users() -> None:
    configuration = """
[conversations.main]
start = "once"
auth = "signed_url_from"
signed_url_from = "SIMULATOR/v1/convai/conversation/get_signed_url?agent_id=agent_test"
"""
    async with hold(HANG_UP, configuration=configuration) as held:
        await held.over.wait()
        assert [request.path for request in held.simulator.requests] == ["/v1/convai/conversation/get_signed_url"]
    assert held.daemon.endings["main"].cause is Cause.ENDED_BY_AGENT


async def test_the_key_may_go_with_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_test_0123456789")
    async with hold(HANG_UP, configuration=MAIN + 'auth = "api_key_header"', key="sk_test_0123456789") as held:
        await held.over.wait()
        (record,) = held.simulator.conversations
    assert record.api_key == "sk_test_0123456789"


async def test_a_conversation_that_needs_a_key_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)
    with pytest.RaisesGroup(ConfigurationError, flatten_subgroups=True):
        async with hold(HANG_UP, configuration=MAIN + 'auth = "signed_url"') as held:
            await held.over.wait()


async def test_a_lost_link_is_followed_by_a_new_conversation_within_half_a_second() -> None:
    async with hold("steps = [{drop = {}}]", HANG_UP) as held:
        await held.over.wait()
        first, second = held.simulator.conversations
    lost, ended = held.of_kind(events.Ended)
    (retry,) = held.of_kind(events.RetryPlanned)
    assert (lost.end.cause, lost.end.code) == (Cause.LINK_LOST, 1006)
    assert ended.end.cause is Cause.ENDED_BY_AGENT
    assert retry.delay <= 0.5
    assert first.conversation_id != second.conversation_id


@pytest.mark.parametrize(
    ("steps", "cause", "code", "retry"),
    [
        ("{refuse = {}}", Cause.REFUSED, 3000, Retry.REPAIR),
        ("{refuse = {status = 403}}", Cause.REFUSED, 403, Retry.REPAIR),
        ("{refuse = {status = 404}}", Cause.REFUSED, 404, Retry.REPAIR),
        ("{refuse = {status = 429, reason = 'Too many'}}", Cause.BUSY, 429, Retry.LATER),
        ("{refuse = {code = 3008, reason = 'Too many'}}", Cause.BUSY, 3008, Retry.LATER),
        ("{refuse = {status = 503, reason = 'Bad'}}", None, 503, Retry.SOON),
        ('{error = {code = 1008, error_type = "override_error"}}', Cause.CONTRACT_FAULT, 1008, Retry.REPAIR),
        ('{error = {code = 1002, error_type = "llm_timeout"}}', Cause.OPERATIONAL, 1002, Retry.SOON),
        ('{error = {code = 1011, error_type = "unknown_websocket_crash"}}', Cause.CRASH, 1011, Retry.SOON),
        ('{error = {code = 1000, error_type = "max_duration_exceeded"}}', Cause.LIMIT_REACHED, 1000, Retry.NO),
        ("{close = {code = 1008}}", Cause.CONTRACT_FAULT, 1008, Retry.REPAIR),
        ("{drop = {}}", Cause.LINK_LOST, 1006, Retry.SOON),
    ],
)
async def test_every_ending_is_classified(steps: str, cause: Cause | None, code: int, retry: Retry) -> None:
    async with hold(f"steps = [{steps}]") as held:
        (ended,) = await held.wait_for(events.Ended)
    assert (ended.end.code, ended.end.retry) == (code, retry)
    assert cause is None or ended.end.cause is cause
    assert ended.end.detail
    assert retry is Retry.NO or ended.end.remedy


async def test_nobody_there_is_tried_again_and_ends_nothing() -> None:
    async with hold(HANG_UP, base_url="http://127.0.0.1:9") as held:
        await held.wait_for(events.Ended, 2)
        assert not held.over.is_set()
    assert {event.end.cause for event in held.of_kind(events.Ended)} == {Cause.LINK_LOST}


async def test_always_means_a_new_conversation_after_each() -> None:
    async with hold(HANG_UP, configuration=MAIN.replace("once", "always")) as held:
        await held.wait_for(events.Ended, 2)
    assert len({event.conversation_id for event in held.of_kind(events.Ended)}) == 2


async def test_one_conversation_that_fails_does_not_touch_another() -> None:
    configuration = MAIN + '[conversations.other]\nagent_id = "agent_other"\n'
    async with hold(LISTEN, configuration=configuration) as held:
        await held.wait_for(events.Connected, 2)
        held.daemon.conversations["main"].say("hello")
        messages = await held.wait_for(events.MessageReceived, 3)
    assert {event.conversation for event in messages} == {"main", "other"}


async def test_saying_something_without_a_session_is_an_error() -> None:
    async with hold("steps = [{refuse = {}}]") as held:
        await held.wait_for(events.RetryPlanned)
        with pytest.raises(NotConnected):
            held.daemon.conversations["main"].say("anybody?")


async def test_stopping_in_the_middle_of_a_tool_delivers_its_result_and_then_1000() -> None:
    async with hold('steps = [{call = {tool = "wait_a_second"}}]', tools=[wait_a_second]) as held:
        await held.wait_for(events.ToolCallStarted)
        held.daemon.stop.set()
        await held.over.wait()
        (record,) = held.simulator.conversations
        await record.ended.wait()
    (call,) = record.calls
    assert call.result == "waited in main"
    assert record.ending is not None
    assert (record.ending.closed_by, record.ending.code) == ("user", 1000)


async def test_stopping_with_a_tool_that_hangs_tells_the_agent_and_is_over_in_time() -> None:
    configuration = MAIN + "[daemon]\nstop_grace = 4.0\n"  # a fifth of it is for the answer
    async with hold('steps = [{call = {tool = "hang"}}]', tools=[hang], configuration=configuration) as held:
        await held.wait_for(events.ToolCallStarted)
        asked_at = trio.current_time()
        held.daemon.stop.set()
        await held.over.wait()
        assert trio.current_time() - asked_at < 10
        (record,) = held.simulator.conversations
        await record.ended.wait()
    (call,) = record.calls
    assert call.is_error
    assert "shutting down" in (call.result or "")
    assert record.ending is not None
    assert record.ending.code == 1000


async def test_stopping_while_waiting_to_retry_is_at_once() -> None:
    async with hold("steps = [{refuse = {}}]") as held:
        await held.wait_for(events.RetryPlanned)
        asked_at = trio.current_time()
        held.daemon.stop.set()
        await held.over.wait()
        assert trio.current_time() - asked_at < 5


async def test_stopping_on_a_frozen_link_is_over_in_time() -> None:
    configuration = MAIN + "limits.disconnect = 60\n[daemon]\nstop_grace = 1.0\n"
    async with hold("steps = [{freeze = 30}]", configuration=configuration) as held:
        await held.wait_for(events.Connected)
        await trio.sleep(0.05)  # the simulator freezes once it has sent the metadata
        asked_at = trio.current_time()
        held.daemon.stop.set()
        await held.over.wait()
        assert trio.current_time() - asked_at < 10


async def test_a_hundred_conversations_in_one_process() -> None:
    configuration = "".join(
        f'[conversations.c{number}]\nagent_id = "agent_test"\nstart = "once"\n' for number in range(100)
    )
    scenario = 'steps = [{call = {tool = "add", parameters = {a = 2, b = 3}, expect_result = "^5$"}}, {end = {}}]'
    async with hold(scenario, tools=[add], configuration=configuration) as held:
        await held.over.wait()
        records = list(held.simulator.conversations)
    assert len(records) == 100
    assert not [record.problem for record in records if record.problem]
    assert {end.cause for end in held.daemon.endings.values()} == {Cause.ENDED_BY_AGENT}


async def test_stopping_while_connecting_is_at_once_and_told() -> None:
    async def be_silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with serve_raw(be_silent) as port, hold(HANG_UP, base_url=f"http://127.0.0.1:{port}") as held:
        await held.wait_for(events.Connecting)
        asked_at = trio.current_time()
        held.daemon.stop.set()
        await held.over.wait()
        assert trio.current_time() - asked_at < 5
        (ended,) = held.of_kind(events.Ended)
        assert ended.end.cause is Cause.ENDED_BY_USER


async def test_stopping_with_a_full_socket_is_over_in_time() -> None:
    async def take_nothing(stream: trio.SocketStream) -> None:
        websocket = await accept_by_hand(stream)
        metadata = {"conversation_id": "conv_1"}
        frame = {
            "type": "conversation_initiation_metadata",
            "conversation_initiation_metadata_event": metadata,
        }
        await stream.send_all(websocket.send(TextMessage(json.dumps(frame))))
        await trio.sleep_forever()

    configuration = MAIN + "limits.disconnect = 60\n[daemon]\nstop_grace = 1.0\n"
    async with (
        serve_raw(take_nothing) as port,
        hold(HANG_UP, base_url=f"http://127.0.0.1:{port}", configuration=configuration) as held,
    ):
        await held.wait_for(events.Connected)
        for _ in range(40):
            held.daemon.conversations["main"].say("x" * 1_000_000)
        await trio.testing.wait_all_tasks_blocked(0.05)
        asked_at = trio.current_time()
        held.daemon.stop.set()
        await held.over.wait()
        assert trio.current_time() - asked_at < 10


async def test_an_unknown_audio_format_ends_the_session_with_the_remedy(tmp_path: Path) -> None:
    async def announce_opus(stream: trio.SocketStream) -> None:
        websocket = await accept_by_hand(stream)
        frame = {
            "type": "conversation_initiation_metadata",
            "conversation_initiation_metadata_event": {
                "conversation_id": "conv_1",
                "agent_output_audio_format": "opus_48000",
                "user_input_audio_format": "pcm_16000",
            },
        }
        await stream.send_all(websocket.send(TextMessage(json.dumps(frame))))
        await trio.sleep_forever()

    configuration = f'{MAIN}audio = "wav"\nwav.speaker = "{tmp_path}/out.wav"\nlimits.disconnect = 0.1\n'
    async with (
        serve_raw(announce_opus) as port,
        hold(HANG_UP, base_url=f"http://127.0.0.1:{port}", configuration=configuration) as held,
    ):
        (ended,) = await held.wait_for(events.Ended)
    assert ended.end.cause is Cause.CONTRACT_FAULT
    assert "opus_48000" in ended.end.detail


async def test_a_fault_of_ours_ends_one_session_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    from convaid import supervisor

    build = supervisor.build_initiation

    def break_one(settings: ConversationConfig, *args: Any, **kwargs: Any) -> ConversationInitiationClientData:
        if settings.agent_id == "agent_broken":
            raise ZeroDivisionError
        return build(settings, *args, **kwargs)

    monkeypatch.setattr(supervisor, "build_initiation", break_one)
    configuration = MAIN + '[conversations.broken]\nagent_id = "agent_broken"\n'
    async with hold(HANG_UP, configuration=configuration) as held:
        (retry,) = await held.wait_for(events.RetryPlanned)
        while "main" not in held.daemon.endings:
            await trio.sleep(0.01)
    assert (retry.conversation, retry.end.cause) == ("broken", Cause.OWN_FAULT)
    assert held.daemon.endings["main"].cause is Cause.ENDED_BY_AGENT
