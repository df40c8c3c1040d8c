"""The daemon: what runs for as long as the process does, and in which order it ends (floor 6)."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from convaid import events
from convaid.calls import ToolCalls, list_offered, note_told, open_tool_calls
from convaid.config import Configuration, ConversationConfig, Secret, ToolsConfig, require_api_key
from convaid.errors import ConfigurationError, JournalError, Problem
from convaid.plugins import Plugins
from convaid.protocol.endings import SessionEnd
from convaid.recording import Recorder, Redactor, find_recordings_folder
from convaid.session import Tools
from convaid.session.late import LateResult
from convaid.session.speech import OpenSound
from convaid.supervisor import Conversation, keep_conversing

if TYPE_CHECKING:
    from convaid.journal import Journal

__all__ = ["Daemon", "run_daemon"]

log = logging.getLogger(__name__)

TOOLS_SHARE = 0.6  # of stop_grace: for running tools to finish
SWITCH_INTERVAL = 0.0005  # seconds that a thread may keep the interpreter from the others
TALK_SHARE = 0.8  # of stop_grace: until then every conversation has said goodbye; the rest is for the plugins


@define(eq=False)
class Daemon:
    """A running daemon, as `run_daemon` hands it to whoever started it."""

    conversations: dict[str, Conversation] = field(factory=dict)
    stop: trio.Event = field(factory=trio.Event)
    """Set it to ask for a clean end."""
    endings: dict[str, SessionEnd] = field(factory=dict)
    """How each conversation that is over ended."""
    was_hurried: bool = False
    """A second signal came: the end was at once, not clean."""

    def deliver_late_result(self, name: str, result: LateResult) -> None:
        """Have the agent of a conversation told, now or when there is one again."""
        if name in self.conversations:
            self.conversations[name].late_results.put(result)


async def run_daemon(
    configuration: Configuration,
    plugins: Plugins,
    *,
    observe: Callable[[events.Event], None],
    daemon: Daemon | None = None,
    is_dry: bool = False,
    is_matched: bool = True,
    record_to: Path | None = None,
    task_status: trio.TaskStatus[Daemon] = trio.TASK_STATUS_IGNORED,
) -> Daemon:
    """Keep all conversations going until every one is over or ``stop`` is set, or SIGINT or SIGTERM arrives.

    Ready (``task_status``) when plugins are up and conversations begin; the network need not be there. ``observe`` is
    told every event, at once and on this loop. ``is_dry``: tools are not run, but answered with their ``mock``.
    ``is_matched``: they are held against the platform, if there is a way. ``record_to`` is a file for the recording of
    sessions, whatever the configuration says of them. From the request to stop, everything ends within ``stop_grace``
    seconds; a second signal ends it at once. Raises `ConfigurationError` before anything starts.
    """
    # With the usual 5 ms, four tools that compute in threads make a pong wait for a second.
    sys.setswitchinterval(SWITCH_INTERVAL)
    daemon = daemon or Daemon()
    api_key = require_api_key(configuration, os.environ)
    grace = configuration.daemon.stop_grace
    with nullcontext() if is_dry else open_journal_of(configuration.tools) as journal:
        async with trio.open_nursery() as services:
            conversations_scope = trio.CancelScope()
            await services.start(watch_signals, daemon, services.cancel_scope)
            services.start_soon(bound_stop, daemon, conversations_scope, services.cancel_scope, grace)
            async with open_tool_calls(
                plugins,
                configuration.tools,
                journal=journal,
                deliver=daemon.deliver_late_result,
                is_dry=is_dry,
                hidden=[configuration.platform.api_key_env],
            ) as tool_calls:
                announcer = Announcer((observe, tool_calls.observe))
                services.start_soon(announcer.run)
                try:
                    with conversations_scope:
                        if is_matched:
                            await services.start(match_tools, configuration, plugins, api_key, tool_calls)
                        async with trio.open_nursery() as conversations:
                            for name in configuration.conversations:
                                conversation = make_conversation(
                                    name,
                                    configuration,
                                    api_key,
                                    tools=tool_calls,
                                    publish=announcer.publish,
                                    stop=daemon.stop,
                                    recorder=make_recorder(name, configuration, api_key, plugins, record_to),
                                )
                                daemon.conversations[name] = conversation
                                if journal is not None:
                                    deliver_earlier_results(conversation, journal)
                                conversations.start_soon(keep, daemon, conversation, name=f"conversation {name}")
                            task_status.started(daemon)
                finally:
                    announcer.tell()
            services.cancel_scope.cancel()
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


def make_conversation(
    name: str,
    configuration: Configuration,
    api_key: Secret | None,
    *,
    tools: Tools,
    publish: Callable[[events.Event], None],
    stop: trio.Event,
    recorder: Recorder | None = None,
) -> Conversation:
    """Return a conversation of the configuration with all that it needs, ready to be kept going."""
    settings = configuration.conversations[name]
    return Conversation(
        name,
        settings,
        configuration.platform.rest_url,
        api_key,
        tools,
        publish,
        find_sound(settings),
        stop,
        configuration.daemon.stop_grace * TOOLS_SHARE,
        recorder,
    )


def make_recorder(
    name: str, configuration: Configuration, api_key: Secret | None, plugins: Plugins, file: Path | None = None
) -> Recorder | None:
    """Return what records a conversation's sessions, be it to one file; None where the configuration wants none."""
    settings = configuration.conversations[name]
    if file is None and not settings.record:
        return None
    owners = {tool.name: plugin.name for tool, plugin in list_offered(plugins, configuration.tools)}

    def find_hidden(tool: str) -> Collection[str]:
        return configuration.tools.find_policy(tool, owners.get(tool, "")).redact or ()

    secrets = [*configuration.secrets(), *([api_key] if api_key else [])]
    in_initiation = settings.initiation.get("dynamic_variables")
    variables = settings.dynamic_variables | (in_initiation if isinstance(in_initiation, dict) else {})
    redactor = Redactor(secrets, variables, find_hidden)
    place = file or find_recordings_folder().expanduser()
    return Recorder(name, settings.agent_id, redactor, place, is_folder=file is None)


