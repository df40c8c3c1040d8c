"""The daemon: what runs for as long as the process does, and in which order it ends (floor 6)."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import trio
from attrs import define, field

from convaid import events
from convaid.announcer import Announcer
from convaid.budget import Budget
from convaid.calls import ToolCalls, open_tool_calls
from convaid.config import Configuration, Secret, require_api_key
from convaid.errors import ConfigurationError, Problem
from convaid.furnishing import make_conversation, open_budget_of, open_journal_of
from convaid.keeper import Keeper, Pool
from convaid.plugins import Plugins
from convaid.plugins.activation import Activation
from convaid.protocol.endings import SessionEnd
from convaid.reloading import reload
from convaid.session.late import LateResult
from convaid.supervisor import Conversation
from convaid.wishes import Wishes

if TYPE_CHECKING:
    from convaid.calls.desk import Desk
    from convaid.control.feed import Feed

__all__ = ["Daemon", "Service", "run_daemon"]

log = logging.getLogger(__name__)

UNLIMITED = 'set start = "on_demand", idle in its limits, or minutes_per_day in [budget]'
SWITCH_INTERVAL = 0.0005  # seconds that a thread may keep the interpreter from the others
TALK_SHARE = 0.8  # of stop_grace: until then every conversation has said goodbye; the rest is for the plugins


def no_configuration() -> Configuration:
    """There is no file to read again."""
    raise ConfigurationError("the configuration", [Problem("", "comes from no file, so it cannot be read again")])


@define(eq=False)
class Daemon:
    """A running daemon, as `run_daemon` hands it to whoever started it."""

    read_configuration: Callable[[], Configuration] = no_configuration
    """Reads the configuration again, in a thread, to be taken on by `convaid.reloading`."""
    stop: trio.Event = field(factory=trio.Event)
    """Set it to ask for a clean end."""
    was_hurried: bool = False
    """A second signal came: the end was at once, not clean."""
    began_at: float = field(init=False, factory=time.monotonic)
    troubles: dict[str, str] = field(init=False, factory=dict)
    """What does not work just now, a sentence each, by who says so: services set it, and take it back."""
    desk: Desk | None = field(init=False, default=None)
    """Where people are asked to allow tool calls; None where they cannot be."""
    feed: Feed | None = field(init=False, default=None)
    """Where events are read; None where they cannot be."""
    configuration: Configuration = field(init=False)
    """What holds now."""
    keeper: Keeper | None = field(init=False, default=None)
    """None until the daemon is ready."""
    tool_calls: ToolCalls = field(init=False)
    budget: Budget = field(init=False)
    announcer: Announcer = field(init=False)
    make_conversation: Callable[[str, Configuration, Secret | None], Conversation] = field(init=False)
    """Makes a conversation of a configuration ready to be kept."""
    reloading: trio.Lock = field(init=False, factory=trio.Lock)
    """Held while another configuration is taken on."""
    reload_observers: list[Callable[[bool], None]] = field(init=False, factory=list)
    """Told True when another configuration is about to be taken on, False when that is over, well or not."""

    @property
    def conversations(self) -> dict[str, Conversation]:
        """All conversations, as they are now."""
        return {keeping.name: keeping.conversation for keeping in self.keeper or ()}

    @property
    def endings(self) -> dict[str, SessionEnd]:
        """How each conversation that is over for good ended, if it ever began."""
        over = [keeping.conversation for keeping in self.keeper or () if keeping.closed.is_set()]
        return {conversation.name: conversation.last_end for conversation in over if conversation.last_end}

    def tell_reload(self, is_reloading: bool) -> None:
        """Tell the observers of reloads."""
        for observe in self.reload_observers:
            observe(is_reloading)

    def deliver_late_result(self, name: str, result: LateResult) -> None:
        """Have the agent of a conversation told, now or when there is one again."""
        if name in self.conversations:
            self.conversations[name].late_results.put(result)


class Service(Protocol):
    """Something that runs as long as the daemon, and tells when it is ready; cancelled after the last goodbye."""

    def __call__(self, daemon: Daemon, *, task_status: trio.TaskStatus[None]) -> Awaitable[None]: ...


async def run_daemon(
    configuration: Configuration,
    plugins: Plugins,
    *,
    observe: Callable[[events.Event], None],
    daemon: Daemon | None = None,
    services: Sequence[Service] = (),
    is_dry: bool = False,
    is_matched: bool = True,
    record_to: Path | None = None,
    task_status: trio.TaskStatus[Daemon] = trio.TASK_STATUS_IGNORED,
) -> Daemon:
    """Keep all conversations going until every one is over or ``stop`` is set, or SIGINT or SIGTERM arrives.

    Ready (``task_status``) when plugins are up, conversations begin and ``services`` are ready; the network need not be
    there. Services run beside the conversations, and outlive them. ``observe`` is told every event, at once and on this
    loop. ``is_dry``: tools are not run, but answered with their ``mock``. ``is_matched``: they are held against the
    platform, if there is a way. ``record_to`` is a file for the recording of sessions, whatever the configuration says
    of them. From the request to stop, everything ends within ``stop_grace`` seconds; a second signal ends it at once.
    Raises `ConfigurationError` before anything starts.
    """
    # With the usual 5 ms, four tools that compute in threads make a pong wait for a second.
    sys.setswitchinterval(SWITCH_INTERVAL)
    daemon = daemon or Daemon()
    daemon.configuration = configuration
    wishes = Wishes(daemon.troubles)
    daemon.reload_observers.append(wishes.note_reload)
    api_key = require_api_key(configuration, os.environ)
    for name in configuration.find_unlimited():
        log.warning("%s is open day and night, and costs as much while nobody talks: %s", name, UNLIMITED)
    with (
        closing(wishes),
        nullcontext() if is_dry else open_journal_of(configuration.tools) as journal,
        open_budget_of(configuration) as daemon.budget,
    ):
        async with trio.open_nursery() as background:
            conversations_scope = trio.CancelScope()
            await background.start(watch_signals, daemon, background)
            background.start_soon(bound_stop, daemon, conversations_scope, background.cancel_scope)
            async with open_tool_calls(
                plugins,
                configuration.tools,
                journal=journal,
                deliver=daemon.deliver_late_result,
                is_dry=is_dry,
                hidden=[configuration.platform.api_key_env],
                activation=Activation(tuple(configuration.conversations), wishes),
            ) as tool_calls:
                daemon.tool_calls = tool_calls
                daemon.announcer = announcer = Announcer([observe, tool_calls.observe])
                background.start_soon(announcer.run)
                daemon.make_conversation = functools.partial(
                    make_conversation,
                    tools=tool_calls,
                    publish=announcer.publish,
                    journal=journal,
                    budget=daemon.budget,
                    plugins=plugins,
                    record_to=record_to,
                )
                try:
                    with conversations_scope:
                        if is_matched:
                            await background.start(match_tools, configuration, plugins, api_key, tool_calls)
                        async with trio.open_nursery() as conversations:
                            pool = Pool(configuration.daemon.pool_size, configuration.daemon.queue_size)
                            keeper = Keeper(conversations, pool)
                            background.start_soon(end_on_request, daemon.stop, keeper)
                            for service in services:  # first: one that cannot be had costs no conversation
                                await background.start(service, daemon)
                            for name in configuration.conversations:
                                keeper.add(daemon.make_conversation(name, configuration, api_key))
                            daemon.keeper = keeper
                            wishes.begin(keeper)
                            task_status.started(daemon)
                finally:
                    announcer.tell()
            background.cancel_scope.cancel()
    return daemon


async def match_tools(
    configuration: Configuration,
    plugins: Plugins,
    api_key: Secret | None,
    tool_calls: ToolCalls,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Hold the tools against the platform, and let their calls know how long it waits. Raises as `match_at_start`.

    Conversations may begin at once; where ``strict`` is set, after it.
    """
    if not configuration.tools.strict:
        task_status.started()
    if api_key or configuration.tools.snapshot or configuration.platform.simulator_file:
        for name in ("httpx", "convaid.matching.observing"):  # 0.2 s, for which no conversation is to wait
            await trio.to_thread.run_sync(import_module, name)
        from convaid.matching.observing import match_at_start

        match = await match_at_start(configuration, plugins, api_key)
        for conversation, timeouts in match.response_timeouts.items():
            tool_calls.learn_response_timeouts(conversation, timeouts)
    if configuration.tools.strict:
        task_status.started()


