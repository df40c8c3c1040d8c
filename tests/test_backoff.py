"""The delay before the next connection."""

from __future__ import annotations

import pytest

from convaid.backoff import Backoff
from convaid.protocol.endings import Retry


def longest(low: float, high: float) -> float:
    return high


def shortest(low: float, high: float) -> float:
    return low


def test_the_first_retry_is_within_half_a_second_and_the_delays_grow_to_a_cap() -> None:
    backoff = Backoff(30.0, longest)
    delays = [backoff.find_delay(Retry.SOON, 0.1) for _ in range(10)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]


def test_jitter_only_shortens() -> None:
    assert Backoff(30.0, shortest).find_delay(Retry.SOON, 0.0) == 0.25


def test_a_session_that_lived_starts_the_delays_anew_and_a_handshake_does_not() -> None:
    backoff = Backoff(30.0, longest)
    for _ in range(5):
        backoff.find_delay(Retry.SOON, 29.9)
    assert backoff.find_delay(Retry.SOON, 29.9) == 16.0
    assert backoff.find_delay(Retry.SOON, 30.0) == 0.5


@pytest.mark.parametrize(("retry", "least"), [(Retry.LATER, 15.0), (Retry.REPAIR, 450.0)])
def test_a_refusal_is_not_retried_in_a_loop(retry: Retry, least: float) -> None:
    assert Backoff(30.0).find_delay(retry, 0.0) >= least


def test_an_agent_that_hangs_up_at_once_is_not_hammered() -> None:
    backoff = Backoff(30.0, longest)
    assert [backoff.find_delay(Retry.NO, 0.1) for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]


def test_months_of_failures_overflow_nothing() -> None:
    backoff = Backoff(30.0, longest)
    assert {backoff.find_delay(Retry.SOON, 0.0) for _ in range(5000)} <= {0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0}
