"""``convaid status``: how the daemon is, at one glance."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import click

from convaid.cli.asking import Asking, asks, say_line

__all__ = ["status"]

WARNINGS_SHOWN = 5  # the latest; JSON has more
COLOURS = {"connected": "green", "waiting": "red", "connecting": "yellow", "queued": "yellow", "closed": None}


@click.command()
@asks
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def status(asking: Asking, as_json: bool) -> int:
    """Show how the daemon, its conversations and plugins are.

    Exit code 0: all is well; 1: something is wrong; 3: no daemon runs.

    \b
    Examples:
      convaid status
      convaid status --json | jq .sentence
    """
    found = asking.ask("GET", "/v1/status")
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        print_status(found)
    return 0 if found["is_well"] else 1


def print_status(found: dict[str, Any]) -> None:
    """Print a status for a person."""
    age = describe_seconds(time.time() - found["since"])
    say_line(f"convaid {found['version']}, process {found['pid']}, {found['state']}, for {age}", dim=True)
    say_line(found["sentence"], bold=True, fg=None if found["is_well"] else "red")
    rows = [("CONVERSATION", "STATE", "FOR", "")]
    rows += [
        (each["name"], each["state"], describe_seconds(time.time() - each["since"]), describe_conversation(each))
        for each in found["conversations"]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        line = "  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        say_line(line, fg=COLOURS.get(row[1]))
    for plugin in found["plugins"]:
        if plugin["state"] not in ("ready", "disabled"):
            say_line(f"plugin {plugin['name']} is {plugin['state']}: {plugin['reason']}", fg="red")
    for run in found["left_behind"]:
        say_line(f"{run['tool']} goes on since {describe_seconds(run['seconds'])}, at {run['place']}", fg="yellow")
    for trouble in found["troubles"]:
        say_line(trouble, fg="red")
    for warned in found["warnings"][-WARNINGS_SHOWN:]:
        times = f", {warned['count']} times" if warned["count"] > 1 else ""
        say_line(f"{describe_seconds(time.time() - warned['at'])} ago{times}: {warned['text']}", dim=True)
    if used := found["budget"].get("all"):
        day, month, starts = used["minutes_of_day"], used["minutes_of_month"], used["starts_of_hour"]
        times = "once" if starts == 1 else f"{starts:.0f} times"
        say_line(f"open for {day:.0f} min today, {month:.0f} min this month; started {times} in the last hour")
    if found["approvals_pending"]:
        say_line(f"tool calls that wait for permission: {found['approvals_pending']} (`convaid approve`)", fg="yellow")
    if found["calls_running"]:
        say_line(f"tool calls: {found['calls_running']} (`convaid calls`)")


def describe_conversation(found: dict[str, Any]) -> str:
    """What else there is to say of a conversation."""
    parts = [found["conversation_id"] or ""]
    if found["is_muted"]:
        parts.append("muted")
    if found["place"]:
        parts.append(f"number {found['place']} in the queue")
    if found["retry_in"] is not None:
        parts.append(f"connects again in {describe_seconds(found['retry_in'])}")
    end = found["last_end"]
    if end is not None and found["state"] != "connected":
        code = f" (code {end['code']})" if end["code"] else ""
        parts.append(f"{end['cause']}{code}: {end['detail']}" + (f" -> {end['remedy']}" if found["problem"] else ""))
    if found["sound"] is not None:
        parts += describe_sound(found["sound"])
    if found["losses"]:
        parts.append("losses: " + ", ".join(f"{count} {what}" for what, count in found["losses"].items()))
    return ", ".join(filter(None, parts))


def describe_sound(found: dict[str, Any]) -> Iterator[str]:
    """How a conversation hears and speaks, as far as it does."""
    for role in ("microphone", "speaker"):
        device = found[role]
        if device["state"] == "open":
            yield f"{role} {device['device']}".rstrip()
        elif device["state"] != "closed":
            yield f"{role} {device['state']}" + (f": {device['detail']}" if device["detail"] else "")
    if found["microphone"]["state"] != "closed":
        yield f"echo {found['echo'] or 'not settled'}"
    if age := found["audio_age"]:
        yield f"audio sent {age['p50'] * 1000:.0f} ms old (p99 {age['p99'] * 1000:.0f}, max {age['max'] * 1000:.0f})"


def describe_seconds(seconds: float) -> str:
    """A duration in its largest unit: "12 s", "3 min", "5 h", "20 days"."""
    for length, unit in ((172800, "days"), (7200, "h"), (120, "min")):
        if seconds >= length:
            return f"{seconds / (length / 2):.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
