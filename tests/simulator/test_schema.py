"""The published JSON Schema is that of the classes, and says what the reader says."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from convaid.errors import ConfigurationError
from convaid.simulator import parse_scenario
from convaid.simulator.scenario import STEPS
from convaid.simulator.schema import make_schema

from .test_scenario_file import BRANCHES, EVERY_STEP

SIMULATOR = Path(str(files("convaid.simulator")))
VALIDATOR = jsonschema.Draft7Validator(make_schema())


def test_the_published_file_is_up_to_date() -> None:
    """After a change: ``convaid simulate --schema > convaid/simulator/scenario.schema.json``."""
    assert json.loads((SIMULATOR / "scenario.schema.json").read_text()) == make_schema()


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(make_schema())


def test_every_step_is_described() -> None:
    steps = make_schema()["definitions"]["steps"]["items"]["properties"]
    assert steps.keys() == STEPS.keys()
    assert all(step["description"] for step in steps.values())
    assert "`{{name}}` is replaced by the dynamic variable" in steps["say"]["description"]


@pytest.mark.parametrize("path", sorted((SIMULATOR / "scenarios").iterdir()), ids=lambda path: path.name)
def test_the_bundled_scenarios_name_it_and_keep_to_it(path: Path) -> None:
    first_line = path.read_text().splitlines()[0]
    assert (path.parent / first_line.removeprefix("#:schema ")).resolve() == SIMULATOR / "scenario.schema.json"
    VALIDATOR.validate(tomllib.loads(path.read_text()))


@pytest.mark.parametrize("text", ["", EVERY_STEP, BRANCHES, "[agent]\nmax_duration = inf", "steps = [{drop = {}}]"])
def test_what_the_reader_takes_the_schema_takes(text: str) -> None:
    parse_scenario(text, "story.toml")
    VALIDATOR.validate(tomllib.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "step = []",
        "steps = [3]",
        "steps = [{}]",
        'steps = [{sai = "Hello"}]',
        "steps = [{say = 3}]",
        'steps = [{say = "Hello", drop = {}}]',
        'steps = [{say = {text = "Hello", after_ms = -1}}]',
        'steps = [{say = {text = "Hello", after = 1}}]',
        "steps = [{expect_text = {within_ms = 0}}]",
        "steps = [{call = {parameters = {}}}]",
        'steps = [{call = {tool = "t", expect_outcome = "fine"}}]',
        "steps = [{close = 5000}]",
        "steps = [{branch = 3}]",
        "steps = [{branch = [{wenn = 'x'}]}]",
        "steps = [{branch = [{steps = [{sai = 'x'}]}]}]",
        "[agent]\nping_interval = 0",
        "[agent]\nping_intervall = 2",
        "[[rules]]\ncall = {tool = 't', within_ms = 'long'}",
    ],
)
def test_what_the_reader_refuses_the_schema_refuses(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_scenario(text, "story.toml")
    assert not VALIDATOR.is_valid(tomllib.loads(text))
