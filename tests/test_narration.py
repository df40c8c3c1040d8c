"""Events as lines of the log."""

from __future__ import annotations

import pytest

from convaid import events
from convaid.narration import describe_event
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
