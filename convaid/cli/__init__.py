"""The command line (floor 7). Each command imports what it needs when it runs: start-up is import time.

The exit codes are in `convaid.cli.exits`.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

import click

from convaid import __version__
from convaid.cli.exits import (
    EXIT_CONFIGURATION,
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_SOFTWARE,
    EXIT_UNAVAILABLE,
    leave,
)
from convaid.errors import ConfigurationError, ConvaidError, LinkError

__all__ = ["main"]

COMMANDS = {
    "approve": "convaid.cli.deciding",
    "ask": "convaid.cli.talking",
    "audio": "convaid.cli.audio",
    "calls": "convaid.cli.deciding",
    "chat": "convaid.cli.chat",
    "check": "convaid.cli.check",
    "completion": "convaid.cli.shells",
    "context": "convaid.cli.talking",
    "demo": "convaid.cli.chat",
    "deny": "convaid.cli.deciding",
    "doctor": "convaid.cli.doctor",
    "feedback": "convaid.cli.talking",
    "help": "convaid.cli.shells",
    "history": "convaid.cli.history",
    "interrupt": "convaid.cli.talking",
    "logs": "convaid.cli.watching",
    "mute": "convaid.cli.talking",
    "plugin": "convaid.cli.plugin",
    "plugins": "convaid.cli.plugins",
    "reload": "convaid.cli.deciding",
    "replay": "convaid.cli.replay",
    "run": "convaid.cli.run",
    "say": "convaid.cli.talking",
    "send-file": "convaid.cli.talking",
    "serve-signed-url": "convaid.cli.signed_urls",
    "service": "convaid.cli.service",
    "simulate": "convaid.cli.simulate",
    "start": "convaid.cli.talking",
    "status": "convaid.cli.status",
    "stop": "convaid.cli.talking",
    "tail": "convaid.cli.watching",
    "test": "convaid.cli.test",
    "tools": "convaid.cli.tools",
    "unmute": "convaid.cli.talking",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        command = getattr(import_module(COMMANDS[cmd_name]), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from convaid.structuring import nearest

            close = nearest(args[0], COMMANDS)
            if close and args[0] not in COMMANDS:
                raise click.UsageError(f"No such command {args[0]!r}. Did you mean {close[0]!r}?", ctx) from None
            raise


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="convaid")
def convaid() -> None:
    """Hold conversations with ElevenLabs agents and run their client tools."""


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    fill_streams()
    leave(run_command_line())


def fill_streams() -> None:
    """Put /dev/null where standard streams are closed: else the next file or socket would get what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - they are there to the end
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def run_command_line() -> int:
    """Run the command line; its last words are here, and here alone."""
    try:
        return convaid(standalone_mode=False) or 0
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is None:  # click knows it only as it is
            return EXIT_INTERRUPTED
        return tell_failure(group)
    except Exception as error:  # noqa: BLE001 - the last words: nothing is above us
        return tell_failure(error)


def tell_failure(error: BaseException) -> int:
    """Say what went wrong, in one line where it is not a bug, and return the exit code."""
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return tell_failure(error.exceptions[0])
    from convaid.cli.printing import print_line
    from convaid.config.secrets import mask_text

    if isinstance(error, ConfigurationError):
        for line in str(error).splitlines():
            print_line(line, err=True)
        return EXIT_CONFIGURATION
    if isinstance(error, ConvaidError | OSError):
        print_line(f"convaid: {error}", err=True)
        return EXIT_UNAVAILABLE if isinstance(error, LinkError) else EXIT_FAILURE
    click.echo(mask_text("".join(traceback.format_exception(error))), err=True)
    click.echo(f"convaid: this is a bug in convaid {__version__}; the lines above say where", err=True)
    return EXIT_SOFTWARE
