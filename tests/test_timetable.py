"""Hours of the week."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from convaid.timetable import Timetable, find_minute, parse_moments

MONDAY = datetime(2026, 11, 23)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


@pytest.mark.parametrize(
    ("entries", "moment", "is_open"),
    [
        (["Mon-Fri 08:00-18:00"], at(0, 8), True),
        (["Mon-Fri 08:00-18:00"], at(0, 7, 59), False),
        (["Mon-Fri 08:00-18:00"], at(4, 17, 59), True),
        (["Mon-Fri 08:00-18:00"], at(4, 18), False),
        (["Mon-Fri 08:00-18:00"], at(5, 12), False),
        (["08:00-12:00", "Sun 14:00-16:00"], at(6, 15), True),
        (["08:00-12:00", "Sun 14:00-16:00"], at(5, 15), False),
        (["22:00-02:00"], at(3, 1), True),
        (["Sun 22:00-02:00"], at(0, 1, 59), True),  # from Sunday night into the next week
        (["Sun 22:00-02:00"], at(0, 2), False),
        (["Fri-Mon 10:00-11:00"], at(0, 10), True),
        (["Fri-Mon 10:00-11:00"], at(1, 10), False),
        (["saturday,tue 10:00-24:00"], at(1, 23, 59), True),
        (["00:00-00:00"], at(2, 13), True),
        ([], at(2, 13), False),
    ],
)
def test_when_it_is_open(entries: list[str], moment: datetime, is_open: bool) -> None:
    assert Timetable.parse(entries).is_open(moment) is is_open


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "Mon",
        "Mon- 08:00-09:00",
        "Mon-Tue-Wed 08:00-09:00",
        "Mon 8-18",
        "Mun 08:00-18:00",
        "Mon-Xyz 08:00-18:00",
        "25:00-26:00",
        "08:60-09:00",
        "monkey 08:00-09:00",
    ],
)
def test_what_is_no_hour_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match=f'^"{entry}": '):
        Timetable.parse([entry])


def test_moments_are_minutes_of_the_week() -> None:
    assert parse_moments("Sun-Mon 07:30") == {find_minute(at(0, 7, 30)), find_minute(at(6, 7, 30))}
    assert parse_moments(" 0:00 ") == {day * 24 * 60 for day in range(7)}


@pytest.mark.parametrize("entry", ["", "Mon", "Mon 7.30", "24:00", "Mon 08:60", "Mun 08:00", "Mon 08:00-09:00"])
def test_what_is_no_moment_is_refused_with_its_text(entry: str) -> None:
    with pytest.raises(ValueError, match=f'"{entry}"'):
        parse_moments(entry)
