"""The pytest plugin (floor 6). Imports next to nothing: pytest loads it in every project beside which convaid is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from convaid.testing.agent import Agent
    from convaid.testing.clock import Clock
    from convaid.testing.simulated import StartSimulator
    from convaid.testing.stage import Stage
    from convaid.testing.subjects import Choice
    from convaid.testing.toolbox import CallTool, Toolbox

CONFIG = "convaid_config"
SCENARIOS = "convaid_scenarios"
FOLDERS = {".toml": "scenarios", ".jsonl": "recordings"}
"""Where tests are that are no Python, by what their names end with."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(CONFIG, "convaid's configuration for tests of plugins, relative to the root folder", default="")
    parser.addini(
        SCENARIOS,
        "the folders whose *.toml and *.jsonl are scenarios and recordings of convaid's to be run as tests (default: "
        '"scenarios" and "recordings", in projects of plugins)',
        type="args",
        default=[],
    )


def find_config(config: pytest.Config) -> Path | None:
    """Return the configuration that the project's settings of pytest name."""
    name = config.getini(CONFIG)
    return config.rootpath / name if name else None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix not in FOLDERS or not is_test(file_path, parent.config):
        return None
    from convaid.testing.items import RecordingFile, ScenarioFile

    kind = ScenarioFile if file_path.suffix == ".toml" else RecordingFile
    return kind.from_parent(parent, path=file_path)


def is_test(file: Path, config: pytest.Config) -> bool:
    """Whether a file lies where scenarios or recordings of ours do: others' projects have such folders, too."""
    if folders := config.getini(SCENARIOS):
        return any(file.is_relative_to(config.rootpath / folder) for folder in folders)
    own = FOLDERS[file.suffix]
    if own not in file.parts:
        return False
    from convaid.testing.project import find_project

    project = find_project(file)
    return project is not None and bool(project.plugins) and own in file.relative_to(project.folder).parts


@pytest.fixture
def convaid_plugins() -> Choice:
    """The plugins under test, to be overridden: names of installed ones, or modules (or other objects) by name.

    None: those that the closest pyproject.toml above the test declares; where it declares none, all that are installed.
    """
    return None


@pytest.fixture
def convaid_config(pytestconfig: pytest.Config) -> Mapping[str, Any] | Path | None:
    """The configuration of the plugins under test, to be overridden.

    The tables "plugins" and "tools" as in config.toml, as a dict; or a file's path, by default that of the ini option
    convaid_config.
    """
    return find_config(pytestconfig)


@pytest.fixture
def _convaid_stage() -> Iterator[Stage]:
    from convaid.testing.stage import open_stage

    with open_stage() as stage:
        yield stage


@pytest.fixture
def _convaid_toolbox(
    request: pytest.FixtureRequest,
    convaid_plugins: Choice,
    convaid_config: Mapping[str, Any] | Path | None,
    _convaid_stage: Stage,
) -> Iterator[Toolbox]:
    from convaid.testing.running import open_temporary_state
    from convaid.testing.subjects import load_subjects
    from convaid.testing.toolbox import open_toolbox

    with open_temporary_state():
        subjects = load_subjects(convaid_plugins, convaid_config, request.path)
        with _convaid_stage.hold(open_toolbox(subjects, _convaid_stage.clock)) as toolbox:
            yield toolbox


@pytest.fixture
def clock(_convaid_stage: Stage) -> Clock:
    """The time of everything that convaid's fixtures run: ``clock.move(120)`` lets two minutes pass in milliseconds."""
    return _convaid_stage.clock


@pytest.fixture
def call_tool(_convaid_stage: Stage, _convaid_toolbox: Toolbox) -> CallTool:
    """Calls a plugin's tool as an agent would: ``call_tool("greet", {"name": "Ada"}).result``."""
    from convaid.testing.toolbox import CallTool

    return CallTool(_convaid_stage, _convaid_toolbox)


@pytest.fixture
def agent(_convaid_stage: Stage, _convaid_toolbox: Toolbox) -> Iterator[Agent]:
    """The platform's side of a conversation in memory: ``agent.call("greet", {"name": "Ada"}).wait().result``."""
    from convaid.testing.agent import Agent, open_conversation

    with _convaid_stage.hold(open_conversation(_convaid_toolbox)) as conversation:
        yield Agent(_convaid_stage, conversation)


@pytest.fixture
def simulator(_convaid_stage: Stage) -> Iterator[StartSimulator]:
    """Starts simulators of the platform on ports of their own: ``simulator("scenario.toml").base_url``."""
    from contextlib import ExitStack

    from convaid.testing.simulated import StartSimulator

    with ExitStack() as opened:
        yield StartSimulator(_convaid_stage, opened)
