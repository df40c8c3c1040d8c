"""Late results that wait for a session."""

from __future__ import annotations

from functools import partial

from convaid.session.late import KEPT, LateResult, LateResults


def test_too_many_lose_the_oldest_which_wait_no_longer_elsewhere_either() -> None:
    told: list[int] = []
    results = LateResults()
    for number in range(KEPT + 3):
        results.put(LateResult(str(number), partial(told.append, number)))
    assert told == [0, 1, 2]
    kept = [result.text for result in iter(results.take, None)]
    assert kept == [str(number) for number in range(3, KEPT + 3)]
    assert results.take() is None


def test_who_can_tell_hears_of_each() -> None:
    arrivals: list[int] = []
    results = LateResults()
    results.arrived = lambda: arrivals.append(1)
    for _ in range(2):
        results.put(LateResult("x", lambda: None))
    assert len(arrivals) == 2
