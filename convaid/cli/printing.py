"""Printing for people and for scripts (JSON). What others have said cannot steer the terminal, and shows no secrets."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from convaid.config.secrets import mask_text
from convaid.wording import escape_controls

__all__ = ["divert_prints", "print_json", "print_line", "print_table"]


stdouts: list[int] = []
"""Where stdout was before it was diverted: a descriptor, or none."""


def print_line(text: str, **style: Any) -> None:
    """Print one line; control characters are escaped, secrets masked. ``style`` is click's."""
    click.secho(escape_controls(mask_text(text)), **style)


@contextmanager
def divert_prints() -> Iterator[None]:
    """Send to stderr whatever plugins print, and the programs that they start; `print_json` alone prints to stdout."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    stdouts.append(kept)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(stdouts.pop(), 1)
        os.close(kept)


def print_json(value: object) -> None:
    """Print ``value`` as indented JSON."""
    import orjson

    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    with open(stdouts[-1] if stdouts else 1, "wb", closefd=False) as stdout:
        stdout.write(text)


LEAST_WIDTH = 30  # characters of a table's last column: below that, nobody can read it


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows of the same keys as aligned columns, a line each; on a terminal the last column is broken to fit."""
    lines = [[name.upper() for name in rows[0]]]
    lines += [[escape_controls(mask_text(str(cell))) for cell in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in list(zip(*lines, strict=True))[:-1]]
    indent = sum(widths) + 2 * len(widths)
    width = max(shutil.get_terminal_size().columns, indent + LEAST_WIDTH)
    for *cells, last in lines:
        start = "".join(f"{cell:{wide}}  " for cell, wide in zip(cells, widths, strict=True))
        parts = [start + last]
        if sys.stdout.isatty() and last:
            margin = " " * min(indent, width // 3)
            parts = textwrap.wrap(last, width, initial_indent=start, subsequent_indent=margin, break_on_hyphens=False)
        for part in parts:
            print_line(part.rstrip())
