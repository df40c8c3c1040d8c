"""``convaid run``: the daemon, in the foreground."""

from __future__ import annotations

import faulthandler
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convaid.cli.exits import EXIT_FAILURE
from convaid.cli.printing import print_line
from convaid.cli.setting import (
    config_option,
    dry_run_option,
    find_configuration,
    load_setting,
    open_platform,
    reread_configuration,
)
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

    faulthandler.enable()  # systemd's watchdog ends what hangs by SIGABRT: where it hung is in the journal then
    daemon = Daemon()
    path = find_configuration(path)
    with catch_signal(daemon.stop.set) as signals:
        setting = load_setting(path)
        if not signals:  # it is not to cut off what a plugin does when it is loaded
            trio.run(run_with_platform, path, *setting, is_dry, daemon)
    if signals:
        log.info("%s: stopped before anything had begun", signal.Signals(signals[0]).name)
    return EXIT_FAILURE if daemon.was_hurried else 0


async def run_with_platform(
    path: Path | None, configuration: Configuration, plugins: Plugins, is_dry: bool, daemon: Daemon
) -> None:
    """Run the daemon, beside the simulator where the configuration names it; prints each conversation's last id."""
    from functools import partial

    import attrs

    from convaid import events
    from convaid.control.serving import serve_control
    from convaid.daemon import Service, run_daemon
    from convaid.errors import ConfigurationError, Problem
    from convaid.event_commands import run_event_commands
    from convaid.history.keeping import keep_history
    from convaid.narration import log_event
    from convaid.service.notify import find_service_manager, tell_service_manager
    from convaid.service.watchdog import feed_watchdog
    from convaid.wall_clock import watch_wall_clock

    manager = find_service_manager()
    services: list[Service] = [
        keep_history,  # the first: no conversation is to begin unseen
        run_event_commands,
        serve_control,
        watch_wall_clock,
        partial(feed_watchdog, manager),
        partial(tell_service_manager, manager),  # the last: systemd is to hear that we are ready when we are
    ]
    last: dict[str, events.Ended] = {}

    def observe(event: events.Event) -> None:
        log_event(event)
        if isinstance(event, events.Ended):
            last[event.conversation] = event

    async with open_platform(configuration) as pointed:
        # The bundled simulator that begins anew every time has no tools: there is nothing to hold ours against.
        is_matched = not configuration.platform.is_forgetful

        def read_again() -> Configuration:
            assert path is not None, "a daemon runs with a file"
            again = reread_configuration(path, plugins)
            if not again.platform.is_simulator:
                return again
            if not configuration.platform.is_simulator:
                words = "the simulator begins with the daemon: restart it"
                raise ConfigurationError(str(path), [Problem("platform.base_url", words)])
            return attrs.evolve(again, platform=attrs.evolve(again.platform, base_url=pointed.platform.base_url))

        daemon.read_configuration = read_again
        await run_daemon(
            pointed,
            plugins,
            observe=observe,
            daemon=daemon,
            services=services,
            is_dry=is_dry,
            is_matched=is_matched,
        )
    for name, ended in last.items():
        print_line(f"{name}: {ended.conversation_id or 'no conversation'} {ended.end.cause}")
