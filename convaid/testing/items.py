"""Scenario files as tests of pytest's (floor 6)."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import pytest
import trio

from convaid.errors import ConvaidError
from convaid.simulator import load_scenario
from convaid.testing.plugin import find_config
from convaid.testing.running import ScenarioReport, open_temporary_state, run_scenario
from convaid.testing.subjects import load_subjects

__all__ = ["ScenarioFile"]


class ScenarioFile(pytest.File):
    """A file with a scenario, which is one test."""

    def collect(self) -> Iterator[pytest.Item]:
        yield ScenarioItem.from_parent(self, name=self.path.stem)


class ScenarioFailed(Exception):
    """The conversation was not as the scenario has it."""

    def __init__(self, report: ScenarioReport) -> None:
        super().__init__(str(report.failure))
        self.report = report


class ScenarioItem(pytest.Item):
    """Holds the conversation with the plugins under test, as `convaid test` does."""

    obj = None  # pytest-trio, in trio_mode, takes it for granted that an item has one

    def runtest(self) -> None:
        scenario = load_scenario(self.path)
        with open_temporary_state():
            subjects = load_subjects(None, find_config(self.config), self.path)
            configuration = subjects.configuration
            hidden = [configuration.platform.api_key_env]

            async def run() -> ScenarioReport:
                return await run_scenario(scenario, subjects.plugins, configuration.tools, hidden=hidden)

            report = trio.run(run)
        if not report.passed:
            raise ScenarioFailed(report)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any, **kwargs: Any) -> Any:
        match excinfo.value:
            case ScenarioFailed(report=report):
                return describe_failure(report)
            case ConvaidError() as error:  # the scenario or the configuration cannot be used
                return str(error)
        return super().repr_failure(excinfo, *args, **kwargs)

    def reportinfo(self) -> tuple[PathLike[str] | str, int | None, str]:
        return Path(self.path), 0, f"scenario: {self.name}"


def describe_failure(report: ScenarioReport) -> str:
    """Return where a scenario failed, what was expected there and what came, and all that was said and called."""
    failure = report.failure
    assert failure is not None
    lines = [str(failure)]
    if failure.expected:
        lines += [f"  expected: {failure.expected}", f"  got:      {failure.got}"]
    return "\n".join([*lines, "", *report.transcript])
