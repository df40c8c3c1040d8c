"""Conversations that begin at given times. The README has the settings."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated

import trio
from attrs import define, field

from convaid import Range, hookimpl
from convaid.errors import Problem, StructureError
from convaid.plugins.activation import Activation
from convaid.timetable import find_minute, parse_moments

logger = logging.getLogger(__name__)

LOOK_INTERVAL = 5.0  # seconds between two looks at the wall clock, which may jump
REPEATED = 60  # minutes that the clock has twice, in autumn
CONNECT_LIMIT = 60.0  # seconds for the agent to be there; what was to be said later than that is of no use
STATE_INTERVAL = 0.1  # seconds between two looks at a conversation's state


@define(kw_only=True)
class Time:
    """One of ``[[plugins.schedule.times]]``"""

    at: str | list[str]
    conversation: str = ""
    """May be left out where there is only one."""
    say: str = ""
    context: str = ""
    minutes: Annotated[float, Range(0.1)] = math.inf
    moments: frozenset[int] = field(init=False, factory=frozenset)
    """Minutes of the week."""

    def __attrs_post_init__(self) -> None:
        if not self.at:
            raise StructureError([Problem("at", 'is empty: it needs a time, such as "Mon-Fri 07:30"')])
        for entry in [self.at] if isinstance(self.at, str) else self.at:
            try:
                self.moments |= parse_moments(entry)
            except ValueError as error:
                raise StructureError([Problem("at", str(error))]) from None

    def __str__(self) -> str:
        return self.at if isinstance(self.at, str) else ", ".join(self.at)


@define
class ScheduleSettings:
    """``[plugins.schedule]``"""

    times: list[Time] = field(factory=list)


@hookimpl
def convaid_settings() -> type:
    return ScheduleSettings


@hookimpl
async def convaid_activation(activation: Activation, settings: ScheduleSettings) -> None:
    async with trio.open_nursery() as nursery:
        for time in settings.times:
            nursery.start_soon(follow, time, activation)


async def follow(time: Time, activation: Activation, read_clock: Callable[[], datetime] = datetime.now) -> None:
    """Open a conversation whenever its time comes; for ever."""
    report = partial(activation.report, f"schedule, {time}")
    conversation, names = time.conversation, ", ".join(activation.conversations) or "none"
    if not conversation:
        if len(activation.conversations) != 1:
            report(f"for which conversation? There are: {names}")
            return
        (conversation,) = activation.conversations
    begun: deque[datetime] = deque(maxlen=REPEATED)
    async with trio.open_nursery() as nursery:
        while True:
            is_there = conversation in activation.conversations or activation.find_state(conversation)
            report("" if is_there else f'there is no conversation "{conversation}"; there are: {names}')
            now = read_clock().replace(second=0, microsecond=0)
            if find_minute(now) in time.moments and now not in begun:
                begun.append(now)
                nursery.start_soon(converse, conversation, time, activation)
            await trio.sleep(LOOK_INTERVAL)


async def converse(conversation: str, time: Time, activation: Activation) -> None:
    """Open the conversation, say what is to be said, and close it when it has lasted long enough."""
    logger.info("%s: it is time (%s)", conversation, time)
    activation.start(conversation)
    if time.say or time.context:
        with trio.move_on_after(CONNECT_LIMIT) as limit:
            while activation.find_state(conversation) != "connected":  # noqa: ASYNC110 - there is no event to wait for
                await trio.sleep(STATE_INTERVAL)
        if limit.cancelled_caught:
            logger.warning("%s: not connected in %g s: nothing is said", conversation, CONNECT_LIMIT)
        else:
            if time.context:
                activation.tell_context(conversation, time.context)
            if time.say:
                activation.say(conversation, time.say)
    if time.minutes < math.inf:
        await trio.sleep(time.minutes * 60)
        activation.stop(conversation)
