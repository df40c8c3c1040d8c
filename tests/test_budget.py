"""The money guard: minutes and starts, by day, month and hour, kept in a file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from convaid.budget import Budget, BudgetError, open_budget
from convaid.config import BudgetConfig

NONE: dict[str, BudgetConfig] = {}


@pytest.fixture(autouse=True)
def rome() -> Iterator[None]:
    """A place with summer time."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Rome"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


class Clock:
    def __init__(self, text: str) -> None:
        self.set(text)

    def set(self, text: str) -> None:
        self.now = datetime.fromisoformat(text).timestamp()

    def __call__(self) -> float:
        return self.now


def set_clock(budget: Budget, text: str) -> Clock:
    clock = Clock(text)
    budget._now = clock
    return clock


def talk(budget: Budget, conversation: str, minutes: float) -> None:
    budget.begin(conversation).note(minutes * 60)


def test_minutes_of_a_day_and_a_month(tmp_path: Path) -> None:
    limits = BudgetConfig(minutes_per_day=30, minutes_per_month=50)
    with open_budget(BudgetConfig(), {"kitchen": limits}, tmp_path / "budget.sqlite") as budget:
        clock = set_clock(budget, "2026-10-24 23:00")
        talk(budget, "kitchen", 29)
        assert budget.find_refusal("kitchen") is None
        talk(budget, "kitchen", 1)
        refusal = budget.find_refusal("kitchen")
        assert refusal is not None
        assert refusal.reason == (
            "conversations of kitchen may be open for 30 minutes a day, and have been; next from 2026-10-25 00:00 on"
        )
        assert refusal.seconds == 3600
        assert budget.find_refusal("cellar") is None
        clock.set("2026-10-25 12:00")  # the day on which summer time ends
        talk(budget, "kitchen", 20)
        refusal = budget.find_refusal("kitchen")
        assert refusal is not None
        assert "50 minutes a month, and have been; next from 2026-11-01 00:00 on" in refusal.reason
        clock.set("2026-11-01 00:00")
        assert budget.find_refusal("kitchen") is None


def test_all_together_have_a_budget_of_their_own(tmp_path: Path) -> None:
    with open_budget(BudgetConfig(minutes_per_day=10), NONE, tmp_path / "budget.sqlite") as budget:
        set_clock(budget, "2026-11-22 12:00")
        talk(budget, "kitchen", 6)
        talk(budget, "cellar", 4)
        refusal = budget.find_refusal("attic")
        assert refusal is not None
        assert refusal.reason.startswith("all conversations together may be open for 10 minutes a day")


@pytest.mark.parametrize("most", [0, 1, 3])
def test_starts_of_an_hour(most: int, tmp_path: Path) -> None:
    with open_budget(BudgetConfig(starts_per_hour=most), NONE, tmp_path / "budget.sqlite") as budget:
        clock = set_clock(budget, "2026-11-22 12:00")
        for _ in range(most):
            assert budget.find_refusal("kitchen") is None
            budget.begin("kitchen")
            clock.now += 60
        refusal = budget.find_refusal("kitchen")
        assert refusal is not None
        assert f"may begin {most} times in an hour" in refusal.reason
        assert refusal.seconds == 3600 - most * 60
        clock.now += refusal.seconds
        assert (budget.find_refusal("kitchen") is None) is (most > 0)


def test_what_is_open_is_counted_and_has_an_end(tmp_path: Path) -> None:
    limits = BudgetConfig(minutes_per_conversation=20, minutes_per_day=30)
    with open_budget(limits, NONE, tmp_path / "budget.sqlite") as budget:
        set_clock(budget, "2026-11-22 12:00")
        talk(budget, "kitchen", 15)
        meter = budget.begin("kitchen")
        assert meter.count_seconds_left(0) == (900, "all conversations together may be open for 30 minutes a day")
        other = budget.begin("cellar")
        assert other.count_seconds_left(300)[0] == 600
        assert meter.count_seconds_left(600)[0] == 0
        assert meter.count_seconds_left(1200)[0] < 0


def test_a_conversation_that_is_open_at_midnight_counts_on_both_days(tmp_path: Path) -> None:
    with open_budget(BudgetConfig(minutes_per_day=30), NONE, tmp_path / "budget.sqlite") as budget:
        clock = set_clock(budget, "2026-11-22 23:50")
        meter = budget.begin("kitchen")
        clock.set("2026-11-23 00:00")
        meter.note(600)
        assert meter.count_seconds_left(600)[0] == 1800
        clock.set("2026-11-23 00:30")
        assert meter.count_seconds_left(600 + 1800)[0] == 0
        meter.note(600 + 1800)
        assert budget.describe()["kitchen"] == {"minutes_of_day": 30, "minutes_of_month": 40, "starts_of_hour": 1}


