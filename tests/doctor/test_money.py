"""What costs without end is named."""

from __future__ import annotations

import pytest

from convaid.doctor.money import check_money

from .subjects import MAIN, make_subject, tell


@pytest.mark.parametrize(
    ("text", "base_url", "is_unlimited"),
    [
        (MAIN, "global", True),
        (MAIN, "https://platform.example", True),
        (MAIN, "simulator", False),
        (MAIN, "http://127.0.0.1:9", False),
        (MAIN + 'start = "on_demand"\n', "global", False),
        (MAIN + "limits.idle = 60\n", "global", False),
        (MAIN + "budget.minutes_per_day = 60\n", "global", False),
        (MAIN + "[budget]\nminutes_per_month = 600\n", "global", False),
    ],
)
def test_a_conversation_that_nothing_ends_is_a_warning(text: str, base_url: str, is_unlimited: bool) -> None:
    (told,) = tell(list(check_money(make_subject(text, base_url))), "money")
    assert told[0] == ("warning" if is_unlimited else "ok")
    assert ("open day and night" in told[1]) is is_unlimited
