"""Taking a new configuration on while conversations go on: what did not change keeps its connection (floor 6)."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import trio
from attrs import field, frozen

from convaid.config import Configuration, require_api_key
from convaid.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from convaid.config import Secret
    from convaid.daemon import Daemon
    from convaid.keeper import Keeper
    from convaid.supervisor import Conversation

__all__ = ["Reload", "reload"]

log = logging.getLogger(__name__)

TROUBLE = "reload"


@frozen
class Reload:
    """What a reload came to, by the names of conversations; ``needs_restart`` are settings that do not count yet."""

    opened: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        parts = [
            f"{words}: {', '.join(names)}"
            for words, names in (
                ("new", self.opened),
                ("changed and begun anew", self.restarted),
                ("closed", self.closed),
                ("unchanged", self.unchanged),
                ("only after a restart", self.needs_restart),
            )
            if names
        ]
        return "; ".join(parts) or "nothing to do"


async def reload(daemon: Daemon) -> Reload:
    """Read the configuration again and take it on, one reload at a time.

    Raises `ConfigurationError`, and changes nothing, where the file cannot be used. Conversations whose settings are as
    they were go on; others say goodbye, and begin anew if they were open, or where their start is due by itself.
    """
    async with daemon.reloading:
        daemon.tell_reload(True)
        try:
            done = await take_on(daemon)
        except ConfigurationError as error:
            daemon.troubles[TROUBLE] = f"not reloaded: {error.source}: {error.problems[0]}"
            raise
        else:
            daemon.troubles.pop(TROUBLE, None)
            return done
        finally:
            daemon.tell_reload(False)


async def take_on(daemon: Daemon) -> Reload:
    """See `reload`, of which this is the work."""
    configuration = await trio.to_thread.run_sync(daemon.read_configuration)
    api_key = require_api_key(configuration, os.environ)
    keeper = daemon.keeper
    if keeper is None or daemon.stop.is_set() or keeper.is_over:
        when = "starts" if keeper is None else "ends"
        raise ConfigurationError("the configuration", [Problem("", f"is not read again: the daemon {when}")])
    with keeper.exchange():
        return await exchange(daemon, keeper, configuration, api_key)


async def exchange(daemon: Daemon, keeper: Keeper, configuration: Configuration, api_key: Secret | None) -> Reload:
    """Let the new configuration count, and have those conversations begin anew that it changes."""
    before = daemon.configuration
    needs_restart = [
        *find_fixed_changes(before, configuration),
        *daemon.tool_calls.configure(configuration.tools),
    ]
    daemon.budget.configure(
        configuration.budget, {name: settings.budget for name, settings in configuration.conversations.items()}
    )
    daemon.configuration = configuration
    keeper.pool.size, keeper.pool.queue_size = configuration.daemon.pool_size, configuration.daemon.queue_size
    keeper.pool.admit()
    old, new = before.conversations, configuration.conversations
    is_moved = (
        before.platform.rest_url != configuration.platform.rest_url
        or before.daemon.stop_grace != configuration.daemon.stop_grace
    )
    changed = []
    for name in old.keys() & new.keys():
        has_other_key = new[name].needs_api_key and keeper.find(name).conversation.api_key != api_key
        if is_moved or has_other_key or old[name] != new[name]:
            changed.append(name)
    was_wanted: dict[str, bool] = {}
    ended: dict[str, Conversation] = {}

    async def close(name: str) -> None:
        was_wanted[name] = keeper.find(name).is_wanted
        ended[name] = (await keeper.close(name)).conversation

    async with trio.open_nursery() as closing:
        for name in [*changed, *(old.keys() - new.keys())]:
            closing.start_soon(close, name)
    for name in old.keys() - new.keys():
        keeper.remove(name)
    for name in new:
        if name not in old or name in changed:
            conversation, is_wanted = daemon.make_conversation(name, configuration, api_key), None
            if name in changed:
                conversation.late_results, conversation.is_muted = ended[name].late_results, ended[name].is_muted
                if new[name].start == "on_demand" or old[name].start == new[name].start == "always":
                    is_wanted = was_wanted[name]  # else its hours, or its other way to start, say it
            keeper.add(conversation, is_wanted=is_wanted)
    done = Reload(
        tuple(name for name in new if name not in old),
        tuple(name for name in new if name in changed),
        tuple(name for name in old if name not in new),
        tuple(name for name in new if name in old and name not in changed),
        tuple(needs_restart),
    )
    log.info("reloaded: %s", done)
    return done


def find_fixed_changes(before: Configuration, after: Configuration) -> list[str]:
    """Settings that differ, and that only a restart takes on."""
    fixed = ["[[event_commands]]"] if before.event_commands != after.event_commands else []
    if before.plugins != after.plugins:
        names = sorted(before.plugins.keys() | after.plugins.keys())
        fixed += [f"[plugins.{name}]" for name in names if before.plugins.get(name) != after.plugins.get(name)]
    fixed += ["[control]"] if before.control != after.control else []
    return fixed
