"""Tests that hear in real time what a sound server plays: where the machine stood still meanwhile, it is heard again.

A test marked ``real_time`` measures the machine as well. A failure counts if the machine kept time; otherwise the test
is run once more, a few times at most, and the summary says how often that was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from _pytest.runner import runtestprotocol  # what pytest's own hook calls; there is no public name for it

ATTEMPTS = 4
LAST_BEGINNING = 25.0  # seconds after the first: the time limit of a test holds for all of them
STANDSTILL = 0.03  # seconds: a speaker's server has 0.06 left when it asks for more
LOOK_INTERVAL = 0.01  # seconds
REPEATED = "standstills"


def run_in_real_time(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Run a test marked ``real_time``, in place of pytest's own protocol."""
    where = {"nodeid": item.nodeid, "location": item.location}
    item.ihook.pytest_runtest_logstart(**where)
    began = time.monotonic()
    for attempt in range(ATTEMPTS):
        with watch_machine() as standstills:
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
        meanwhile = find_meanwhile(reports, standstills)
        if not meanwhile or attempt == ATTEMPTS - 1 or time.monotonic() > began + LAST_BEGINNING:
            break
        item.user_properties.append((REPEATED, max(meanwhile)))
        item._initrequest()  # type: ignore[attr-defined]  # fixtures of the function are made anew
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(**where)


def find_meanwhile(reports: list[pytest.TestReport], standstills: list[tuple[float, float]]) -> list[float]:
    """How long the machine stood still, each time, while the test failed; none where it did not, or not it alone."""
    failed = [report for report in reports if report.failed]
    if [report.when for report in failed] != ["call"]:
        return []
    return [seconds for at, seconds in standstills if failed[0].start <= at and at - seconds <= failed[0].stop]


@contextmanager
def watch_machine() -> Iterator[list[tuple[float, float]]]:
    """While inside, a list of the times in which this process had none: their ends (`time.time`), and how long."""
    found: list[tuple[float, float]] = []
    is_over = threading.Event()

    def watch() -> None:
        before = time.monotonic()
        while not is_over.wait(LOOK_INTERVAL):
            now = time.monotonic()
            if now - before - LOOK_INTERVAL > STANDSTILL:
                found.append((time.time(), now - before - LOOK_INTERVAL))
            before = now

    thread = threading.Thread(target=watch, name="watches the machine", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        is_over.set()
        thread.join()


def find_repeated(reports: list[pytest.TestReport]) -> Iterator[str]:
    """Lines for the summary."""
    for report in reports:
        if times := [value for name, value in report.user_properties if name == REPEATED]:
            words = ", ".join(f"{seconds:.2f} s" for seconds in times)
            yield f"{report.nodeid}: run again, as the machine had stood still for {words}"
