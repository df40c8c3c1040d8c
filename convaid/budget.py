"""The money guard: how long conversations may be open, and how often they may begin, kept across restarts (floor 2).

The platform bills open time, silence included, so what counts is the time from a confirmed conversation to its end.
What it handles: minutes of one conversation, of a day and of a month, in local time; starts in any hour; a crash, after
which at most `NOTE_INTERVAL` of the open time is not counted; a disk that takes nothing, or a file that somebody has
taken away, where it goes on in memory and is written when that can be.
What it will not: know prices, or what other programs use on the same account.
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from attrs import define, field, frozen

from convaid.config.model import BudgetConfig
from convaid.config.places import find_state_folder
from convaid.errors import ConvaidError

__all__ = ["Budget", "BudgetError", "Meter", "Refusal", "open_budget"]

log = logging.getLogger(__name__)

FILE_NAME = "budget.sqlite"
NOTE_INTERVAL = 15.0  # seconds of open time between two writings
BUSY_LIMIT = 0.2  # seconds that another process may keep the file to itself
KEPT = 62 * 24 * 3600.0  # seconds: this month and the one before
HOUR = 3600.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS uses (
    id INTEGER PRIMARY KEY,
    conversation TEXT NOT NULL, -- its name in the configuration
    began REAL NOT NULL, -- Unix seconds
    seconds REAL NOT NULL, -- open time so far
    is_start INTEGER NOT NULL -- 0: it goes on, after midnight
);
"""


class BudgetError(ConvaidError):
    """The file that the budget is kept in cannot be used."""


@frozen
class Refusal:
    """Why a conversation may not be open, in a sentence, and for how many more seconds that holds."""

    reason: str
    seconds: float


@define(eq=False)
class Use:
    """Some time of one day for which a conversation was open."""

    conversation: str
    began: float
    """Unix seconds."""
    seconds: float = 0.0
    is_start: bool = True
    """It is the first of its conversation's; one that is open at midnight has another use from then on."""
    id: int | None = None
    """Its row in the file, if it could be written."""


@define(eq=False)
class Meter:
    """Counts the time of one conversation that is open. Made by `Budget.begin`."""

    _budget: Budget
    _use: Use
    _earlier: float = 0.0
    """Seconds of its earlier uses."""

    def note(self, seconds: float) -> None:
        """Note for how many seconds it has been open so far; it may be over."""
        self._use.seconds = seconds - self._earlier
        self._budget.write(self._use)
        if self._budget.is_past(self._use):
            self._earlier = seconds
            self._use = self._budget.add(self._use.conversation, is_start=False)

    def count_seconds_left(self, seconds: float) -> tuple[float, str]:
        """Return for how many more seconds it may stay open, once it was for ``seconds``, and which limit says so."""
        self._use.seconds = seconds - self._earlier
        return self._budget.count_seconds_left(self._use.conversation, seconds)


