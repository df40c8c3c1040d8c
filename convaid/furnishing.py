"""What a conversation is furnished with before it is kept: journal, budget, recorder, sound (floor 6)."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from convaid import events
from convaid.budget import Budget, BudgetError, open_budget
from convaid.calls import ToolCalls, list_offered, note_told
from convaid.config import Configuration, ConversationConfig, Secret, ToolsConfig
from convaid.errors import ConfigurationError, JournalError, Problem
from convaid.plugins import Plugins
from convaid.recording import Recorder, Redactor, find_recordings_folder
from convaid.session.late import LateResult
from convaid.supervisor import Conversation

if TYPE_CHECKING:
    from convaid.calls.room import Room
    from convaid.journal import Journal
    from convaid.sound.sound import Sound

__all__ = ["make_conversation", "open_budget_of", "open_journal_of"]

log = logging.getLogger(__name__)

TOOLS_SHARE = 0.6  # of stop_grace: for running tools to finish


def make_conversation(
    name: str,
    configuration: Configuration,
    api_key: Secret | None,
    *,
    tools: ToolCalls,
    publish: Callable[[events.Event], None],
    journal: Journal | None,
    budget: Budget | None,
    plugins: Plugins,
    record_to: Path | None,
) -> Conversation:
    """Return a conversation of the configuration with all that it needs, ready to be kept going."""
    settings = configuration.conversations[name]
    conversation = Conversation(
        name,
        settings,
        configuration.platform.rest_url,
        api_key,
        tools,
        publish,
        make_sound(name, settings, tools.rooms),
        trio.Event(),
        configuration.daemon.stop_grace * TOOLS_SHARE,
        make_recorder(name, configuration, api_key, plugins, record_to),
        budget=budget,
    )
    if journal is not None:
        deliver_earlier_results(conversation, journal)
    return conversation


@contextmanager
def open_budget_of(configuration: Configuration) -> Iterator[Budget]:
    """Open the budget of all conversations. Raises `ConfigurationError` if there is no place to keep it."""
    single = {name: settings.budget for name, settings in configuration.conversations.items()}
    with ExitStack() as stack:
        try:
            budget = stack.enter_context(open_budget(configuration.budget, single))
        except BudgetError as error:
            raise ConfigurationError("the configuration", [Problem("budget", str(error))]) from None
        yield budget


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


def make_sound(name: str, settings: ConversationConfig, rooms: Iterable[Room]) -> Sound | None:
    """Return the sound of a conversation; None in text, which imports no audio."""
    if settings.audio == "none":
        return None
    from convaid.calls.devices import find_device
    from convaid.sound.sound import Sound

    devices = settings.sound or find_device(rooms, settings.audio)
    assert devices is not None, "the configuration was held against the plugins"
    return Sound(name, settings, devices)
