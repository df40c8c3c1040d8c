"""The commands about tool calls and the configuration of a running daemon."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import click

from convaid.cli.asking import Asking, asks, complete_from, say_line
from convaid.cli.exits import EXIT_CONFIGURATION
from convaid.control.calling import RequestFailed

__all__ = ["approve", "calls", "deny", "reload"]

RELOAD_LIMIT = 120.0  # seconds: conversations that changed say goodbye first, and their tools may finish
RECENT_SHOWN = 10
complete_approvals = complete_from("/v1/approvals", "id")


@click.group(invoke_without_command=True)
@asks
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_context
def calls(ctx: click.Context, asking: Asking, as_json: bool) -> None:
    """List the tool calls that run, and the latest ones; cancel one."""
    ctx.obj = asking
    if ctx.invoked_subcommand is not None:
        return
    found = asking.ask("GET", "/v1/calls")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        (call["tool_call_id"], call["conversation"], call["tool"], f"{call['state']}, {call['seconds']:.1f} s")
        for call in found["running"]
    ]
    rows += [
        (
            call["tool_call_id"],
            call["conversation"],
            call["tool"],
            f"{call['outcome']} in {call['seconds']:.3f} s, at {time.strftime('%H:%M:%S', time.localtime(call['at']))}",
        )
        for call in found["recent"][:RECENT_SHOWN]
    ]
    if not rows:
        say_line("no tool was called yet")
    print_columns([("CALL", "CONVERSATION", "TOOL", "STATE"), *rows] if rows else [])


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Print rows aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        say_line("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


@calls.command()
@asks
@click.argument("id", shell_complete=complete_from("/v1/calls", "tool_call_id"))
@click.pass_obj
def cancel(outer: Asking, id: str, asking: Asking) -> None:
    """Stop the call ID; its agent is told so."""
    stopped = asking.or_as(outer).ask("POST", f"/v1/calls/{quote(id, safe='')}/cancel")["count"]
    say_line(f"stopped {stopped}")


def decide(asking: Asking, id: str | None, is_allowed: bool) -> int:
    """Allow or deny a call, by default the only one that waits; without one, say which there are."""
    if id is None:
        waiting = asking.ask("GET", "/v1/approvals")
        if len(waiting) != 1:
            say_line("no call waits for permission" if not waiting else "several calls wait; which one?")
            print_columns([(each["id"], each["conversation"], describe_request(each)) for each in waiting])
            return 1
        id = waiting[0]["id"]
    decided = asking.ask("POST", f"/v1/approvals/{quote(str(id), safe='')}", {"allow": is_allowed})
    say_line(f"{'allowed' if is_allowed else 'denied'}: {describe_request(decided)}")
    return 0


def describe_request(found: dict[str, Any]) -> str:
    """What is to be allowed."""
    arguments = json.dumps(found["arguments"], ensure_ascii=False)
    return f"{found['tool']} with {arguments}, {found['seconds_left']:.0f} s left"


@click.command()
@asks
@click.argument("id", required=False, shell_complete=complete_approvals)
def approve(asking: Asking, id: str | None) -> int:
    """Allow the tool call that waits for it.

    Where several wait, they are listed, and ID says which.
    """
    return decide(asking, id, True)


@click.command()
@asks
@click.argument("id", required=False, shell_complete=complete_approvals)
def deny(asking: Asking, id: str | None) -> int:
    """Deny the tool call that waits for permission.

    Where several wait, they are listed, and ID says which.
    """
    return decide(asking, id, False)


@click.command()
@asks
def reload(asking: Asking) -> int:
    """Have the daemon take on its changed configuration, and wait for the outcome.

    Conversations that did not change keep their connection. Exit code 78: the file cannot be used, and nothing changes.
    """
    try:
        done = asking.ask("POST", "/v1/reload", time_limit=RELOAD_LIMIT)
    except RequestFailed as error:
        if error.code != "configuration":
            raise
        for problem in error.problems:
            say_line(f"config: {problem}", err=True)
        say_line("convaid: not reloaded, everything stays as it is", err=True)
        return EXIT_CONFIGURATION
    words = {
        "opened": "new",
        "restarted": "changed and begun anew",
        "closed": "closed",
        "unchanged": "unchanged",
        "needs_restart": "only after a restart",
    }
    parts = [f"{words[field]}: {', '.join(names)}" for field, names in done.items() if field in words and names]
    say_line("; ".join(parts) or "nothing to do")
    return 0