@define(eq=False)
class Budget:
    """What has been used, and what may be. Made by `open_budget`; all of it on one thread."""

    common: BudgetConfig
    """For all conversations together."""
    single: Mapping[str, BudgetConfig]
    """For each, by its name."""
    _path: Path
    _connection: sqlite3.Connection
    _inode: int
    _uses: list[Use]
    _now: Callable[[], float] = time.time
    _unwritten: list[Use] = field(factory=list, init=False)
    """Those of which the file does not know the latest."""
    _beginning: set[str] = field(factory=set, init=False)
    """The conversations that were let in, and that the platform has not confirmed yet."""
    trouble: str = field(default="", init=False)
    """Why it could not be written the last time; "" while it can."""

    def configure(self, common: BudgetConfig, single: Mapping[str, BudgetConfig]) -> None:
        """Take on other limits; what was used stays."""
        self.common, self.single = common, single

    def find_refusal(self, conversation: str) -> Refusal | None:
        """Why this conversation may not begin now; None where it may."""
        now = self._now()
        for limits, uses, whose in self._list_limits(conversation):
            if limits.minutes_per_conversation <= 0:
                return Refusal(f"one of {whose} may be open for 0 minutes", math.inf)
            for span in list_spans(limits, now):
                if sum(use.seconds for use in uses if span.holds(use)) >= span.seconds:
                    ends = datetime.fromtimestamp(span.end)
                    reason = f"{whose} may be open for {span}, and have been; next from {ends:%Y-%m-%d %H:%M} on"
                    return Refusal(reason, max(0.0, span.end - now))
            recent = sorted(use.began for use in uses if use.is_start and use.began > now - HOUR)
            beginning = self._beginning if limits is self.common else self._beginning & {conversation}
            if len(recent) + len(beginning) >= limits.starts_per_hour:
                first = recent[-int(limits.starts_per_hour)] if len(recent) >= limits.starts_per_hour >= 1 else now
                wait = max(0.0, first + HOUR - now)
                times = f"{limits.starts_per_hour:g} times in an hour"
                return Refusal(f"{whose} may begin {times}, and have; next in {math.ceil(wait / 60)} min", wait)
        return None

    def let_in(self, conversation: str) -> None:
        """Count a start that is about to be: many may begin at once. `begin` or `forget` follows."""
        self._beginning.add(conversation)

    def forget(self, conversation: str) -> None:
        """One that was let in has not begun, or is over."""
        self._beginning.discard(conversation)

    def begin(self, conversation: str) -> Meter:
        """Note that a conversation is open from now on."""
        self._beginning.discard(conversation)
        return Meter(self, self.add(conversation, is_start=True))

    def add(self, conversation: str, *, is_start: bool) -> Use:
        """Add a use that begins now."""
        use = Use(conversation, self._now(), is_start=is_start)
        self._uses.append(use)
        self.write(use)
        return use

    def is_past(self, use: Use) -> bool:
        """Whether a use began on another day than today."""
        return use.began < list_spans(BudgetConfig(), self._now())[0].begin

    def count_seconds_left(self, conversation: str, seconds: float) -> tuple[float, str]:
        """As `Meter.count_seconds_left`, which has noted its use."""
        left, why = math.inf, ""
        for limits, uses, whose in self._list_limits(conversation):
            minutes = limits.minutes_per_conversation
            words = f"one of {whose} may be open for {minutes:g} minutes"
            left, why = min((left, why), (minutes * 60 - seconds, words))
            for span in list_spans(limits, self._now()):
                used = sum(each.seconds for each in uses if span.holds(each))
                left, why = min((left, why), (span.seconds - used, f"{whose} may be open for {span}"))
        return left, why

    def describe(self) -> dict[str, dict[str, float]]:
        """What has been used, by conversation and of all: minutes of this day and month, starts of the last hour."""
        single: dict[str, list[Use]] = {}
        for use in self._uses:
            single.setdefault(use.conversation, []).append(use)
        told = {name: self._sum(uses) for name, uses in sorted(single.items())}
        return {"all": self._sum(self._uses), **told}

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _sum(self, uses: list[Use]) -> dict[str, float]:
        now = self._now()
        day, month = list_spans(BudgetConfig(), now)
        return {
            "minutes_of_day": sum(use.seconds for use in uses if day.holds(use)) / 60,
            "minutes_of_month": sum(use.seconds for use in uses if month.holds(use)) / 60,
            "starts_of_hour": sum(1 for use in uses if use.is_start and use.began > now - HOUR),
        }

    def _list_limits(self, conversation: str) -> Iterator[tuple[BudgetConfig, list[Use], str]]:
        own = [use for use in self._uses if use.conversation == conversation]
        yield self.single.get(conversation, BudgetConfig()), own, f"conversations of {conversation}"
        yield self.common, self._uses, "all conversations together"

    def write(self, use: Use) -> None:
        """Keep a use in the file; where that cannot be, it counts in memory all the same."""
        oldest = self._now() - KEPT
        if self._uses and self._uses[0].began < oldest:
            self._uses = [each for each in self._uses if each.began >= oldest]
        if use not in self._unwritten:
            self._unwritten.append(use)
        try:
            if self._is_gone():
                self._open_again()
            while self._unwritten:
                self._write(self._unwritten[-1])
                self._unwritten.pop()
            self._connection.execute("DELETE FROM uses WHERE began < ?", (oldest,))
        except (OSError, sqlite3.Error) as error:
            if not self.trouble:
                log.error("the budget cannot be written, and counts in memory until it can: %s", error)
            self.trouble = f"the budget cannot be written, and counts in memory until it can: {error}"
        else:
            if self.trouble:
                log.warning("the budget is written again")
            self.trouble = ""

    def _write(self, use: Use) -> None:
        if use.id is None:
            values = (use.conversation, use.began, use.seconds, use.is_start)
            statement = "INSERT INTO uses (conversation, began, seconds, is_start) VALUES (?, ?, ?, ?)"
            use.id = self._connection.execute(statement, values).lastrowid
        else:
            self._connection.execute("UPDATE uses SET seconds = ? WHERE id = ?", (use.seconds, use.id))

    def _is_gone(self) -> bool:
        """Somebody has moved or removed the file: we would write into nowhere."""
        try:
            return os.stat(self._path).st_ino != self._inode
        except FileNotFoundError:
            return True

    def _open_again(self) -> None:
        connection, inode = connect(self._path)
        self.close()
        self._connection, self._inode = connection, inode
        for use in self._uses:
            use.id = None
        self._unwritten = list(self._uses)