def test_it_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state" / "budget.sqlite"
    with open_budget(BudgetConfig(), NONE, path) as budget:
        assert path.stat().st_mode & 0o777 == 0o600
        talk(budget, "kitchen", 10)
        meter = budget.begin("kitchen")
        meter.note(30)  # and then it is killed
    with open_budget(BudgetConfig(minutes_per_month=10), NONE, path) as budget:
        assert budget.describe()["all"]["minutes_of_month"] == 10.5
        assert budget.find_refusal("kitchen") is not None
        budget.configure(BudgetConfig(), NONE)
        assert budget.find_refusal("kitchen") is None


def test_a_disk_that_takes_nothing_costs_no_guard(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "budget.sqlite"
    with open_budget(BudgetConfig(minutes_per_day=10), NONE, path) as budget, sqlite3.connect(path) as other:
        set_clock(budget, "2026-11-22 12:00")
        budget._connection.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN IMMEDIATE")
        talk(budget, "kitchen", 10)
        assert budget.find_refusal("kitchen") is not None
        assert caplog.text.count("cannot be written") == 1
        other.rollback()
        talk(budget, "cellar", 1)
        assert "is written again" in caplog.text
    other.close()


def test_a_file_that_was_taken_away_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "state" / "budget.sqlite"
    with open_budget(BudgetConfig(minutes_per_day=10), NONE, path) as budget:
        talk(budget, "kitchen", 8)
        shutil.rmtree(path.parent)
        path.parent.touch()  # and nothing can be there for a while
        talk(budget, "cellar", 1)
        assert "counts in memory" in budget.trouble
        path.parent.unlink()
        talk(budget, "attic", 1)
        assert not budget.trouble
    with open_budget(BudgetConfig(minutes_per_day=10), NONE, path) as budget:
        assert budget.describe()["all"]["minutes_of_day"] == 10
        assert budget.describe()["all"]["starts_of_hour"] == 3


def test_what_was_used_while_the_disk_was_full_is_kept_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "budget.sqlite"
    with open_budget(BudgetConfig(), NONE, path) as budget, sqlite3.connect(path) as other:
        budget._connection.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN IMMEDIATE")
        talk(budget, "kitchen", 10)
        other.rollback()
        talk(budget, "cellar", 1)
    other.close()
    with open_budget(BudgetConfig(), NONE, path) as budget:
        assert budget.describe()["kitchen"]["minutes_of_day"] == 10


def test_those_that_begin_at_once_are_counted_before_they_have_begun(tmp_path: Path) -> None:
    with open_budget(BudgetConfig(starts_per_hour=2), NONE, tmp_path / "budget.sqlite") as budget:
        for name in ("a", "b"):
            assert budget.find_refusal(name) is None
            budget.let_in(name)
        assert budget.find_refusal("c") is not None
        budget.begin("a")
        budget.forget("a")
        assert budget.find_refusal("c") is not None
        budget.forget("b")  # it was not to be reached
        assert budget.find_refusal("c") is None


def test_a_conversation_of_no_minutes_does_not_begin(tmp_path: Path) -> None:
    with open_budget(BudgetConfig(minutes_per_conversation=0), NONE, tmp_path / "budget.sqlite") as budget:
        refusal = budget.find_refusal("kitchen")
        assert refusal is not None
        assert refusal.reason == "one of all conversations together may be open for 0 minutes"


def test_a_clock_that_was_ahead_uses_up_no_other_day(tmp_path: Path) -> None:
    with open_budget(BudgetConfig(minutes_per_day=10), NONE, tmp_path / "budget.sqlite") as budget:
        clock = set_clock(budget, "2027-03-01 12:00")
        talk(budget, "kitchen", 10)
        clock.set("2026-11-22 12:00")
        assert budget.describe()["all"]["minutes_of_month"] == 0
        budget.configure(BudgetConfig(minutes_per_day=10), NONE)
        assert budget.find_refusal("kitchen") is None


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "budget.sqlite"
    path.write_text("no database " * 100)
    with (
        pytest.raises(BudgetError, match=r"budget\.sqlite cannot be used to keep the budget in: "),
        open_budget(BudgetConfig(), NONE, path),
    ):
        pass


def test_it_belongs_into_the_users_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with open_budget(BudgetConfig(), NONE):
        assert (tmp_path / ".local/state/convaid/budget.sqlite").exists()
