"""The money guard in the daemon: what is over budget does not begin, and does not go on."""

from __future__ import annotations

import pytest
import trio

from convaid import events
from convaid.keeper import Refused
from convaid.protocol.endings import Cause, Retry

from .holding import MAIN, hold

LISTEN = 'steps = [{say = "Hello."}]\n[[rules]]\nsay = "I see."'
HANG_UP = 'steps = [{say = "Hello."}, {end = {}}]'


async def test_what_has_lasted_long_enough_is_ended() -> None:
    text = MAIN.replace("once", "always") + "[conversations.main.budget]\nminutes_per_day = 0.005\n"
    async with hold(LISTEN, configuration=text) as held:
        (first,) = await held.wait_for(events.Ended)
        assert (first.end.cause, first.end.retry) == (Cause.LIMIT_REACHED, Retry.LATER)
        assert 0.2 < first.seconds < 10
        assert "conversations of main may be open for 0.005 minutes a day" in first.end.detail
        assert held.daemon.budget.describe()["main"]["minutes_of_day"] >= 0.005
        assert held.daemon.keeper is not None
        keeping = held.daemon.keeper.find("main")
        keeping.stop()
        while keeping.state != "closed":
            await trio.sleep(0.001)
        with pytest.raises(Refused, match="and have been; next from"):
            keeping.start()
        assert len(held.simulator.conversations) == 1


async def test_one_that_is_always_open_waits_for_its_budget() -> None:
    text = MAIN.replace("once", "always") + "[conversations.main.budget]\nminutes_per_month = 0\n"
    async with hold(LISTEN, configuration=text) as held:
        (ended,) = await held.wait_for(events.Ended)
        (planned,) = await held.wait_for(events.RetryPlanned)
        assert ended.conversation_id is None
        assert "conversations of main may be open for 0 minutes a month" in ended.end.detail
        assert planned.end.retry is Retry.LATER
        assert not held.simulator.conversations


async def test_whoever_asks_for_it_is_told_why_not() -> None:
    text = MAIN.replace("once", "on_demand") + "[budget]\nstarts_per_hour = 1\n"
    async with hold(HANG_UP, configuration=text) as held:
        while held.daemon.keeper is None:
            await trio.sleep(0.001)
        keeping = held.daemon.keeper.find("main")
        keeping.start()
        await held.wait_for(events.Ended)
        while keeping.state != "closed":
            await trio.sleep(0.001)
        with pytest.raises(
            Refused, match="all conversations together may begin 1 times in an hour, and have; next in 60 min"
        ):
            keeping.start()
