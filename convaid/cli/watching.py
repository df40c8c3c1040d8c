"""``convaid tail`` and ``convaid logs``: what happens, and what has happened."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import Any
from urllib.parse import urlencode

import click

from convaid.cli.asking import Asking, asks, complete_conversations, complete_from, say_line
from convaid.cli.exits import EXIT_FAILURE
from convaid.control.calling import follow_events

__all__ = ["logs", "tail"]

COLOURS = {
    "connecting": "yellow",
    "connected": "green",
    "ended": "yellow",
    "retry_planned": "yellow",
    "message_received": "cyan",
    "message_sent": "white",
    "tool_call_started": "blue",
    "tool_call_ended": "green",
    "approval_asked": "magenta",
    "approval_answered": "magenta",
}


@click.command()
@asks
@click.option(
    "-n",
    "--name",
    "names",
    multiple=True,
    shell_complete=complete_conversations,
    help="Only this conversation; may be repeated.",
)
@click.option(
    "-t",
    "--tool",
    "tools",
    multiple=True,
    shell_complete=complete_from("/v1/tools"),
    help="Only calls of this tool; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line: a snapshot, then the events.")
def tail(asking: Asking, names: tuple[str, ...], tools: tuple[str, ...], as_json: bool) -> None:
    """Show what happens, as it happens, until Ctrl+C.

    \b
    Examples:
      convaid tail -n kitchen
      convaid tail --json | jq -r 'select(.event == "tool_call_ended") | .call.tool_name'
    """
    query = urlencode([*(("conversation", name) for name in names), *(("tool", tool) for tool in tools)])
    for kind, content in follow_events(asking.find_socket(), f"?{query}" if query else ""):
        if as_json:
            click.echo(json.dumps({"event": kind} | content, ensure_ascii=False))
        else:
            print_event(kind, content)


def print_event(kind: str, content: dict[str, Any]) -> None:
    """Print one event for a person; what is of no interest has no line."""
    if kind == "snapshot":
        say_line(content["sentence"], bold=True)
    elif kind == "missed":
        say_line(f"({content['count']} events are missing here: this terminal was too slow)", fg="red")
    elif content.get("line"):
        clock = time.strftime("%H:%M:%S", time.localtime(content["at"]))
        is_wrong = kind == "tool_call_ended" and content["answer"]["is_error"]
        name = click.style(f"{clock} {content['conversation']}: ", dim=True)
        click.echo(name, nl=False)
        say_line(content["line"], fg="red" if is_wrong else COLOURS.get(kind))


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("-l", "--lines", default=100, show_default=True, help="So many of the latest.")
@click.option("-u", "--unit", default="convaid", show_default=True, help="The systemd unit.")
@click.option("--user", "is_user", is_flag=True, help="The unit is one of your own, not the system's.")
@click.option("-n", "--name", shell_complete=complete_conversations, help="Only this conversation.")
@click.option("-t", "--tool", help="Only calls of this tool.")
def logs(*, follow: bool, lines: int, unit: str, is_user: bool, name: str | None, tool: str | None) -> int:
    """Show the daemon's log, where systemd keeps it."""
    program = shutil.which("journalctl")
    if program is None:
        say_line(
            "convaid: there is no journalctl here: the log is where the daemon's stderr leads to, and `convaid tail` "
            "shows what happens from now on",
            err=True,
        )
        return EXIT_FAILURE
    arguments = ["journalctl", *(["--user"] if is_user else []), "--unit", unit, "--lines", str(lines)]
    arguments += ["--follow"] if follow else []
    arguments += [f"CONVERSATION={name}"] if name else []
    arguments += [f"TOOL={tool}"] if tool else []
    os.execv(program, arguments)
    return 0
