"""``convaid run``: the daemon, in the foreground."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convaid.cli.exits import EXIT_FAILURE
from convaid.cli.printing import print_line
from convaid.cli.setting import config_option, dry_run_option, load_setting, open_platform

if TYPE_CHECKING:
    from convaid.config import Configuration
    from convaid.daemon import Daemon
    from convaid.plugins import Plugins

__all__ = ["run"]


@click.command()
@config_option
@dry_run_option
def run(path: Path | None, is_dry: bool) -> int:
    """Run the daemon in the foreground, until Ctrl+C or SIGTERM.

    A second signal ends it at once.
    """
    import trio

    daemon = trio.run(run_with_platform, *load_setting(path), is_dry)
    logging.shutdown()
    sys.stdout.flush()
    # Not by return: the interpreter would wait for every thread that a plugin has left behind.
    os._exit(EXIT_FAILURE if daemon.was_hurried else 0)


async def run_with_platform(configuration: Configuration, plugins: Plugins, is_dry: bool) -> Daemon:
    """Run the daemon, beside the simulator where the configuration names it; prints each conversation's last id."""
    from convaid import events
    from convaid.daemon import run_daemon
    from convaid.narration import log_event

    last: dict[str, events.Ended] = {}

    def observe(event: events.Event) -> None:
        log_event(event)
        if isinstance(event, events.Ended):
            last[event.conversation] = event

    async with open_platform(configuration) as pointed:
        # The bundled simulator that begins anew every time has no tools: there is nothing to hold ours against.
        is_matched = not configuration.platform.is_forgetful
        daemon = await run_daemon(pointed, plugins, observe=observe, is_dry=is_dry, is_matched=is_matched)
    for name, ended in last.items():
        print_line(f"{name}: {ended.conversation_id or 'no conversation'} {ended.end.cause}")
    return daemon
