"""The commands that open and close conversations, and that talk in them; all ask the running daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from convaid.cli.asking import Asking, asks, name_argument, name_option, say_line, seconds_option
from convaid.cli.status import describe_conversation

__all__ = ["ask", "context", "feedback", "interrupt", "mute", "say", "send_file", "start", "stop", "unmute"]

ANSWER_MARGIN = 5.0  # seconds more than the daemon was asked to wait
UPLOAD_LIMIT = 70.0  # seconds; the daemon gives up after 60


def print_state(found: dict[str, Any]) -> None:
    """Print what state a conversation is in."""
    more = describe_conversation(found)
    say_line(f"{found['name']} is {found['state']}" + (f": {more}" if more else ""))


@click.command()
@asks
@name_argument
@seconds_option("--wait", 10.0, "Seconds to wait until the agent is there; 0 does not.")
def start(asking: Asking, name: str | None, wait: float) -> int:
    """Open the conversation NAME, if it is not.

    Exit code 1: the agent was not there in time; `convaid status` says why.
    """
    found = asking.post(name, "start", {"wait": wait}, time_limit=wait + ANSWER_MARGIN)
    print_state(found)
    return 0 if found["state"] == "connected" or not wait else 1


@click.command()
@asks
@name_argument
@seconds_option("--wait", 10.0, "Seconds to wait until it is closed; 0 does not.")
@click.option("--daemon", "is_daemon", is_flag=True, help="End the daemon itself, with a goodbye to all.")
def stop(asking: Asking, name: str | None, wait: float, is_daemon: bool) -> int:
    """Close the conversation NAME, with a goodbye.

    It stays closed until it is started, or its hours begin.
    """
    if is_daemon:
        if name:
            raise click.UsageError("--daemon ends everything: leave the name out")
        asking.ask("POST", "/v1/stop")
        say_line("stopping")
        return 0
    found = asking.post(name, "stop", {"wait": wait}, time_limit=wait + ANSWER_MARGIN)
    print_state(found)
    return 0 if found["state"] == "closed" or not wait else 1


@click.command()
@asks
@name_option
@click.argument("text")
def say(asking: Asking, name: str | None, text: str) -> None:
    """Say TEXT as the user.

    \b
    Example:
      convaid say -n kitchen "Turn the light on"
    """
    asking.post(name, "say", {"text": text})


@click.command()
@asks
@name_option
@seconds_option("--time-limit", 60.0, "Seconds for the answer, connecting included.")
@click.argument("text")
def ask(asking: Asking, name: str | None, time_limit: float, text: str) -> int:
    """Say TEXT as the user, wait for the agent's answer and print it.

    Opens the conversation, if it is closed. Exit code 1: there was no answer in time, or it was not complete.

    \b
    Example:
      convaid ask -n kitchen "Which notes do I have?"
    """
    body = {"text": text, "time_limit": time_limit}
    answer = asking.post(name, "ask", body, time_limit=time_limit + ANSWER_MARGIN)
    for line in answer["text"].splitlines():
        say_line(line)
    return 0 if answer["is_complete"] else 1


@click.command()
@asks
@name_option
@click.option("--id", "context_id", help="What it replaces: the newest with an id counts.")
@click.argument("text")
def context(asking: Asking, name: str | None, context_id: str | None, text: str) -> None:
    """Tell the agent TEXT, which it need not answer.

    \b
    Example:
      convaid context --id door "The front door is open"
    """
    asking.post(name, "context", {"text": text, "context_id": context_id})


@click.command()
@asks
@name_argument
def mute(asking: Asking, name: str | None) -> None:
    """Let the agent of NAME hear silence instead of the microphone."""
    print_state(asking.post(name, "mute"))


@click.command()
@asks
@name_argument
def unmute(asking: Asking, name: str | None) -> None:
    """Let the agent of NAME hear the microphone again."""
    print_state(asking.post(name, "unmute"))


@click.command()
@asks
@name_argument
def interrupt(asking: Asking, name: str | None) -> None:
    """Silence the agent of NAME at once, for what it is saying now."""
    seconds = asking.post(name, "interrupt")["seconds"]
    say_line(f"{seconds:.1f} s of speech dropped")


@click.command()
@asks
@name_option
@click.option("--event-id", type=int, help="Which of the agent's responses; else the latest.")
@click.argument("score", type=click.Choice(["like", "dislike", "none"]))
def feedback(asking: Asking, name: str | None, event_id: int | None, score: str) -> None:
    """Say what you think of what the agent has said; "none" takes it back."""
    asking.post(name, "feedback", {"score": None if score == "none" else score, "event_id": event_id})


@click.command()
@asks
@name_option
@click.option("--text", default="", help="What you say about it.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def send_file(asking: Asking, name: str | None, text: str, file: Path) -> None:
    """Show the agent FILE: an image or a PDF.

    \b
    Example:
      convaid send-file photo.png --text "What is this?"
    """
    query = urlencode({"name": file.name} | ({"text": text} if text else {}))
    asking.post(name, f"files?{query}", file.read_bytes(), time_limit=UPLOAD_LIMIT)