async def end_on_request(stop: trio.Event, keeper: Keeper) -> None:
    """When asked to stop, have every conversation say goodbye."""
    await stop.wait()
    keeper.end()


async def reload_by_signal(daemon: Daemon) -> None:
    """Reload; what is wrong is in the log, and nothing has changed then."""
    if daemon.keeper is None:
        log.warning("SIGHUP came before the daemon was ready; nothing is reloaded")
        return
    if daemon.reloading.statistics().tasks_waiting:
        return  # somebody is about to read the file as it is by then
    try:
        await reload(daemon)
    except ConfigurationError as error:
        log.error("not reloaded, everything stays as it is: %s", error)


async def watch_signals(
    daemon: Daemon, background: trio.Nursery, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """The first SIGINT or SIGTERM asks for a clean end, the second ends everything at once; SIGHUP reloads."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            name = signal.Signals(number).name
            if number == signal.SIGHUP:
                background.start_soon(reload_by_signal, daemon)
                continue
            if daemon.stop.is_set():
                log.warning("a second signal (%s): stopping at once", name)
                daemon.was_hurried = True
                background.cancel_scope.cancel()
                return
            log.info("%s: stopping; a second signal ends at once", name)
            daemon.stop.set()


async def bound_stop(daemon: Daemon, conversations: trio.CancelScope, everything: trio.CancelScope) -> None:
    """See to it that a request to stop is over in ``stop_grace`` seconds, whatever hangs."""
    await daemon.stop.wait()
    grace = daemon.configuration.daemon.stop_grace
    conversations.deadline = trio.current_time() + grace * TALK_SHARE
    everything.deadline = trio.current_time() + grace
