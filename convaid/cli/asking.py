"""What the commands share that ask a running daemon: its socket, the conversation that is meant, how it fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click

from convaid.cli.exits import EXIT_ABSENT, EXIT_FAILURE
from convaid.control.calling import DaemonAbsent, RequestFailed, call_daemon, find_socket
from convaid.errors import ConvaidError

__all__ = [
    "Asking",
    "asks",
    "complete_conversations",
    "complete_from",
    "failures_end",
    "name_argument",
    "name_option",
    "say_line",
    "seconds_option",
]

F = TypeVar("F", bound=Callable[..., Any])

CONFIGURATIONS = (Path("config.toml"), Path("/etc/convaid/config.toml"))
LONGEST_WAIT = 600.0  # seconds that the daemon may be asked to wait
COMPLETION_LIMIT = 1.0  # seconds that the shell waits for names


class Asking:
    """One command's way to the daemon. Its errors end the command, in one line."""

    def __init__(self, socket: Path | None, configuration: Path | None) -> None:
        self._given, self._configuration = socket, configuration

    def or_as(self, outer: Asking) -> Asking:
        """This way, where it was said; else that of the command around it."""
        return Asking(self._given or outer._given, self._configuration or outer._configuration)

    def find_socket(self) -> Path:
        """Where the daemon is. Raises `DaemonAbsent`."""
        named = self._configuration or os.environ.get("CONVAID_CONFIG")
        return find_socket(self._given, (Path(named),) if named else CONFIGURATIONS)

    def ask(self, method: str, route: str, body: Any = None, **limits: float | None) -> Any:
        """Make a request."""
        return call_daemon(self.find_socket(), method, route, body, **limits)

    def post(self, name: str | None, deed: str, body: Any = None, **limits: float) -> Any:
        """Have something done with a conversation; the only one there is, where it has no name."""
        return self.ask("POST", f"{self.find_route(name)}/{deed}", body, **limits)

    def find_route(self, name: str | None) -> str:
        """The beginning of the path of a conversation's requests."""
        return f"/v1/conversations/{quote(name or self._find_only_name(), safe='')}"

    def _find_only_name(self) -> str:
        names = [each["name"] for each in self.ask("GET", "/v1/conversations")]
        if len(names) != 1:
            raise click.UsageError(f"which conversation? There are: {', '.join(names) or 'none'}")
        return str(names[0])


def asks(command: F) -> F:
    """Give a command the options that lead to the daemon, as its first argument ``asking``; see to its errors."""
    import functools

    @click.option(
        "-s",
        "--socket",
        type=click.Path(path_type=Path),
        envvar="CONVAID_SOCKET",
        help="The daemon's socket; else $CONVAID_SOCKET, the configuration's, or where a daemon usually has it.",
    )
    @click.option(
        "-c",
        "--config",
        "path",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The configuration that says where it is; else $CONVAID_CONFIG, ./config.toml, /etc/convaid/config.toml.",
    )
    @functools.wraps(command)
    def run(*arguments: Any, socket: Path | None, path: Path | None, **options: Any) -> Any:
        with failures_end():
            return command(*arguments, asking=Asking(socket, path), **options)

    return run  # type: ignore[return-value]


@contextmanager
def failures_end() -> Iterator[None]:
    """End the command where the daemon is not there, or does not do it; in a line that says why."""
    try:
        yield
    except DaemonAbsent as error:
        say_line(f"convaid: {error}", err=True)
        raise click.exceptions.Exit(EXIT_ABSENT) from None
    except RequestFailed as error:
        for problem in error.problems or [str(error)]:
            say_line(f"convaid: {problem}", err=True)
        raise click.exceptions.Exit(EXIT_FAILURE) from None


def complete_from(route: str, field: str = "name") -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes an argument by what a running daemon lists; nothing, where none runs."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        try:
            asking = Asking(ctx.params.get("socket"), ctx.params.get("path"))
            listed = asking.ask("GET", route, time_limit=COMPLETION_LIMIT)
        except ConvaidError:
            return []
        rows = listed["running"] if isinstance(listed, dict) else listed
        return sorted({str(row[field]) for row in rows if str(row[field]).startswith(incomplete)})

    return complete


complete_conversations = complete_from("/v1/conversations")


def name_option(command: F) -> F:
    """``--name``, for commands that take a text."""
    return click.option(
        "-n",
        "--name",
        shell_complete=complete_conversations,
        help="Which conversation; not needed where there is only one.",
    )(command)


def seconds_option(name: str, default: float, help: str) -> Callable[[F], F]:
    """How long the daemon is to wait for something, as it takes it."""

    def check(_: click.Context, __: click.Parameter, value: float) -> float:
        if not 0 <= value <= LONGEST_WAIT:  # so that nan is refused, too
            raise click.BadParameter(f"must be between 0 and {LONGEST_WAIT:g} seconds, not {value:g}")
        return value

    return click.option(name, default=default, show_default=True, callback=check, help=help)


def name_argument(command: F) -> F:
    """The conversation's name as the only argument."""
    return click.argument("name", required=False, shell_complete=complete_conversations)(command)


def say_line(text: str, **style: Any) -> None:
    """Print a line that the daemon had a part in: it has masked secrets; control characters are escaped here."""
    from convaid.wording import escape_controls

    click.secho(escape_controls(text), **style)
