"""One session against an agent in memory: what is sent, what ends it, and that every tool call has its one answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from attrs import define, field, frozen

from convaid import events
from convaid.config import LimitsConfig
from convaid.protocol.endings import Cause, SessionEnd
from convaid.protocol.from_agent import (
    AgentResponse,
    AgentToolRequest,
    Audio,
    ClientToolCall,
    Error,
    Interruption,
    Ping,
    QueueStatus,
    UserTranscript,
)
from convaid.protocol.to_agent import (
    ClientToolResult,
    ConversationInitiationClientData,
    Pong,
    UserMessage,
)
from convaid.session import Session

from .platform import Platform

Tool = Callable[[ClientToolCall], Awaitable[events.ToolAnswer]]


@define(eq=False)
class Talk:
    """A running session and everything a test wants to know of it."""

    session: Session
    platform: Platform
    stop: trio.Event
    seen: list[events.Event]
    end: SessionEnd | None = None
    over: trio.Event = field(factory=trio.Event)

    def of_kind(self, kind: type) -> list[events.Event]:
        return [event for event in self.seen if isinstance(event, kind)]


async def answer_ok(call: ClientToolCall) -> events.ToolAnswer:
    return events.ToolAnswer(f"{call.tool_name} done", False, "ok", 0.0)


@frozen
class OneTool:
    """Runs one function for every call."""

    tool: Tool

    async def call(self, call: ClientToolCall, conversation: str, conversation_id: str) -> events.ToolAnswer:
        return await self.tool(call)

    def interrupt(self, conversation_id: str) -> None:
        """Nothing is to be stopped."""


@asynccontextmanager
async def talk(
    tool: Tool = answer_ok, limits: LimitsConfig | None = None, last_words: float = 3.0
) -> AsyncIterator[Talk]:
    platform = Platform()
    seen: list[events.Event] = []

    session = Session("main", platform.link, limits or LimitsConfig(), OneTool(tool), seen.append, None)
    held = Talk(session, platform, trio.Event(), seen)

    async def run() -> None:
        held.end = await session.run(ConversationInitiationClientData(), {}, held.stop, last_words)
        held.over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield held
        nursery.cancel_scope.cancel()


async def test_the_first_frame_is_minimal_and_first(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        assert await held.platform.link.from_us.receive() == '{"type":"conversation_initiation_client_data"}'


async def test_a_ping_has_its_pong(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        held.platform.say(Ping(7, 20))
        assert await held.platform.hear() == Pong(7)


async def test_a_tool_call_has_its_one_answer_and_a_duplicate_none(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        call = ClientToolCall("clock", "call_1", {}, 1)
        held.platform.say(call)
        held.platform.say_raw(
            '{"type":"client_tool_call","client_tool_call":{"tool_name":"clock","tool_call_id":"call_1","parameters":{}}}'
        )
        assert await held.platform.hear() == ClientToolResult("call_1", "clock done", False)
        held.platform.say(Ping(1))
        assert await held.platform.hear() == Pong(1)  # and nothing between
        assert len(held.of_kind(events.ToolCallEnded)) == 1
        assert held.session.side.counts["duplicate call"] == 1


async def test_a_tool_that_takes_its_time_holds_nothing_up(autojump_clock: trio.testing.MockClock) -> None:
    async def sleep(call: ClientToolCall) -> events.ToolAnswer:
        await trio.sleep(8)
        return await answer_ok(call)

    async with talk(sleep) as held:
        await held.platform.begin()
        held.platform.say(ClientToolCall("slow", "call_1", {}, 1))
        before = trio.current_time()
        held.platform.say(Ping(1))
        assert await held.platform.hear() == Pong(1)
        assert trio.current_time() == before
        assert await held.platform.hear() == ClientToolResult("call_1", "slow done", False)


async def test_a_ping_behind_many_calls_does_not_wait_until_they_have_begun(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with talk() as held:
        await held.platform.begin()
        for number in range(50):
            held.platform.say(ClientToolCall("clock", f"call_{number}", {}, 1))
        held.platform.say(Ping(1))
        heard = [await held.platform.hear() for _ in range(51)]
        assert heard.index(Pong(1)) <= 2
        heard.remove(Pong(1))
        assert heard == [ClientToolResult(f"call_{number}", "clock done", False) for number in range(50)]


async def test_calls_begin_although_messages_never_cease(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        for number in range(5):
            held.platform.say(ClientToolCall("clock", f"call_{number}", {}, 1))
        answered_at = []
        while len(answered_at) < 5:
            held.platform.say(Ping(1))
            if isinstance(await held.platform.hear(), ClientToolResult):
                answered_at.append(trio.current_time())
            await trio.sleep(0.0005)
        assert answered_at[-1] - answered_at[0] < 0.2


async def test_stopping_answers_for_calls_that_have_not_begun(autojump_clock: trio.testing.MockClock) -> None:
    async def sleep(call: ClientToolCall) -> events.ToolAnswer:
        await trio.sleep(100)
        return await answer_ok(call)

    async with talk(sleep, last_words=0.0) as held:
        await held.platform.begin()
        for number in range(20):
            held.platform.say(ClientToolCall("slow", f"call_{number}", {}, 1))
        held.platform.say(Ping(1))
        assert await held.platform.hear() == Pong(1)  # all have been read
        assert len(held.of_kind(events.ToolCallStarted)) < 5
        held.stop.set()
        answers = [await held.platform.hear() for _ in range(20)]
        assert {answer.tool_call_id for answer in answers if isinstance(answer, ClientToolResult)} == {
            f"call_{number}" for number in range(20)
        }
        await held.over.wait()


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"type": 3}',
        '{"type":"ping"}',
        b"\x00",
        '{"type":"audio","audio_event":{"event_id":"1"}}',
    ],
)
async def test_a_malformed_frame_ends_nothing(frame: str | bytes, autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        held.platform.say_raw(frame)
        held.platform.say(Ping(1))
        assert await held.platform.hear() == Pong(1)
        assert held.session.side.counts["malformed frame"] == 1


async def test_a_flood_of_malformed_frames_is_counted_but_not_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with talk() as held:
        await held.platform.begin()
        for _ in range(500):
            held.platform.say_raw("x" * 10_000)
        held.platform.say(Ping(1))
        await held.platform.hear()
        assert held.session.side.counts["malformed frame"] == 500
    assert 0 < len(caplog.records) <= 10
    assert all(len(record.getMessage()) < 500 for record in caplog.records)


async def test_the_agents_hanging_up_is_an_ending_by_the_agent(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        held.platform.close(1000)
        await held.over.wait()
    assert held.end is not None
    assert held.end.cause is Cause.ENDED_BY_AGENT


async def test_the_error_frame_explains_the_close(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        held.platform.say(Error(1008, "bad", "override_error"))
        held.platform.close(1008, "Override for field 'prompt' is not allowed by config.")
        await held.over.wait()
    assert held.end is not None
    assert (held.end.cause, held.end.error_type) == (Cause.CONTRACT_FAULT, "override_error")
    assert "verrides" in held.end.remedy


async def test_a_half_open_link_is_noticed_within_10_seconds(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        held.platform.link.is_dead = True
        before = trio.current_time()
        await held.over.wait()
        assert trio.current_time() - before <= 10
    assert held.end is not None
    assert held.end.cause is Cause.LINK_LOST
    assert held.platform.link.pings > 0


async def test_an_idle_link_that_answers_pings_lives(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        await trio.sleep(300)
        assert held.end is None


async def test_metadata_that_never_comes_ends_the_session(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.over.wait()
        assert trio.current_time() <= LimitsConfig().handshake + 1
    assert held.end is not None
    assert "did not begin the conversation" in held.end.detail


async def test_a_place_in_a_queue_after_the_metadata_means_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        held.platform.say(QueueStatus("waiting"))
        await trio.sleep(100)
        assert held.end is None


async def test_an_agent_that_owes_an_answer_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with talk(limits=LimitsConfig(answer=20)) as held:
        await held.platform.begin()
        held.platform.say(UserTranscript("hello?", 1))
        for number in range(100):  # the link is alive all the while
            if held.end:
                break
            held.platform.say(Ping(number))
            await trio.sleep(1)
    assert held.end is not None
    assert "20 s" in held.end.detail
    assert held.end.cause is not Cause.LINK_LOST


async def test_while_our_tool_runs_the_agent_owes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async def sleep(call: ClientToolCall) -> events.ToolAnswer:
        await trio.sleep(100)
        return await answer_ok(call)

    async with talk(sleep, LimitsConfig(answer=20)) as held:
        await held.platform.begin()
        held.platform.say(UserTranscript("go", 1))
        held.platform.say(ClientToolCall("slow", "call_1", {}, 2))
        await trio.sleep(99)
        assert held.end is None
        await trio.sleep(25)  # now the result has been sent, and it is the agent's turn
        assert held.end is not None


@pytest.mark.parametrize(("limits", "word"), [(LimitsConfig(idle=30), "idle"), (LimitsConfig(life=30), "life")])
async def test_a_conversation_has_its_longest_silence_and_life(
    limits: LimitsConfig, word: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with talk(limits=limits) as held:
        await held.platform.begin()
        await held.over.wait()
        assert trio.current_time() >= 30
    assert held.end is not None
    assert held.end.cause is Cause.LIMIT_REACHED
    assert word in f"{held.end.detail} {held.end.remedy}"


async def test_a_link_that_takes_no_data_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        held.platform.link.takes_data = False
        for number in range(20):  # we are spoken to, but cannot answer
            held.platform.say(Ping(number))
            await trio.sleep(1)
        assert held.end is not None
        assert "took no data" in held.end.detail


async def test_stopping_lets_a_tool_finish(autojump_clock: trio.testing.MockClock) -> None:
    async def sleep(call: ClientToolCall) -> events.ToolAnswer:
        await trio.sleep(2)
        return await answer_ok(call)

    async with talk(sleep) as held:
        await held.platform.begin()
        held.platform.say(ClientToolCall("slow", "call_1", {}, 1))
        held.platform.say(Ping(1))
        await held.platform.hear()
        held.stop.set()
        assert await held.platform.hear() == ClientToolResult("call_1", "slow done", False)
        await held.over.wait()
    assert held.end is not None
    assert held.end.cause is Cause.ENDED_BY_USER


async def test_stopping_answers_for_a_tool_that_does_not_finish(autojump_clock: trio.testing.MockClock) -> None:
    async def hang(call: ClientToolCall) -> events.ToolAnswer:
        await trio.sleep_forever()
        raise AssertionError

    async with talk(hang) as held:
        await held.platform.begin()
        for number in range(3):
            held.platform.say(ClientToolCall("hang", f"call_{number}", {}, 1))
        held.platform.say(Ping(1))
        await held.platform.hear()
        held.stop.set()
        asked_at = trio.current_time()
        for _ in range(3):
            answer = await held.platform.hear()
            assert isinstance(answer, ClientToolResult)
            assert answer.is_error
            assert "shutting down" in answer.result
        await held.over.wait()
        assert trio.current_time() - asked_at < 4
    ended = held.of_kind(events.ToolCallEnded)
    assert [event.answer.outcome for event in ended if isinstance(event, events.ToolCallEnded)] == ["stopped"] * 3


async def test_a_tool_that_runs_when_the_link_dies_is_told_about(autojump_clock: trio.testing.MockClock) -> None:
    async def hang(call: ClientToolCall) -> events.ToolAnswer:
        await trio.sleep_forever()
        raise AssertionError

    async with talk(hang) as held:
        await held.platform.begin()
        held.platform.say(ClientToolCall("hang", "call_1", {}, 1))
        held.platform.say(Ping(1))
        await held.platform.hear()
        held.platform.close(1006)
        await held.over.wait()
    (ended,) = held.of_kind(events.ToolCallEnded)
    assert isinstance(ended, events.ToolCallEnded)
    assert not ended.is_delivered


async def test_what_is_said_goes_out_and_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        held.platform.say(Ping(1))
        await held.platform.hear()
        held.session.say(UserMessage("hello"))
        assert await held.platform.hear() == UserMessage("hello")
        held.platform.say(AgentResponse("hi", 1))
        await trio.testing.wait_all_tasks_blocked()
    kinds = [type(event) for event in held.seen]
    assert kinds == [events.Connected, events.MessageSent, events.MessageReceived]


async def test_audio_in_a_text_conversation_is_counted_and_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        held.platform.say(Audio("AAAA", 1))
        held.platform.say(Interruption(1))
        held.platform.say_raw('{"type":"audio","audio_event":{"audio_base_64":"AAAA","event_id":1}}')
        held.platform.say(Ping(1))
        await held.platform.hear()
        assert held.session.side.counts["audio without a listener"] == 1
        assert held.session.side.counts["stale audio"] == 1


async def test_a_link_that_takes_no_data_does_not_hold_up_the_stop(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        held.platform.link.takes_data = False
        held.platform.say(Ping(1))
        await trio.testing.wait_all_tasks_blocked()
        asked_at = trio.current_time()
        held.stop.set()
        await held.over.wait()
        assert trio.current_time() - asked_at < 2


async def test_a_limit_that_falls_due_early_is_noticed_when_it_does(autojump_clock: trio.testing.MockClock) -> None:
    async with talk(limits=LimitsConfig(answer=2)) as held:
        await held.platform.begin()
        held.session.say(UserMessage("hello?"))
        asked_at = trio.current_time()
        await held.over.wait()
        assert trio.current_time() - asked_at == pytest.approx(2, abs=0.6)
    assert held.end is not None
    assert "owed an answer for 2 s" in held.end.detail


async def test_a_user_who_speaks_while_our_tool_runs_changes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async def sleep(call: ClientToolCall) -> events.ToolAnswer:
        await trio.sleep(100)
        return await answer_ok(call)

    async with talk(sleep, LimitsConfig(answer=20)) as held:
        await held.platform.begin()
        held.platform.say(ClientToolCall("slow", "call_1", {}, 2))
        await trio.sleep(5)
        held.platform.say(UserTranscript("are you there?", 3))
        await trio.sleep(90)
        assert held.end is None
        await trio.sleep(30)
        assert held.end is not None


async def test_a_webhook_tool_of_the_agents_is_no_silence(autojump_clock: trio.testing.MockClock) -> None:
    async with talk(limits=LimitsConfig(answer=20)) as held:
        await held.platform.begin()
        held.platform.say(UserTranscript("book it", 1))
        held.platform.say(AgentToolRequest("book", "call_9", "webhook", 2))
        await trio.sleep(200)
        assert held.end is None


async def test_a_call_that_arrives_with_the_stop_has_its_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        held.platform.say(Ping(1))
        await held.platform.hear()
        held.platform.say(ClientToolCall("clock", "call_1", {}, 1))
        held.stop.set()
        answer = await held.platform.hear()
        assert isinstance(answer, ClientToolResult)  # whether it was begun or not
        await held.over.wait()


async def test_a_call_that_arrives_when_the_last_words_are_said_is_not_begun(
    autojump_clock: trio.testing.MockClock,
) -> None:
    begun: list[str] = []

    async def hang(call: ClientToolCall) -> events.ToolAnswer:
        begun.append(call.tool_call_id)
        with trio.CancelScope(shield=True):  # takes longer to give up than the last words last
            await trio.sleep(3.3)
        await trio.sleep_forever()
        raise AssertionError

    async with talk(hang) as held:
        await held.platform.begin()
        held.platform.say(ClientToolCall("hang", "call_1", {}, 1))
        held.platform.say(Ping(1))
        await held.platform.hear()
        held.stop.set()
        await trio.sleep(3.1)
        held.platform.say(ClientToolCall("hang", "call_2", {}, 1))
        answers = [await held.platform.hear(), await held.platform.hear()]
        assert {answer.tool_call_id for answer in answers if isinstance(answer, ClientToolResult)} == {
            "call_1",
            "call_2",
        }
        await held.over.wait()
    assert begun == ["call_1"]


async def test_what_was_lost_on_the_way_is_counted(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        held.platform.say_raw("nonsense")
        held.platform.say_raw('{"type":"news_from_the_future"}')
        held.platform.say(Ping(1))
        await held.platform.hear()
        assert held.session.count_losses() == {"malformed frame": 1, "unknown type": 1}


async def test_a_conversation_outlives_its_limit_until_it_is_quiet(autojump_clock: trio.testing.MockClock) -> None:
    async with talk(limits=LimitsConfig(life=30, answer=1000)) as held:
        await held.platform.begin()
        await trio.sleep(29)
        held.platform.say(UserTranscript("go on", 1))
        await trio.sleep(10)
        assert held.end is None  # the agent owes an answer
        held.platform.say(AgentResponse("Yes.", 2))
        await held.over.wait()
        assert 40 < trio.current_time() < 43
    async with talk(limits=LimitsConfig(life=30, answer=1000)) as held:
        await held.platform.begin()
        began = trio.current_time()
        held.platform.say(UserTranscript("go on", 1))
        await held.over.wait()
        assert 90 <= trio.current_time() - began < 92
