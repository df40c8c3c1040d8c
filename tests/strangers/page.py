"""docs/strangers.md: its tables are written from what was observed, and nothing else of it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

__all__ = ["PAGE", "Table", "settle"]

PAGE = Path(__file__).parents[2] / "docs" / "strangers.md"
UNSEEN = "not tried"


class Table:
    """One table of the page: which rows and columns it has. It stands between two comments with its name."""

    def __init__(self, name: str, rows: Sequence[str], columns: Sequence[str]) -> None:
        self.name = name
        self.rows = rows
        self.columns = columns
        self._place = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- / -->)", re.DOTALL)

    def find(self, page: str) -> str:
        """The table as it stands in the page."""
        found = self._place.search(page)
        assert found is not None, f"{PAGE.name} has no place for the table {self.name!r}"
        return found[0]

    def read(self, page: str) -> dict[tuple[str, str], str]:
        """Its cells, by row and column."""
        lines = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in self.find(page).splitlines()]
        if not lines:
            return {}
        (_, *columns), _, *rows = lines
        return {(row, column): cell for row, *cells in rows for column, cell in zip(columns, cells, strict=True)}

    def render(self, cells: Mapping[tuple[str, str], str]) -> str:
        """The table with these cells."""
        lines = [["", *self.columns], ["---"] * (len(self.columns) + 1)]
        lines += [[row, *(cells.get((row, column), UNSEEN) for column in self.columns)] for row in self.rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def write(self, page: str, cells: Mapping[tuple[str, str], str]) -> str:
        """The page with these cells in the table."""
        return self._place.sub(lambda _: self.render(cells), page, count=1)


def settle(table: Table, column: str, cells: Mapping[str, str], config: pytest.Config) -> None:
    """What was observed is what the page says, or is written there with ``--update-page``."""
    seen = {(row, column): cell for row, cell in cells.items()}
    page = PAGE.read_text()
    known = table.read(page)
    if config.getoption("update_page", False):
        known |= seen
        PAGE.write_text(table.write(page, known))
    told = {row: known.get((row, column), UNSEEN) for row in cells}
    wrong = [f"{row}: {told[row]}, and seen is: {cell}" for row, cell in cells.items() if cell != told[row]]
    assert not wrong, "\n".join([f"{PAGE.name} says of {column} (make strangers-table writes it anew):", *wrong])
