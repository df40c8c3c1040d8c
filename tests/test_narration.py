"""Events as lines of the log."""

from __future__ import annotations

import logging

import pytest

from convaid import events
from convaid.narration import describe_event, log_event
from convaid.protocol.endings import link_lost

HEARD = (events.Heard(3, 0.4, 0.6, "One two"), events.Heard(5, 0.0, 1.0, ""))


@pytest.mark.parametrize(
    ("heard", "line"),
    [
        (HEARD, "the user cut in after 0.4 s; 1.6 s of speech dropped"),
        ((), "the user cut in; 1.6 s of speech dropped"),
    ],
)
def test_an_interruption_tells_how_long_the_agent_was_heard_and_not_what_it_said(
    heard: tuple[events.Heard, ...], line: str
) -> None:
    assert describe_event(events.SpeechInterrupted("main", "conv_1", 5, 1.6, heard)) == line


def test_an_end_tells_what_was_not_heard_any_more() -> None:
    ended = events.Ended("main", "conv_1", link_lost("gone"), 12.5, {"stale audio": 2}, HEARD)
    assert "(the agent's last 1.6 s were not heard) (noted on the way: 2 stale audio)" in describe_event(ended)


@pytest.mark.parametrize(
    ("state", "is_repeated", "level"),
    [
        ("lost", False, logging.WARNING),
        ("silent", False, logging.WARNING),
        ("open", False, logging.INFO),
        ("lost", True, logging.DEBUG),
        ("open", True, logging.DEBUG),
    ],
)
def test_a_device_has_a_line_with_its_conversation_and_one_that_comes_and_goes_is_silent(
    state: str, is_repeated: bool, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    log_event(events.DeviceChanged("kitchen", None, "microphone", state, "usb", "unplugged", is_repeated))
    (record,) = caplog.records
    assert record.levelno == level
    assert record.message.startswith('kitchen: the microphone "usb" is ')
    assert record.message.endswith(": unplugged")
    assert record.fields == {
        "conversation": "kitchen",
        "conversation_id": None,
        "role": "microphone",
        "device": "usb",
        "state": state,
    }
