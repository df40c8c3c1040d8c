"""Conversations at given times, on a clock that is moved."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import convaid_schedule
import pytest
import trio
from convaid_schedule import ScheduleSettings, Time, follow
from trio.testing import MockClock

from convaid.plugins import Plugins, load_plugins
from convaid.plugins.activation import Activation, Wish
from convaid.plugins.listening import Blocks

MONDAY = datetime(2026, 11, 23)
CONNECTING = 2.0  # seconds


@pytest.fixture(autouse=True)
def _look_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convaid_schedule, "LOOK_INTERVAL", 20.0)  # days pass four times as fast


class Recorded:
    """Does as a daemon would with one conversation; ``acts`` are what it was asked for, and when."""

    def __init__(self, can_connect: bool) -> None:
        self.acts: list[tuple[str, str]] = []
        self.troubles: list[str] = []
        self.can_connect = can_connect
        self.began_at = trio.current_time()
        self.started_at: float | None = None

    def ask(self, wish: Wish) -> None:
        at = MONDAY + timedelta(seconds=trio.current_time() - self.began_at)
        self.acts.append((f"{at:%a %H:%M}", f"{wish.act} {wish.text}".strip()))
        if wish.act in ("start", "stop"):
            self.started_at = trio.current_time() if wish.act == "start" else None

    def find_state(self, conversation: str) -> str:
        if conversation != "kitchen":
            return ""
        if self.started_at is None:
            return "closed"
        is_there = self.can_connect and trio.current_time() >= self.started_at + CONNECTING
        return "connected" if is_there else "connecting"

    def report(self, source: str, trouble: str) -> None:
        if trouble:
            self.troubles.append(f"{source}: {trouble}")

    def is_muted(self, conversation: str) -> bool:
        raise AssertionError("nobody asks")

    def attend(self, blocks: Blocks) -> None:
        raise AssertionError("nobody listens")

    def leave(self, blocks: Blocks) -> None:
        raise AssertionError("nobody listens")


async def live(
    time: Time,
    hours: float,
    *conversations: str,
    can_connect: bool = True,
    read_clock: Callable[[float], datetime] = lambda seconds: MONDAY + timedelta(seconds=seconds),
) -> Recorded:
    """What happens from Monday 00:00 on, for so many hours."""
    recorded = Recorded(can_connect)
    activation = Activation(conversations or ("kitchen",), recorded)
    with trio.move_on_after(hours * 3600):
        await follow(time, activation, lambda: read_clock(trio.current_time() - recorded.began_at))
    return recorded


async def test_it_opens_speaks_and_closes_on_its_days(autojump_clock: MockClock) -> None:
    time = Time(at=["Mon,Wed 00:05", "Mon 23:30"], say="Good morning!", context="It is early.", minutes=5)
    recorded = await live(time, 25)
    assert recorded.acts == [
        (f"{day} {at}", act)
        for day, at, end in [("Mon", "00:05", "00:10"), ("Mon", "23:30", "23:35")]
        for at, act in [(at, "start"), (at, "context It is early."), (at, "say Good morning!"), (end, "stop")]
    ]


async def test_without_an_end_it_is_only_opened(autojump_clock: MockClock) -> None:
    assert (await live(Time(at="00:10"), 25)).acts == [("Mon 00:10", "start"), ("Tue 00:10", "start")]


async def test_nothing_is_said_to_nobody(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    recorded = await live(Time(at="00:10", say="Good morning!", minutes=3), 1, can_connect=False)
    assert [act for _, act in recorded.acts] == ["start", "stop"]
    assert "kitchen: not connected in 60 s: nothing is said" in caplog.text


async def test_an_hour_that_comes_twice_counts_once(autojump_clock: MockClock) -> None:
    def set_back(seconds: float) -> datetime:
        """At 00:10:30 the clock is set back by twenty seconds, as clocks are."""
        return MONDAY + timedelta(seconds=seconds if seconds < 630 else seconds - 20)

    assert len((await live(Time(at="00:10"), 1, read_clock=set_back)).acts) == 1


async def test_several_times_in_an_hour_that_comes_twice_count_once_each(autojump_clock: MockClock) -> None:
    def set_back(seconds: float) -> datetime:
        """At 03:00 it is 02:00 again, as on the last Sunday of October."""
        return MONDAY + timedelta(seconds=seconds if seconds < 3 * 3600 else seconds - 3600)

    assert len((await live(Time(at=["02:10", "02:50", "03:10"]), 5, read_clock=set_back)).acts) == 3


async def test_a_time_of_no_conversation_is_told(autojump_clock: MockClock) -> None:
    recorded = await live(Time(at="00:10"), 1, "kitchen", "hall")
    assert recorded.troubles == ["schedule, 00:10: for which conversation? There are: kitchen, hall"]


async def test_a_time_of_an_unknown_conversation_is_told_before_it_comes(autojump_clock: MockClock) -> None:
    recorded = await live(Time(at=["23:10", "23:20"], conversation="kitschen"), 1)
    assert set(recorded.troubles) == {'schedule, 23:10, 23:20: there is no conversation "kitschen"; there are: kitchen'}


def load_schedule(table: dict[str, Any]) -> Plugins:
    return load_plugins({"schedule": table}, entry_points=entry_points(group="convaid", name="schedule"))


@pytest.mark.parametrize(
    ("time", "problem"),
    [
        ({"at": "Mon-Fri 7.30"}, 'at: "Mon-Fri 7.30": expected days and a time, such as "Mon-Fri 07:30"'),
        ({"at": "Mo 07:30"}, 'at: "Mo 07:30": "Mo" is no day of the week; expected days and a time'),
        ({"at": "24:00"}, 'at: "24:00": a day has the times from 00:00 to 23:59'),
        ({"at": ["07:30", "Mon 8"]}, 'at: "Mon 8": expected days and a time'),
        ({"at": []}, 'at: is empty: it needs a time, such as "Mon-Fri 07:30"'),
        ({}, "at"),
        ({"at": "07:30", "minutes": 0}, "minutes: must be"),
        ({"at": "07:30", "sya": "Hello"}, 'sya: is not known; did you mean "say"?'),
    ],
)
def test_a_problem_is_said_with_its_place(time: dict[str, Any], problem: str) -> None:
    (found,) = load_schedule({"times": [time]}).problems
    assert str(found).startswith(f"plugins.schedule.times[0].{problem}")


def test_the_readme_is_a_configuration() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (Path(__file__).parent / "README.md").read_text(), re.DOTALL)
    (plugin,) = load_schedule(tomllib.loads(block)["plugins"]["schedule"])
    assert isinstance(plugin.settings, ScheduleSettings)
    assert [len(time.moments) for time in plugin.settings.times] == [5, 7]


async def test_a_daemon_opens_it_and_says_what_is_to_be_said(hold_daemon: Any) -> None:
    now = datetime.now()
    times = [f"{(now + timedelta(minutes=later)):%H:%M}" for later in (0, 1)]  # a minute may be over just now
    configuration = f"""
[conversations.kitchen]
agent_id = "agent_test"
start = "on_demand"
[[plugins.schedule.times]]
at = {times}
say = "Good morning!"
"""
    async with hold_daemon(configuration, '[[rules]]\nsay = "Good morning to you."') as held:
        await held.wait_until(lambda: bool(held.simulator.conversations and held.simulator.conversations[0].transcript))
        (record,) = held.simulator.conversations
        await held.wait_until(lambda: len(record.transcript) >= 2)
    assert [line.text for line in record.transcript][:2] == ["Good morning!", "Good morning to you."]
