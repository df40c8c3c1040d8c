"""One answer for every tool call, in time, whatever the tool does (floor 5)."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from functools import partial

import attrs
import trio
from outcome import Outcome

from convaid.calls.results import cut_text
from convaid.calls.room import Room
from convaid.calls.run import Ending, Offer, Run, perform
from convaid.config.model import ToolConfig, ToolsConfig
from convaid.events import Event, ToolAnswer
from convaid.plugins.loading import Plugin, Plugins, find_stray_tables
from convaid.plugins.tool import Tool
from convaid.protocol.from_agent import ClientToolCall
from convaid.structuring import nearest

__all__ = ["ToolCalls", "list_offered", "open_tool_calls"]

logger = logging.getLogger(__name__)

REACTION_LIMIT = 0.5  # seconds for a tool that was given up to end, before the log says where it is
QUEUE_LIMIT = 1000  # calls that may wait for a place; a flood of more is answered at once
NAME_LENGTH = 80  # characters of an unknown tool's name that an answer repeats


def list_offered(plugins: Plugins, config: ToolsConfig) -> list[tuple[Tool, Plugin]]:
    """Every tool that agents can call: its plugin is ready, and the configuration has not disabled it."""
    return [
        (tool, plugin)
        for plugin in plugins.ready
        for tool in plugin.tools
        if config.named.get(tool.name, ToolConfig()).enabled
    ]


class ToolCalls:
    """Runs the tools of all plugins, for all conversations. Made by `open_tool_calls`."""

    def __init__(self, plugins: Plugins, config: ToolsConfig) -> None:
        self._config = config
        self._plugins = plugins
        self._rooms = {plugin.name: Room(plugin) for plugin in plugins.ready if _needs_room(plugin)}
        self._observers = [room for room in self._rooms.values() if room.plugin.observe is not None]
        self._places = trio.Semaphore(config.parallel)
        self._offers = {
            tool.name: self._make_offer(tool, plugin, config.named.get(tool.name, ToolConfig()))
            for tool, plugin in list_offered(plugins, config)
        }
        self._left_behind: list[Run] = []
        self._open_calls = 0
        for problem in find_stray_tables(plugins, config.named):
            logger.warning("%s", problem)

    @property
    def rooms(self) -> tuple[Room, ...]:
        return tuple(self._rooms.values())

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """All plugins as they are now: one whose lifespan has failed is broken."""
        failures = {name: room.failure for name, room in self._rooms.items() if room.failure}
        return tuple(
            attrs.evolve(plugin, status="broken", reason=failures[plugin.name]) if plugin.name in failures else plugin
            for plugin in self._plugins
        )

    async def call(self, call: ClientToolCall, conversation: str, conversation_id: str) -> ToolAnswer:
        """Run the tool that the agent asks for and return the one answer that it is owed.

        Always answers, within the tool's time limit, which includes waiting for a free place; raises nothing but
        `trio.Cancelled`. A tool that is given up, because its time is over or because the caller is cancelled, is asked
        to end, and nobody waits until it does.
        """
        begin = trio.current_time()
        if self._open_calls >= self._config.parallel + QUEUE_LIMIT:
            text = f'Too many calls wait here for the tool "{call.tool_name[:NAME_LENGTH]}" to run. Try again later.'
            return ToolAnswer(text, True, "overloaded", 0.0)
        self._open_calls += 1
        try:
            outcome, text = await self._see_to_its_end(call, conversation, conversation_id)
        finally:
            self._open_calls -= 1
        return ToolAnswer(text, outcome != "ok", outcome, trio.current_time() - begin)

    def observe(self, event: Event) -> None:
        """Hand an event to the plugins that observe; never waits, never raises."""
        for room in self._observers:
            room.observe(event)

    def _make_offer(self, tool: Tool, plugin: Plugin, limits: ToolConfig) -> Offer:
        parallel = limits.parallel or tool.parallel or self._config.parallel
        return Offer(
            tool=tool,
            plugin=plugin,
            time_limit=self._config.find_time_limit(tool.name, tool.time_limit),
            result_size=self._config.result_size,
            places=trio.Semaphore(parallel),
            log=logging.getLogger(f"convaid.plugin.{plugin.name}"),
        )

    async def _see_to_its_end(self, call: ClientToolCall, conversation: str, conversation_id: str) -> Ending:
        offer = self._offers.get(call.tool_name)
        if offer is None:
            return "unknown", self._describe_unknown(call.tool_name)
        room = self._rooms.get(offer.plugin.name)
        if room is not None and room.failure:
            return "error", f'The tool "{call.tool_name}" is out of service. Do not call it again in this conversation.'
        state = room.state if room is not None else None
        deadline = time.monotonic() + offer.time_limit
        outside = trio.lowlevel.current_trio_token()
        run = Run(offer, call, conversation, conversation_id, state, deadline, outside)
        with trio.move_on_after(offer.time_limit):
            await _take_place(offer.places)
            try:
                await _take_place(self._places)
            except trio.Cancelled:
                offer.places.release()
                raise
            try:
                return await self._wait_for(run, room)
            finally:
                self._places.release()
        return _describe_time_out(run)

    async def _wait_for(self, run: Run, room: Room | None) -> Ending:
        """Begin a run that has its places, and wait for its ending."""
        run.has_begun = True
        run.waiting = trio.lowlevel.current_task()
        if room is not None and run.offer.tool.is_async:
            room.start(run)
        else:
            # Not trio.to_thread: that takes half as long again, and would let the plugin call back into our loop. A
            # context of its own, because threads are used again: decimal's settings, say, belong to it.
            token = trio.lowlevel.current_trio_token()
            try:
                trio.lowlevel.start_thread_soon(partial(Context().run, perform, run), partial(_tell_end, token, run))
            except RuntimeError as error:  # the system gives us no more threads
                run.offer.places.release()
                logger.error('the tool "%s" cannot run: %s', run.call.tool_name, error)
                return "overloaded", f'Too much goes on here to run the tool "{run.call.tool_name}". Try again later.'

        def stop_waiting(_: object) -> trio.lowlevel.Abort:
            run.waiting = None
            run.is_given_up = True
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            ending: Ending = await trio.lowlevel.wait_task_rescheduled(stop_waiting)
        except trio.Cancelled:
            if room is not None:
                room.cancel(run)
            trio.lowlevel.spawn_system_task(self._report_if_left_behind, run)  # its caller is not to wait for it
            raise
        return ending

    async def _report_if_left_behind(self, run: Run) -> None:
        """Say in the log where a tool is that was given up and goes on all the same."""
        await trio.sleep(REACTION_LIMIT)
        self._left_behind = [other for other in self._left_behind if not other.is_over]
        if not run.is_over:
            self._left_behind.append(run)
            logger.warning(
                'the tool "%s" goes on although it was given up, at %s (%d such in all)',
                run.call.tool_name,
                run.locate(),
                len(self._left_behind),
            )

    def _describe_unknown(self, name: str) -> str:
        name = name[:NAME_LENGTH]
        found = nearest(name, self._offers, 3)
        hint = f"Did you mean {' or '.join(found)}?" if found else f"There are: {', '.join(self._offers) or 'none'}."
        return cut_text(f'There is no tool named "{name}" here. {hint}', self._config.result_size)


@asynccontextmanager
async def open_tool_calls(plugins: Plugins, config: ToolsConfig) -> AsyncIterator[ToolCalls]:
    """Open the rooms of the plugins that need one, and yield what runs their tools; closes the rooms at the end.

    Both take a limited time, all rooms at once; closing takes next to none when it is cancelled. A plugin whose
    lifespan does not begin is out of service, and its tools answer so. Calls are over before this is: whoever opens it
    ends its conversations first.
    """
    tool_calls = ToolCalls(plugins, config)
    rooms = tool_calls.rooms
    try:
        async with trio.open_nursery() as nursery:
            for room in rooms:
                nursery.start_soon(room.open, name=f"open the room of {room.plugin.name}")
        yield tool_calls
    finally:
        async with trio.open_nursery() as nursery:
            for room in rooms:
                nursery.start_soon(room.close, name=f"close the room of {room.plugin.name}")


def _needs_room(plugin: Plugin) -> bool:
    return plugin.lifespan is not None or plugin.observe is not None or any(tool.is_async for tool in plugin.tools)


async def _take_place(places: trio.Semaphore) -> None:
    try:
        places.acquire_nowait()  # saves a turn of the loop
    except trio.WouldBlock:
        await places.acquire()


def _tell_end(token: trio.lowlevel.TrioToken, run: Run, result: Outcome[Ending]) -> None:
    """In a worker thread: a run is over. Nobody cares any more once the conversations' loop is gone."""
    with suppress(trio.RunFinishedError):
        token.run_sync_soon(run.finish, result)


def _describe_time_out(run: Run) -> Ending:
    name, limit = run.call.tool_name, f"{run.offer.time_limit:g} s"
    if run.has_begun:
        return "time-out", (
            f'The tool "{name}" took longer than {limit} and was given up. It may have done part of its work: '
            "do not call it again at once."
        )
    return "overloaded", f'The tool "{name}" is busy: no place became free within {limit}. Try again in a minute.'
