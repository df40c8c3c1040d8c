"""Scenario files and recordings as tests of pytest's (floor 6)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import pytest
import trio

from convaid.errors import ConvaidError
from convaid.simulator import load_scenario
from convaid.testing.plugin import find_config
from convaid.testing.recorded import load_recording
from convaid.testing.replaying import make_redactor, replay_recording
from convaid.testing.running import ScenarioReport, open_temporary_state, run_scenario
from convaid.testing.subjects import Subjects, load_subjects

__all__ = ["RecordingFile", "ScenarioFile"]


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
    kind = "scenario"

    def runtest(self) -> None:
        with open_temporary_state():
            report = self.hold(load_subjects(None, find_config(self.config), self.path))
        if report.skipped:
            pytest.skip(report.skipped)
        if not report.passed:
            raise ScenarioFailed(report)

    def hold(self, subjects: Subjects) -> ScenarioReport:
        scenario, configuration = load_scenario(self.path), subjects.configuration
        hidden = [configuration.platform.api_key_env]
        return trio.run(partial(run_scenario, scenario, subjects.plugins, configuration.tools, hidden=hidden))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any, **kwargs: Any) -> Any:
        match excinfo.value:
            case ScenarioFailed(report=report):
                return describe_failure(report)
            case ConvaidError() as error:  # the scenario or the configuration cannot be used
                return str(error)
        return super().repr_failure(excinfo, *args, **kwargs)

    def reportinfo(self) -> tuple[PathLike[str] | str, int | None, str]:
        return Path(self.path), 0, f"{self.kind}: {self.name}"


class RecordingFile(pytest.File):
    """A recording, which is one test."""

    def collect(self) -> Iterator[pytest.Item]:
        yield RecordingItem.from_parent(self, name=self.path.stem)


class RecordingItem(ScenarioItem):
    """Replays a recording with the plugins under test, as `convaid replay` does."""

    kind = "recording"

    def hold(self, subjects: Subjects) -> ScenarioReport:
        recording, configuration = load_recording(self.path), subjects.configuration
        replay = partial(
            replay_recording,
            recording,
            subjects.plugins,
            configuration.tools,
            hidden=[configuration.platform.api_key_env],
            redactor=make_redactor(configuration),
        )
        return trio.run(replay).summarize(self.name)


def describe_failure(report: ScenarioReport) -> str:
    """Return where a scenario failed, what was expected there and what came, and all that was said and called."""
    failure = report.failure
    assert failure is not None
    lines = [str(failure)]
    if failure.expected:
        lines += [f"  expected: {failure.expected}", f"  got:      {failure.got}"]
    return "\n".join([*lines, "", *report.transcript])
