"""Opening what tools run in, and closing it again (floor 5)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from convaid.calls.aftermath import Deliver, drop
from convaid.calls.calls import ToolCalls
from convaid.calls.room import MakeLoop, make_loop
from convaid.config.policy import ToolsConfig
from convaid.plugins.activation import Activation
from convaid.plugins.loading import Plugins

if TYPE_CHECKING:
    from convaid.journal import Journal

__all__ = ["open_tool_calls"]


@asynccontextmanager
async def open_tool_calls(
    plugins: Plugins,
    config: ToolsConfig,
    *,
    journal: Journal | None = None,
    deliver: Deliver = drop,
    is_dry: bool = False,
    hidden: Collection[str] = (),
    make_loop: MakeLoop = make_loop,
    activation: Activation | None = None,
) -> AsyncIterator[ToolCalls]:
    """Open the rooms of the plugins that need one, and yield what runs their tools; closes the rooms at the end.

    Both take a limited time, all rooms at once; closing takes next to none when it is cancelled. A plugin whose
    lifespan does not begin is out of service, and its tools answer so. Calls are over before this is: whoever opens it
    ends its conversations first. ``journal`` (the caller's to close) sees to it that no call runs twice; ``deliver`` is
    given the results that come after their conversation's agent was answered; ``is_dry``: no tool runs, each is
    answered with its ``mock``; ``hidden`` names variables of the environment that no process of a plugin gets;
    ``make_loop`` makes the loops of the rooms; with ``activation``, plugins open and close conversations.
    """
    async with open_background() as nursery:
        tool_calls = ToolCalls(
            plugins,
            config,
            nursery=nursery,
            journal=journal,
            deliver=deliver,
            is_dry=is_dry,
            hidden=hidden,
            make_loop=make_loop,
            activation=activation,
        )
        places = tool_calls.places
        try:
            async with trio.open_nursery() as opening:
                for place in places:
                    opening.start_soon(place.open)
            for place in places:
                nursery.start_soon(place.watch)
            yield tool_calls
        finally:
            async with trio.open_nursery() as closing:
                for place in places:
                    closing.start_soon(place.close)


@asynccontextmanager
async def open_background() -> AsyncIterator[trio.Nursery]:
    """Yield a nursery that is cancelled at the end; what the body raises comes out as it is, not in a group."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:  # a task of the nursery's failed, too: a bug
            raise
        raise group.exceptions[0] from None
