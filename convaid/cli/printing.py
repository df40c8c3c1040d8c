"""Printing for people and for scripts (JSON). What others have said cannot steer the terminal, and shows no secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from convaid.config.secrets import mask_text
from convaid.wording import escape_controls

__all__ = ["print_json", "print_line", "print_table"]


def print_line(text: str, **style: Any) -> None:
    """Print one line; control characters are escaped, secrets masked. ``style`` is click's."""
    click.secho(escape_controls(mask_text(text)), **style)


def print_json(value: object) -> None:
    """Print ``value`` as indented JSON."""
    import orjson

    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows of the same keys as aligned columns; the last is as wide as it likes."""
    columns = list(rows[0])
    widths = {name: max(len(name), *(len(str(row[name])) for row in rows)) for name in columns[:-1]}
    for row in ({name: name.upper() for name in columns}, *rows):
        cells = [str(row[name]).ljust(widths.get(name, 0)) for name in columns]
        print_line("  ".join(cells).rstrip())
