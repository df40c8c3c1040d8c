"""``convaid run``: the daemon, in the foreground."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convaid.cli.exits import EXIT_FAILURE
from convaid.cli.printing import print_line
from convaid.cli.setting import config_option, dry_run_option, load_setting, open_platform
from convaid.cli.signals import catch_signal

if TYPE_CHECKING:
    from convaid.config import Configuration
    from convaid.daemon import Daemon
    from convaid.plugins import Plugins

__all__ = ["run"]

log = logging.getLogger(__name__)


@click.command()
@config_option
@dry_run_option
def run(path: Path | None, is_dry: bool) -> int:
    """Run the daemon in the foreground, until Ctrl+C or SIGTERM.

    A second signal ends it at once.
    """
    import trio

    from convaid.daemon import Daemon

    daemon = Daemon()
    with catch_signal(daemon.stop.set) as signals:
        setting = load_setting(path)
        if not signals:  # it is not to cut off what a plugin does when it is loaded
            trio.run(run_with_platform, *setting, is_dry, daemon)
    if signals:
        log.info("%s: stopped before anything had begun", signal.Signals(signals[0]).name)
    return EXIT_FAILURE if daemon.was_hurried else 0


async def run_with_platform(configuration: Configuration, plugins: Plugins, is_dry: bool, daemon: Daemon) -> None:
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
        await run_daemon(pointed, plugins, observe=observe, daemon=daemon, is_dry=is_dry, is_matched=is_matched)
    for name, ended in last.items():
        print_line(f"{name}: {ended.conversation_id or 'no conversation'} {ended.end.cause}")
