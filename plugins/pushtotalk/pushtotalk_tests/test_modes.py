"""What a button does, whatever it is made of."""

from __future__ import annotations

import math

import pytest
import trio
from convaid_pushtotalk.modes import RELEASE_TAIL, Mode, act
from trio.testing import MockClock

from .recorded import make_activation


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    return autojump_clock


async def press(mode: Mode, *presses: tuple[float, bool]) -> list[tuple[float, str]]:
    """Press (True) and let go at these seconds; returns what was asked for, and when."""
    activation, recorded = make_activation()
    begin = trio.current_time()
    give, take = trio.open_memory_channel[bool](math.inf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(act, mode, "kitchen", activation, take)
        for at, is_pressed in presses:
            await trio.sleep_until(begin + at)
            give.send_nowait(is_pressed)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    return [(round(at - begin, 3), each) for at, each in recorded.timed]


async def test_one_is_heard_while_it_is_held_and_the_agent_is_not(clock: MockClock) -> None:
    assert await press("hold", (1, True), (4, False), (10, True), (12, False)) == [
        (0.0, "mute"),
        (1.0, "unmute"),
        (1.0, "interrupt"),
        (1.0, "start"),
        (4 + RELEASE_TAIL, "mute"),
        (10.0, "unmute"),
        (10.0, "interrupt"),
        (10.0, "start"),
        (12 + RELEASE_TAIL, "mute"),
    ]


async def test_a_finger_that_slips_off_for_a_moment_changes_nothing(clock: MockClock) -> None:
    acts = await press("hold", (1, True), (2, False), (2.1, True), (3, False), (3.1, True), (5, False))
    assert [each for each in acts if each[0] > 1] == [(5 + RELEASE_TAIL, "mute")]


async def test_a_conversation_that_a_reload_makes_anew_is_not_heard_either(clock: MockClock) -> None:
    activation, recorded = make_activation()
    give, take = trio.open_memory_channel[bool](math.inf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(act, "hold", "kitchen", activation, take)
        await trio.sleep(5)
        recorded.state = ""
        await trio.sleep(5)
        recorded.state = "closed"
        await trio.sleep(5)
        assert recorded.acts == ["mute", "mute"]
        give.send_nowait(True)
        await recorded.wait_acts("mute", "mute", "unmute", "interrupt", "start")
        nursery.cancel_scope.cancel()


async def test_a_button_opens_and_closes(clock: MockClock) -> None:
    presses = [(1.0, True), (1.2, False), (5.0, True), (5.1, False), (9.0, True)]
    assert await press("toggle", *presses) == [(1.0, "start"), (5.0, "stop"), (9.0, "start")]


async def test_a_button_mutes_and_unmutes(clock: MockClock) -> None:
    presses = [(1.0, True), (1.2, False), (5.0, True), (5.1, False), (9.0, True)]
    assert await press("mute", *presses) == [(1.0, "mute"), (5.0, "unmute"), (9.0, "mute")]
