"""A failure in real time counts if the machine kept time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).with_name("conftest.py").read_text()
STEADINESS = Path(__file__).with_name("steadiness.py").read_text()
TEST = """
import ctypes, time
import pytest

runs = []
hold_up = ctypes.PyDLL(None).usleep  # as a machine that stands still does: no thread of ours goes on

@pytest.fixture
def fresh():
    return []

@pytest.mark.real_time
def test_late(fresh):
    runs.append(1)
    fresh.append(1)
    if len(runs) < {good}:
        hold_up(100_000)
        time.sleep(0.05)
        assert False
    assert fresh == [1]
"""


@pytest.mark.parametrize(
    ("good", "standstill", "outcome", "repetitions"),
    [(1, 0.03, "passed", 0), (3, 0.03, "passed", 2), (9, 0.03, "failed", 3), (2, 60, "failed", 0)],
)
def test_a_failure_counts_unless_the_machine_stood_still(
    pytester: pytest.Pytester, good: int, standstill: float, outcome: str, repetitions: int
) -> None:
    folder = pytester.mkpydir("tests")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "steadiness.py").write_text(STEADINESS.replace("STANDSTILL = 0.03", f"STANDSTILL = {standstill}"))
    (folder / "test_it.py").write_text(TEST.format(good=good))
    pytester.makeini("[pytest]\nmarkers = real_time: in real time")
    result = pytester.runpytest_subprocess("tests", "-p", "no:trio", "-p", "no:cacheprovider")
    result.assert_outcomes(**{outcome: 1})
    told = [line for line in result.outlines if "run again, as the machine had stood still" in line]
    assert len(re.findall(r"\d\.\d\d s", "".join(told))) == repetitions
