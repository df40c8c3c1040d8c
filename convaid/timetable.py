"""Hours of the week in which something is open, such as ``"Mon-Fri 08:00-18:00"``, in local time (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from attrs import frozen

__all__ = ["Timetable"]

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SHORTEST_DAY = 3  # letters
DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES
ENTRY = re.compile(r"(?:(\S+)\s+)?(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)")
EXPECTED = 'expected days and hours, such as "Mon-Fri 08:00-18:00", "Sat,Sun 10:00-12:00" or "22:00-02:00" (every day)'


@frozen
class Timetable:
    """Spans of the week, in minutes since Monday 00:00; one that ends before it begins goes on over midnight."""

    spans: frozenset[tuple[int, int]]

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Timetable:
        """Read entries: days (none: every day) and hours. ValueError says which one cannot be, and why."""
        spans: set[tuple[int, int]] = set()
        for entry in entries:
            found = ENTRY.fullmatch(entry.strip())
            if found is None:
                raise ValueError(f'"{entry}": {EXPECTED}')
            days, *numbers = found.groups()
            hour, minute, end_hour, end_minute = map(int, numbers)
            begin, end = hour * 60 + minute, end_hour * 60 + end_minute
            if minute > 59 or end_minute > 59 or begin >= DAY_MINUTES or end > DAY_MINUTES:
                raise ValueError(f'"{entry}": a day has the hours from 00:00 to 24:00')
            length = (end - begin) % DAY_MINUTES or DAY_MINUTES  # 09:00-09:00 is a whole day
            for day in _parse_days(days, entry):
                spans.add((day * DAY_MINUTES + begin, length))
        return cls(frozenset(spans))

    def is_open(self, now: datetime) -> bool:
        """Whether the local time ``now`` is within a span; its beginning belongs to it, its end does not."""
        minute = now.weekday() * DAY_MINUTES + now.hour * 60 + now.minute
        return any((minute - begin) % WEEK_MINUTES < length for begin, length in self.spans)


def _parse_days(days: str | None, entry: str) -> list[int]:
    if days is None:
        return list(range(7))
    numbers: list[int] = []
    for part in days.split(","):
        first, dash, last = part.partition("-")
        begin = _find_day(first)
        end = _find_day(last) if dash else begin
        if begin is None or end is None:
            raise ValueError(f'"{entry}": "{part}" is no day of the week; {EXPECTED}')
        numbers += [(begin + step) % 7 for step in range((end - begin) % 7 + 1)]
    return numbers


def _find_day(name: str) -> int | None:
    fitting = [number for number, day in enumerate(DAYS) if day.startswith(name.lower())]
    return fitting[0] if len(name) >= SHORTEST_DAY and fitting else None
