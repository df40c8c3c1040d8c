"""Hours of the week in which something is open, such as ``"Mon-Fri 08:00-18:00"``, and moments at which something is to
happen, such as ``"Mon-Fri 07:30"``; in local time (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from attrs import frozen

__all__ = ["Timetable", "find_minute", "parse_moments"]

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SHORTEST_DAY = 3  # letters
DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES
ENTRY = re.compile(r"(?:(\S+)\s+)?(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)")
EXPECTED = 'expected days and hours, such as "Mon-Fri 08:00-18:00", "Sat,Sun 10:00-12:00" or "22:00-02:00" (every day)'
MOMENT = re.compile(r"(?:(\S+)\s+)?(\d{1,2}):(\d\d)")
EXPECTED_MOMENT = 'expected days and a time, such as "Mon-Fri 07:30", "Sat,Sun 10:00" or "22:00" (every day)'


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
            for day in _parse_days(days, entry, EXPECTED):
                spans.add((day * DAY_MINUTES + begin, length))
        return cls(frozenset(spans))

    def is_open(self, now: datetime) -> bool:
        """Whether the local time ``now`` is within a span; its beginning belongs to it, its end does not."""
        minute = find_minute(now)
        return any((minute - begin) % WEEK_MINUTES < length for begin, length in self.spans)


def parse_moments(entry: str) -> frozenset[int]:
    """Read days (none: every day) and a time, as minutes of the week. ValueError says why an entry cannot be."""
    found = MOMENT.fullmatch(entry.strip())
    if found is None:
        raise ValueError(f'"{entry}": {EXPECTED_MOMENT}')
    days, hour, minute = found.groups()
    if int(hour) > 23 or int(minute) > 59:
        raise ValueError(f'"{entry}": a day has the times from 00:00 to 23:59')
    of_day = int(hour) * 60 + int(minute)
    return frozenset(day * DAY_MINUTES + of_day for day in _parse_days(days, entry, EXPECTED_MOMENT))


def find_minute(now: datetime) -> int:
    """The minute of the week, since Monday 00:00, of a local time."""
    return now.weekday() * DAY_MINUTES + now.hour * 60 + now.minute


def _parse_days(days: str | None, entry: str, expected: str) -> list[int]:
    if days is None:
        return list(range(7))
    numbers: list[int] = []
    for part in days.split(","):
        first, dash, last = part.partition("-")
        begin = _find_day(first)
        end = _find_day(last) if dash else begin
        if begin is None or end is None:
            raise ValueError(f'"{entry}": "{part}" is no day of the week; {expected}')
        numbers += [(begin + step) % 7 for step in range((end - begin) % 7 + 1)]
    return numbers


def _find_day(name: str) -> int | None:
    fitting = [number for number, day in enumerate(DAYS) if day.startswith(name.lower())]
    return fitting[0] if len(name) >= SHORTEST_DAY and fitting else None
