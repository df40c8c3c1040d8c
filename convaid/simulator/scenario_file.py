"""Reading scenarios from TOML files.

In ``[[steps]]`` each step is a table with one key, its name: ``say = {text = "Hello"}``. A step's first field may be
written alone: ``say = "Hello"``; ``drop = {}`` needs nothing.
"""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import attrs
from attrs import Factory, field, frozen

from convaid.audio import WavReader
from convaid.errors import ConfigurationError, Problem, StructureError
from convaid.simulator.scenario import STEPS, Agent, Refuse, Rule, Scenario, Step, Voice
from convaid.structuring import structure

__all__ = ["load_scenario", "parse_scenario"]

StepTable = attrs.make_class(
    "StepTable", {name: field(default=None, type=cast(type, cls | None)) for name, cls in STEPS.items()}, frozen=True
)


@frozen
class ScenarioFile:
    agent: Agent = Factory(Agent)
    voice: Voice = Factory(Voice)
    steps: list[StepTable] = Factory(list)  # type: ignore[valid-type]  # a class made at run time
    rules: list[Rule] = Factory(list)


def load_scenario(source: str | Path) -> Scenario:
    """Read a scenario: the name of a bundled one ("default", "demo"), or a path. Raises `ConfigurationError`."""
    bundled = files(__package__) / "scenarios" / f"{source}.toml"
    if isinstance(source, str) and re.fullmatch(r"\w+", source) and bundled.is_file():
        return parse_scenario(bundled.read_text("utf-8"), source)
    path = Path(source)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), [Problem("", f"cannot be read: {error}")]) from None
    return parse_scenario(text, str(path), path.parent)


def parse_scenario(text: str, source: str, folder: Path = Path()) -> Scenario:
    """Read a scenario from TOML; a WAV file's path is relative to ``folder``.

    Raises `ConfigurationError` with every problem; ``source`` is what it calls the file.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(source, [Problem("", f"is not TOML: {error}")]) from None
    try:
        content = structure(_write_out(table), ScenarioFile)
    except StructureError as error:
        raise ConfigurationError(source, error.problems) from None
    steps, problems = _pick_steps(content.steps)
    voice = content.voice
    if voice.wav is not None:
        wav = folder / voice.wav
        voice = attrs.evolve(voice, wav=wav)
        try:
            with wav.open("rb") as file:
                WavReader(file)
        except (OSError, ValueError) as error:
            problems.append(Problem("voice.wav", f"cannot be read: {error}"))
    if problems:
        raise ConfigurationError(source, problems)
    return Scenario(Path(source).stem, content.agent, voice, steps, content.rules)


def _write_out(table: dict[str, Any]) -> dict[str, Any]:
    """Write a step's or a rule's first field, where it stands alone, as the table that it is short for."""

    def write_out(name: str, value: Any) -> Any:
        if name not in STEPS or isinstance(value, dict) or not (fields := attrs.fields(STEPS[name])):
            return value
        return {fields[0].name: value}

    steps = table.get("steps")
    if not isinstance(steps, list):
        return table
    return table | {
        "steps": [
            {name: write_out(name, value) for name, value in step.items()} if isinstance(step, dict) else step
            for step in steps
        ]
    }


def _pick_steps(tables: list[Any]) -> tuple[list[Step], list[Problem]]:
    steps: list[Step] = []
    problems: list[Problem] = []
    for number, table in enumerate(tables):
        named = [step for name in STEPS if (step := getattr(table, name)) is not None]
        if len(named) != 1:
            problems.append(Problem(f"steps[{number}]", f"a step has one name, this one has {len(named)}"))
        elif number and isinstance(named[0], Refuse):
            problems.append(Problem(f"steps[{number}].refuse", "only the first step can refuse the conversation"))
        steps += named
    return steps, problems
