"""The benchmarks still run: a smoke run of the stages that use most of the daemon. Their figures mean nothing here."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soundservers import needs_pulse

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize(
    ("stages", "count"),
    [
        (["tool-calls", "places", "speech"], 23),
        (["commands", "load"], 8),
        pytest.param(["sound"], 15, marks=needs_pulse),
    ],
    ids=["calls and speech", "commands and load", "sound"],
)
@pytest.mark.timeout(180)  # it starts programs that import a lot
def test_smoke_run(stages: list[str], count: int) -> None:
    if importlib.util.find_spec("elevenlabs") is None:
        reason = "the official Python SDK is not installed; this brings it: pip install 'convaid[strangers]'"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    readme = (BENCHMARKS / "README.md").read_text()
    run = [sys.executable, str(BENCHMARKS / "run.py"), "--quick", *stages]
    # By SIGTERM, on which it ends its contestants: subprocess's own time limit would leave them behind.
    done = subprocess.run(["timeout", "150", *run], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + count  # the heading is two lines
    for row in rows[2:]:
        float(row.split("|")[2].split()[0])  # a figure; differences of two may be below 0 in so short a run
    assert (BENCHMARKS / "README.md").read_text() == readme
