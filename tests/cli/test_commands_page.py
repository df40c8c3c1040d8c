"""docs/commands.md is the help of all commands; ``python -m tests.cli.test_commands_page`` writes it anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from convaid.cli import convaid

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
WIDTH = 100  # characters of a line of help
HEAD = """# Commands

What `convaid help COMMAND` prints, for all of them. The exit codes are in the [README](../README.md) and in
[control.md](control.md).
"""


def list_commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Each command's name and help, those of a group after its own."""
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in sorted(command.list_commands(context)):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from list_commands(inner, make_context(inner, name, context))


def make_context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    return click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH)


def write_page() -> str:
    told = list_commands(convaid, make_context(convaid, "convaid"))
    return HEAD + "".join(f"\n## {name}\n\n```text\n{text.rstrip()}\n```\n" for name, text in told)


def test_the_page_is_what_the_commands_say_of_themselves() -> None:
    assert PAGE.read_text() == write_page(), "run: python -m tests.cli.test_commands_page"


if __name__ == "__main__":
    PAGE.write_text(write_page())
