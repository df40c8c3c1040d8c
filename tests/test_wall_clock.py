"""A clock that is set is noticed; one that is kept right is not."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock

from convaid import wall_clock
from convaid.daemon import Daemon


async def test_a_clock_that_is_set_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    leads = iter([100.0, 100.002, 3700.0, 3700.0, 99.5])
    monkeypatch.setattr(wall_clock, "find_lead", lambda: next(leads, 99.5))
    async with trio.open_nursery() as nursery:
        await nursery.start(wall_clock.watch_wall_clock, Daemon())
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "the machine's clock was set forward by 3600 s",
        "the machine's clock was set back by 3600 s",
    ]
