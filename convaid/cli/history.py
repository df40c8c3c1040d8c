"""``convaid history``: what was said and done. Reads the file, and needs no daemon."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convaid.cli.printing import print_line, print_table

if TYPE_CHECKING:
    from convaid.history.reading import History
    from convaid.history.transcript import Call, Session, Turn

__all__ = ["history"]

COLOURS = {"user": None, "agent": "cyan", "context": "white"}
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
conversation_option = click.option("-n", "--conversation", help="Only of this conversation of the configuration.")


@click.group(invoke_without_command=True)
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The history; else that in $STATE_DIRECTORY or ~/.local/state/convaid, or the system's daemon's.",
)
@click.pass_context
def history(ctx: click.Context, path: Path | None) -> int | None:
    """List, show, export and forget transcripts.

    They are read from the file that the daemon writes; it need not run. Without a command, the latest are listed.

    \b
    Examples:
      convaid history
      convaid history show
      convaid history export --markdown > conversations.md
    """
    ctx.obj = path
    return ctx.invoke(list_sessions) if ctx.invoked_subcommand is None else None


def open_it(path: Path | None, *, is_writable: bool = False) -> AbstractContextManager[History]:
    """Open the history that is meant."""
    from convaid.history.reading import find_history_path, open_history

    return open_history(path or find_history_path(), is_writable=is_writable)


@history.command("list")
@conversation_option
@click.option("-l", "--lines", default=20, show_default=True, help="So many of the latest; -1 for all.")
@json_option
@click.pass_obj
def list_sessions(path: Path | None, conversation: str | None = None, lines: int = 20, as_json: bool = False) -> None:
    """List the conversations, the latest first."""
    from convaid.history.transcript import describe_session

    with open_it(path) as found:
        sessions = found.list_sessions(conversation, lines)
    if as_json:
        click.echo(json.dumps([describe_session(session) for session in sessions], indent=2, ensure_ascii=False))
    elif sessions:
        print_table([describe_row(session) for session in sessions])
    else:
        print_line("no conversation is kept" if conversation is None else f"nothing is kept of {conversation}")


def describe_row(session: Session) -> dict[str, str]:
    """A session as a line of a table."""
    from convaid.history.transcript import write_time

    seconds = session.seconds if session.seconds is not None else session.billed_seconds
    return {
        "began": write_time(session.began),
        "conversation": session.conversation,
        "id": session.conversation_id,
        "lasted": "" if seconds is None else f"{seconds:.0f} s",
        "turns": str(session.turns),
        "calls": str(session.calls),
        "cost": "" if session.cost is None else str(session.cost),
        "ended": session.cause or "no end is recorded",
    }


@history.command()
@click.argument("conversation_id", metavar="[ID]", required=False)
@json_option
@click.pass_obj
def show(path: Path | None, conversation_id: str | None, as_json: bool) -> None:
    """Show what was said and done in the conversation ID, or in the latest; the beginning or end of an id is enough."""
    from convaid.history.file import HistoryError
    from convaid.history.transcript import Turn, describe_ending, describe_transcript, write_time

    with open_it(path) as found:
        if conversation_id is not None:
            session = found.find_session(conversation_id)
        else:
            latest = found.list_sessions(most=1)
            if not latest:
                raise HistoryError("no conversation is kept")
            (session,) = latest
        transcript = found.read(session)
    if as_json:
        click.echo(json.dumps(describe_transcript(transcript), indent=2, ensure_ascii=False))
        return
    kept = "" if session.kept == "full" else f" ({session.kept})"
    words = f"{session.conversation}: {session.conversation_id}, {write_time(session.began)}{kept}"
    print_line(words, dim=True)
    for line in transcript.lines:
        print_turn(line) if isinstance(line, Turn) else print_call(line)
    if session.missing:
        print_line(f"({session.missing} entries are missing: they could not be written)", fg="red")
    print_line(describe_ending(session), dim=True)


def print_turn(turn: Turn) -> None:
    """Print what was said, with its time."""
    print_clock(turn.at)
    from convaid.history.transcript import describe_cut

    heard = "" if turn.original is None else ", heard according to the platform"
    words = f"{turn.speaker}{heard}: {turn.text}{describe_cut(turn)}"
    print_line(words, fg=COLOURS.get(turn.speaker), bold=turn.speaker == "user")


def print_call(call: Call) -> None:
    """Print a call, as `convaid chat` does."""
    from convaid.cli.chat import format_parameters
    from convaid.events import NOT_ERRORS
    from convaid.history.transcript import read_arguments
    from convaid.narration import shorten

    print_clock(call.at)
    result = "" if call.result is None else f" -> {shorten(call.result)}"
    lost = "" if call.is_delivered else ", not delivered"
    print_line(
        f"  {call.tool}({format_parameters(read_arguments(call))}){result}  "
        f"[{call.outcome}, {call.seconds * 1000:.1f} ms{lost}]",
        fg="green" if call.outcome in NOT_ERRORS else "red",
    )


def print_clock(at: float) -> None:
    """Print the time at which something was, and stay in its line."""
    click.echo(click.style(time.strftime("%H:%M:%S ", time.localtime(at)), dim=True), nl=False)


@history.command()
@conversation_option
@click.option("--json", "form", flag_value="json", default=True, help="One JSON list (the default).")
@click.option("--jsonl", "form", flag_value="jsonl", help="A JSON object a line, one for each conversation.")
@click.option("--markdown", "form", flag_value="markdown", help="Text to read.")
@click.pass_obj
def export(path: Path | None, conversation: str | None, form: str) -> None:
    """Print all transcripts, the oldest first."""
    from convaid.history.transcript import describe_transcript, write_markdown

    with open_it(path) as found:
        sessions = found.list_sessions(conversation)[::-1]
        if form == "json":
            click.echo("[", nl=not sessions)
        for number, session in enumerate(sessions, 1):
            transcript = found.read(session)
            if form == "markdown":
                for line in write_markdown(transcript):
                    click.echo(line)
                continue
            after = "" if form == "jsonl" or number == len(sessions) else ","
            click.echo(json.dumps(describe_transcript(transcript), ensure_ascii=False) + after)
        if form == "json":
            click.echo("]")


@history.command()
@click.option("--older-than", type=click.FloatRange(min=0), metavar="DAYS", help="What began so many days ago.")
@conversation_option
@click.option("--all", "is_all", is_flag=True, help="All there is.")
@click.pass_obj
def purge(path: Path | None, older_than: float | None, conversation: str | None, is_all: bool) -> None:
    """Forget transcripts, for good.

    A running daemon does this by itself once a day, by `days` in [conversations.NAME.history].
    """
    if is_all == (older_than is not None or conversation is not None):
        raise click.UsageError("say what is to be forgotten: --older-than DAYS, --conversation NAME, both, or --all")
    with open_it(path, is_writable=True) as found:
        count = found.purge(older_than=older_than, conversation=conversation)
    print_line(f"{count} {'conversation' if count == 1 else 'conversations'} forgotten")