def connect(path: Path) -> tuple[sqlite3.Connection, int]:
    """Open the file, or make it; returns its inode, too. Raises `OSError` and `sqlite3.Error`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    connection = sqlite3.connect(path, timeout=BUSY_LIMIT, isolation_level=None)
    try:
        connection.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {SCHEMA}")
        return connection, os.stat(path).st_ino
    except BaseException:
        connection.close()
        raise


@contextmanager
def open_budget(common: BudgetConfig, single: Mapping[str, BudgetConfig], path: Path | None = None) -> Iterator[Budget]:
    """Open the budget, kept in the state folder. Raises `BudgetError` if the file cannot be used."""
    path = (path or find_state_folder() / FILE_NAME).expanduser()
    try:
        connection, inode = connect(path)
        try:
            rows = connection.execute(
                "SELECT conversation, began, seconds, is_start, id FROM uses ORDER BY began"
            ).fetchall()
        except sqlite3.Error:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise BudgetError(f"{path} cannot be used to keep the budget in: {error}") from None
    budget = Budget(common, single, path, connection, inode, [Use(*row) for row in rows])
    try:
        yield budget
    finally:
        with suppress(sqlite3.Error):
            budget.close()


@frozen
class Span:
    """A day or a month of local time, and how many seconds conversations may be open in it."""

    seconds: float
    name: str
    begin: float
    """Unix seconds, as ``end``."""
    end: float

    def holds(self, use: Use) -> bool:
        """Whether a use counts for it; one of a day to come was noted before the clock was set back."""
        return self.begin <= use.began < self.end

    def __str__(self) -> str:
        return f"{self.seconds / 60:g} minutes a {self.name}"


def list_spans(limits: BudgetConfig, now: float) -> tuple[Span, Span]:
    """The day and the month that ``now`` (Unix seconds) is in, from midnight to midnight, whatever summer time does."""
    today = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    first = today.replace(day=1)
    next_first = (first + timedelta(days=31)).replace(day=1)
    day = Span(limits.minutes_per_day * 60, "day", today.timestamp(), (today + timedelta(days=1)).timestamp())
    return day, Span(limits.minutes_per_month * 60, "month", first.timestamp(), next_first.timestamp())
