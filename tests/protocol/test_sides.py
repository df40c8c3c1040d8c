"""Our side and the agent's side, joined in memory: the rules of a conversation, asserted at both ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from convaid.errors import LocalProtocolError, RemoteProtocolError
from convaid.protocol import AgentSide, FromAgent, ToAgent, UserSide, encode
from convaid.protocol.agent_side import INVALID_MESSAGE
from convaid.protocol.from_agent import (
    AgentResponse,
    Audio,
    ClientToolCall,
    ConversationInitiationMetadata,
    Error,
    Interruption,
    Ping,
    QueueStatus,
)
from convaid.protocol.to_agent import (
    ClientToolResult,
    ConversationInitiationClientData,
    Pong,
    UserAudio,
    UserMessage,
)
from convaid.protocol.user_side import REMEMBERED_CALLS

METADATA = ConversationInitiationMetadata("conv_1", "pcm_16000", "ulaw_8000")


@define
class Pair:
    """A conversation with both ends in one place; nothing is lost between them."""

    user: UserSide = field(factory=UserSide)
    agent: AgentSide = field(factory=AgentSide)

    def begin(self) -> None:
        init = ConversationInitiationClientData(user_id="u")
        assert self.agent.receive(self.user.start(init)) == init
        assert self.hear(METADATA) == METADATA

    def say(self, message: ToAgent) -> ToAgent | RemoteProtocolError | None:
        return self.agent.receive(self.user.send(message))

    def hear(self, message: FromAgent) -> FromAgent | RemoteProtocolError | None:
        return self.user.receive(self.agent.send(message))


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    pair.begin()
    return pair


def result_of(tool_call_id: str) -> ClientToolResult:
    return ClientToolResult(tool_call_id, "done", is_error=False)


def test_a_conversation_begins_with_initiation_and_metadata() -> None:
    pair = Pair()
    assert pair.user.conversation_id is None
    pair.begin()
    assert pair.user.metadata == pair.agent.metadata == METADATA
    assert pair.user.conversation_id == "conv_1"
    assert pair.agent.initiation == ConversationInitiationClientData(user_id="u")
    assert not pair.user.counts
    assert not pair.agent.counts


def test_the_initiation_comes_first_and_once() -> None:
    user = UserSide()
    with pytest.raises(LocalProtocolError, match="not begun"):
        user.send(Pong(1))
    frame = user.start(ConversationInitiationClientData(), {"new_field": 1})
    assert json.loads(frame) == {"type": "conversation_initiation_client_data", "new_field": 1}
    for again in (user.start, user.send):
        with pytest.raises(LocalProtocolError, match="started already"):
            again(ConversationInitiationClientData())


def test_the_agent_ignores_a_second_initiation(pair: Pair) -> None:
    assert pair.agent.receive(encode(ConversationInitiationClientData(user_id="other"))) is None
    assert pair.agent.counts == {"second initiation": 1}
    assert pair.agent.initiation == ConversationInitiationClientData(user_id="u")


def test_the_agent_hears_audio_before_the_initiation_or_without_one() -> None:
    agent = AgentSide()
    assert agent.receive('{"user_audio_chunk": "AAAA"}') == UserAudio("AAAA")
    assert agent.initiation is None


def test_the_metadata_comes_first_and_once(pair: Pair) -> None:
    with pytest.raises(LocalProtocolError, match="before the metadata"):
        AgentSide().send(Ping(1))
    with pytest.raises(LocalProtocolError, match="sent already"):
        pair.agent.send(METADATA)
    assert pair.user.receive(encode(ConversationInitiationMetadata("conv_2"))) is None
    assert pair.user.conversation_id == "conv_1"
    assert pair.user.counts == {"second metadata": 1}


@pytest.mark.parametrize("message", [Error(3000, "no"), QueueStatus("waiting")], ids=["error", "queue"])
def test_an_error_and_a_place_in_the_queue_may_come_before_the_metadata(message: FromAgent) -> None:
    pair = Pair()
    pair.user.start(ConversationInitiationClientData())
    assert pair.hear(message) == message


def test_frames_before_the_metadata_are_counted_and_kept() -> None:
    user = UserSide()
    user.start(ConversationInitiationClientData())
    assert user.receive(encode(Ping(1))) == Ping(1)
    assert user.receive(encode(ClientToolCall("t", "c"))) == ClientToolCall("t", "c")
    assert user.counts == {"before metadata": 2}
    assert user.send(result_of("c"))


def test_a_ping_is_answered_once(pair: Pair) -> None:
    assert pair.hear(Ping(7, 40)) == Ping(7, 40)
    assert pair.say(Pong(7)) == Pong(7)
    assert pair.say(Pong(7)) is None
    assert pair.agent.counts == {"unexpected pong": 1}


def test_only_audio_up_to_the_interrupted_event_is_stale(pair: Pair) -> None:
    assert pair.hear(Audio("AAAA", 3)) == Audio("AAAA", 3)
    assert pair.hear(Interruption(3)) == Interruption(3)
    for event_id in (2, 3):
        with pytest.raises(LocalProtocolError, match="was interrupted"):
            pair.agent.send(Audio("AAAA", event_id))
        assert pair.user.receive(encode(Audio("AAAA", event_id))) is None
    assert pair.hear(Audio("AAAA", 4)) == Audio("AAAA", 4)
    assert pair.hear(AgentResponse("old", 2)) == AgentResponse("old", 2)
    assert pair.user.counts == {"stale audio": 2}


def test_an_older_interruption_makes_no_audio_fresh_again(pair: Pair) -> None:
    pair.hear(Interruption(5))
    pair.hear(Interruption(2))
    assert pair.user.receive(encode(Audio("AAAA", 4))) is None


def test_event_zero_can_be_interrupted(pair: Pair) -> None:
    pair.hear(Audio("AAAA", 0))
    pair.hear(Interruption(0))
    assert pair.user.receive(encode(Audio("AAAA", 0))) is None


def test_tool_calls_overlap_and_are_answered_in_any_order(pair: Pair) -> None:
    first, second = ClientToolCall("t", "c1", {"a": 1}, 1), ClientToolCall("t", "c2", {}, 1, expects_response=False)
    assert pair.hear(first) == first
    assert pair.hear(second) == second
    assert dict(pair.user.open_calls) == dict(pair.agent.open_calls) == {"c1": first, "c2": second}
    assert pair.say(result_of("c2")) == result_of("c2")
    assert pair.say(result_of("c1")) == result_of("c1")
    assert not pair.user.open_calls
    assert not pair.agent.open_calls


def test_a_call_has_exactly_one_result(pair: Pair) -> None:
    pair.hear(ClientToolCall("t", "c"))
    with pytest.raises(LocalProtocolError, match="'other' is open"):
        pair.user.send(result_of("other"))
    pair.say(result_of("c"))
    with pytest.raises(LocalProtocolError, match="'c' is open"):
        pair.user.send(result_of("c"))


def test_a_repeated_call_id_is_ignored_while_open_and_after_its_answer(pair: Pair) -> None:
    pair.hear(ClientToolCall("t", "c"))
    with pytest.raises(LocalProtocolError, match="used before"):
        pair.agent.send(ClientToolCall("t", "c"))
    assert pair.user.receive(encode(ClientToolCall("u", "c"))) is None
    assert pair.user.open_calls["c"].tool_name == "t"
    pair.say(result_of("c"))
    assert pair.user.receive(encode(ClientToolCall("t", "c"))) is None
    assert pair.user.counts == {"duplicate call": 2}


def test_a_result_that_is_not_a_text_is_never_sent(pair: Pair) -> None:
    pair.hear(ClientToolCall("t", "c"))
    wrong: Any = {"ok": True}
    with pytest.raises(LocalProtocolError, match="the result is a dict"):
        pair.user.send(ClientToolResult("c", wrong, is_error=False))
    assert pair.say(result_of("c"))  # the call is still open for a proper one


def test_a_result_that_cannot_be_written_leaves_its_call_open(pair: Pair) -> None:
    pair.hear(ClientToolCall("t", "c"))
    wrong: Any = object()
    with pytest.raises(LocalProtocolError, match="cannot be written"):
        pair.user.send(ClientToolResult("c", "text", is_error=wrong))
    assert list(pair.user.open_calls) == ["c"]


def test_the_agent_answers_a_result_that_is_not_a_text_in_the_platforms_words(pair: Pair) -> None:
    frame = '{"type": "client_tool_result", "tool_call_id": "c", "result": {"a": 1}, "is_error": false}'
    error = pair.agent.receive(frame)
    assert isinstance(error, RemoteProtocolError)
    assert str(error).startswith(f"{INVALID_MESSAGE}: client_tool_result.result: expected text")
    assert error.excerpt == frame
    assert pair.agent.counts == {"malformed frame": 1}


def test_late_and_unknown_results_are_ignored_by_the_agent(pair: Pair) -> None:
    pair.hear(ClientToolCall("t", "c"))
    pair.agent.give_up("c")
    pair.agent.give_up("never called")
    assert pair.say(result_of("c")) is None
    assert pair.agent.receive(encode(result_of("never called"))) is None
    assert pair.agent.receive(encode(result_of("c"))) is None
    assert pair.agent.counts == {"late result": 1, "unexpected result": 2}


def test_remembered_call_ids_are_bounded(pair: Pair) -> None:
    for number in range(REMEMBERED_CALLS + 1):
        pair.hear(ClientToolCall("t", f"c{number}"))
        pair.say(result_of(f"c{number}"))
    assert pair.user.receive(encode(ClientToolCall("t", "c1"))) is None
    assert pair.user.receive(encode(ClientToolCall("t", "c0"))) is not None


def test_what_is_unknown_or_malformed_is_counted_and_harms_nothing(pair: Pair) -> None:
    for side in (pair.user, pair.agent):
        assert side.receive('{"type": "a_type_of_next_year"}') is None
        assert isinstance(side.receive("nonsense"), RemoteProtocolError)
        assert isinstance(side.receive(b"\x00"), RemoteProtocolError)
        assert side.counts == {"unknown type": 1, "malformed frame": 2}
    assert pair.user.receive('{"type": "ping", "ping_event": {"event_id": 1, "a": 1, "b": 2}}') == Ping(1)
    assert pair.user.counts["unknown field"] == 2
    assert pair.agent.receive('{"type": "user_message", "text": "hi", "mood": "good"}') == UserMessage("hi")
    assert pair.agent.counts["unknown field"] == 1


def test_the_last_error_is_kept_for_the_ending(pair: Pair) -> None:
    assert pair.user.last_error is None
    error = Error(1008, "Override for field 'prompt' is not allowed by config.", "override_error")
    assert pair.hear(error) == error
    assert pair.user.last_error == error


def test_nothing_is_sent_after_the_end(pair: Pair) -> None:
    pair.hear(ClientToolCall("t", "c"))
    pair.user.end()
    pair.agent.end()
    with pytest.raises(LocalProtocolError, match="has ended"):
        pair.user.send(result_of("c"))
    with pytest.raises(LocalProtocolError, match="has ended"):
        pair.agent.send(Ping(1))
    assert list(pair.user.open_calls) == ["c"]
    ended = UserSide()
    ended.end()
    with pytest.raises(LocalProtocolError):
        ended.start(ConversationInitiationClientData())


def test_open_calls_can_only_be_read(pair: Pair) -> None:
    for calls in (pair.user.open_calls, pair.agent.open_calls):
        with pytest.raises(TypeError):
            calls["c"] = ClientToolCall("t", "c")  # type: ignore[index]


class Conversations(RuleBasedStateMachine):
    """Any conversation in which both sides keep the rules: neither ever ignores or refuses anything."""

    @initialize()
    def begin(self) -> None:
        self.pair = Pair()
        self.pair.begin()
        self.event_id = 0
        self.calls = 0

    @rule(text=st.text())
    def user_speaks(self, text: str) -> None:
        assert self.pair.say(UserMessage(text)) == UserMessage(text)

    @rule(number=st.integers(0, 5))
    def agent_speaks(self, number: int) -> None:
        self.event_id += 1
        for _ in range(number):
            assert self.pair.hear(Audio("AAAA", self.event_id)) == Audio("AAAA", self.event_id)

    @rule()
    def user_interrupts(self) -> None:
        self.pair.hear(Interruption(self.event_id))
        self.event_id += 1

    @rule(expects_response=st.booleans(), parameters=st.dictionaries(st.text(), st.text()))
    def agent_calls(self, expects_response: bool, parameters: dict[str, str]) -> None:
        self.calls += 1
        call = ClientToolCall("t", f"c{self.calls}", parameters, self.event_id, expects_response)
        assert self.pair.hear(call) == call

    @precondition(lambda self: self.pair.user.open_calls)
    @rule(data=st.data(), text=st.text(), is_error=st.booleans())
    def user_answers(self, data: st.DataObject, text: str, is_error: bool) -> None:
        tool_call_id = data.draw(st.sampled_from(list(self.pair.user.open_calls)))
        result = ClientToolResult(tool_call_id, text, is_error)
        assert self.pair.say(result) == result

    @rule(event_id=st.integers(0, 3))
    def agent_pings(self, event_id: int) -> None:
        assert self.pair.hear(Ping(event_id)) == Ping(event_id)
        assert self.pair.say(Pong(event_id)) == Pong(event_id)

    @invariant()
    def both_know_the_same(self) -> None:
        assert self.pair.user.open_calls == self.pair.agent.open_calls
        assert not self.pair.user.counts
        assert not self.pair.agent.counts


TestConversations = Conversations.TestCase
TestConversations.settings = settings(deadline=None, max_examples=30, stateful_step_count=20)
