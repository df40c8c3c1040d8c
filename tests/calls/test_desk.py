"""People who allow and deny tool calls."""

from __future__ import annotations

import time

import pytest

from convaid.calls.desk import Desk, NoSuchQuestion
from convaid.events import ApprovalAnswered, ApprovalAsked, ApprovalRequest, Event
from convaid.protocol.from_agent import ClientToolCall

REQUEST = ApprovalRequest("main", "conv_1", ClientToolCall("open_door", "call_1"), time.monotonic() + 60)


def test_a_question_is_answered_once() -> None:
    told: list[Event] = []
    answers: list[bool | None] = []
    desk = Desk(told.append)
    take_back = desk.ask(REQUEST, answers.append)
    assert list(desk.open) == ["1"]
    question = desk.decide("1", True, "ada")
    assert question.request is REQUEST
    with pytest.raises(NoSuchQuestion, match=r'no call waits for permission as "1" \(any more\)\. Waiting: none'):
        desk.decide("1", False, "eve")
    take_back()
    assert answers == [True]
    assert told == [
        ApprovalAsked("main", "conv_1", "1", REQUEST.call, REQUEST.deadline),
        ApprovalAnswered("main", "conv_1", "1", REQUEST.call, True, "ada"),
    ]


def test_what_is_taken_back_is_of_no_interest_any_more() -> None:
    told: list[Event] = []
    desk = Desk(told.append)
    first, second = desk.ask(REQUEST, print), desk.ask(REQUEST, print)
    first()
    with pytest.raises(NoSuchQuestion, match="Waiting: 2"):
        desk.decide("1", True, "ada")
    assert told[-1] == ApprovalAnswered("main", "conv_1", "1", REQUEST.call, None, "")
    second()
    assert not desk.open
