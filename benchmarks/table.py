"""Figures as a table that a person reads: medians over rounds, and ratios."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median, quantiles

from attrs import field, frozen
from running import SDKS, Contestant

__all__ = ["Latencies", "Row", "format_table"]


@frozen
class Row:
    """One thing that was measured. Rows whose ``rounds`` lack a contestant show a dash for it."""

    title: str
    rounds: Mapping[Contestant, list[float]]
    """One figure for each round."""
    tails: Mapping[Contestant, list[float]] = field(factory=dict)
    """The 99th percentile of each round, where there is one."""
    remarks: Mapping[Contestant, str] = field(factory=dict)
    is_more_better: bool = False

    def has_cell(self, contestant: Contestant) -> bool:
        return bool(self.rounds.get(contestant) or self.remarks.get(contestant))

    def format_cells(self, contestants: Iterable[Contestant]) -> list[str]:
        """Title, one cell for each contestant, and how far convaid is ahead of the better SDK."""
        return [self.title, *(self._format_cell(contestant) for contestant in contestants), self._compare(self.rounds)]

    def _format_cell(self, contestant: Contestant) -> str:
        if not self.rounds.get(contestant):
            return self.remarks.get(contestant, "-")
        parts = [format_number(median(self.rounds[contestant]))]
        if contestant in self.tails:
            parts.append(f"({format_number(median(self.tails[contestant]))})")
        if remark := self.remarks.get(contestant):
            parts.append(remark)
        return " ".join(parts)

    def _compare(self, rounds: Mapping[Contestant, list[float]]) -> str:
        ours = rounds.get(Contestant.CONVAID)
        theirs = [median(rounds[sdk]) for sdk in SDKS if rounds.get(sdk)]
        if not ours or not theirs:
            return "-"
        better, worse = (median(ours), max(theirs)) if self.is_more_better else (min(theirs), median(ours))
        return (
            f"{better / worse:.2f}" if better > 0 and worse > 0 else "-"
        )  # a difference of two may be nothing but noise


class Latencies:
    """Collects the times of single calls, a block of them in each round, for a row of medians and 99th percentiles."""

    def __init__(self) -> None:
        self._medians: dict[Contestant, list[float]] = {}
        self._tails: dict[Contestant, list[float]] = {}

    def add(self, contestant: Contestant, seconds: list[float]) -> None:
        """Add a block of one round."""
        self._medians.setdefault(contestant, []).append(median(seconds))
        self._tails.setdefault(contestant, []).append(quantiles(seconds, n=100)[-1])

    def get_rounds(self, contestant: Contestant) -> list[float]:
        """The median of each round, in seconds."""
        return self._medians[contestant]

    def make_row(self, title: str, unit: float, *, has_tails: bool = True) -> Row:
        """``unit`` is what one second is in the row's unit. ``has_tails``: a hundred calls in a block or more."""
        return Row(
            title,
            {key: [value * unit for value in values] for key, values in self._medians.items()},
            {key: [value * unit for value in values] for key, values in self._tails.items()} if has_tails else {},
        )


def format_number(value: float) -> str:
    """Three digits that count, at most."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def format_table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table, with a column for everybody who takes part in any."""
    rows = list(rows)
    contestants = [contestant for contestant in Contestant if any(row.has_cell(contestant) for row in rows)]
    heading = ["", *(contestant.value for contestant in contestants), "ahead by"]
    lines = [heading, ["---", *["--:"] * (len(heading) - 1)], *(row.format_cells(contestants) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