@contextmanager
def open_journal_of(config: ToolsConfig) -> Iterator[Journal]:
    """Open the journal of tool calls, and log which calls an earlier daemon did not see to their end."""
    from convaid.journal import find_journal_path, open_journal

    with ExitStack() as stack:
        try:
            journal = stack.enter_context(open_journal(config.journal or find_journal_path()))
        except JournalError as error:
            raise ConfigurationError("the configuration", [Problem("tools.journal", str(error))]) from None
        for entry in journal.lost:
            log.warning(
                'the tool "%s" was running when the daemon ended, and may have done part of its work (%s, %s)',
                entry.tool,
                entry.conversation_id,
                entry.tool_call_id,
            )
        yield journal


def deliver_earlier_results(conversation: Conversation, journal: Journal) -> None:
    """Have the agent told of what an earlier daemon's tools came to, and that nobody was told of."""
    try:
        earlier = journal.list_late(conversation.name)
    except JournalError as error:
        log.error("%s: what earlier tools came to is not told: %s", conversation.name, error)
        return
    for late in earlier:
        told = functools.partial(note_told, journal, late.conversation_id, late.tool_call_id)
        conversation.late_results.put(LateResult(late.text, told))


def find_sound(settings: ConversationConfig) -> OpenSound | None:
    """How a conversation opens its microphone and speaker; text conversations import no audio."""
    if settings.sound is None:
        return None
    from convaid.devices import open_sound

    return functools.partial(open_sound, settings.sound)


class Announcer:
    """Tells observers what happens, in order and in a task of its own: no answer waits for its log line."""

    def __init__(self, observers: tuple[Callable[[events.Event], None], ...]) -> None:
        """``observers`` return soon and raise nothing."""
        self._observers = observers
        self._untold: deque[events.Event] = deque()
        self._told = trio.Event()

    def publish(self, event: events.Event) -> None:
        """Have the observers told, soon."""
        self._untold.append(event)
        self._told.set()

    async def run(self) -> None:
        """Tell the observers, until cancelled."""
        while True:
            await self._told.wait()
            self._told = trio.Event()
            await trio.lowlevel.checkpoint()  # whoever has something to send goes first
            self.tell()

    def tell(self) -> None:
        """Tell the observers what they have not been told."""
        while self._untold:
            event = self._untold.popleft()
            for observe in self._observers:
                observe(event)


async def keep(daemon: Daemon, conversation: Conversation) -> None:
    """Keep one conversation going and note how it ended."""
    daemon.endings[conversation.name] = await keep_conversing(conversation)


async def watch_signals(
    daemon: Daemon, everything: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """The first SIGINT or SIGTERM asks for a clean end, the second ends everything at once."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            name = signal.Signals(number).name
            if daemon.stop.is_set():
                log.warning("a second signal (%s): stopping at once", name)
                daemon.was_hurried = True
                everything.cancel()
                return
            log.info("%s: stopping; a second signal ends at once", name)
            daemon.stop.set()


async def bound_stop(
    daemon: Daemon, conversations: trio.CancelScope, everything: trio.CancelScope, grace: float
) -> None:
    """See to it that a request to stop is over in ``grace`` seconds, whatever hangs."""
    await daemon.stop.wait()
    conversations.deadline = trio.current_time() + grace * TALK_SHARE
    everything.deadline = trio.current_time() + grace
