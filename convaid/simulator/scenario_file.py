"""Reading scenarios from TOML files.

In ``[[steps]]`` each step is a table with one key, its name: ``say = {text = "Hello"}``. A step's first field may be
written alone: ``say = "Hello"``; ``drop = {}`` needs nothing. The alternatives of a branch have steps of their own.
``brain = "openai"`` stands for the table ``[brain]`` with ``api = "openai"``.
"""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import attrs
from attrs import Factory, frozen

from convaid.audio import WavReader
from convaid.errors import ConfigurationError, Problem, StructureError
from convaid.files import check_regular, read_file
from convaid.simulator.brain.settings import Brain
from convaid.simulator.messages import read_message
from convaid.simulator.placeholders import find_broken_json, find_stray_placeholders
from convaid.simulator.scenario import (
    STEPS,
    Agent,
    Alternative,
    Branch,
    Refuse,
    Rule,
    Scenario,
    Send,
    Step,
    Voice,
    find_short_field,
)
from convaid.structuring import structure
from convaid.wording import describe_value, join_path, nearest

T = TypeVar("T")

__all__ = ["ScenarioFile", "list_bundled", "load_scenario", "parse_scenario"]

DEEPEST = 20  # branches within branches


@frozen
class ScenarioFile:
    """A scenario: who the simulated agent is, and what it does in a conversation."""

    agent: Agent = Factory(Agent)
    voice: Voice = Factory(Voice)
    steps: list[Step] = Factory(list)
    rules: list[Rule] = Factory(list)
    brain: Brain | None = None


def list_bundled() -> list[str]:
    """Return the names of the bundled scenarios."""
    return sorted(file.name.removesuffix(".toml") for file in (files(__package__) / "scenarios").iterdir())


def load_scenario(source: str | Path) -> Scenario:
    """Read a scenario: the name of a bundled one ("default", "demo"), or a path. Raises `ConfigurationError`."""
    bundled = files(__package__) / "scenarios" / f"{source}.toml"
    if isinstance(source, str) and re.fullmatch(r"\w+", source) and bundled.is_file():
        return parse_scenario(bundled.read_text("utf-8"), source)
    path = Path(source)
    try:
        text = read_file(path).decode()
    except UnicodeDecodeError as error:
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
    except RecursionError:
        raise ConfigurationError(source, [Problem("", "is nested too deeply")]) from None
    except ValueError:  # of Python's: it reads no whole number of more than 4300 digits
        raise ConfigurationError(source, [Problem("", "has a whole number with thousands of digits in it")]) from None
    reader = Reader()
    steps = reader.read_steps(table.pop("steps", []), "steps")
    if isinstance(table.get("brain"), str):
        table["brain"] = {"api": table["brain"]}
    content = reader.read(table, ScenarioFile, "") or ScenarioFile()
    if content.brain is not None and (steps or content.rules):
        reader.complain("brain", "decides all that the agent does: remove it, or the steps and rules")
    voice = content.voice
    if voice.wav is not None:
        wav = folder / voice.wav
        voice = attrs.evolve(voice, wav=wav)
        try:
            check_regular(wav)
            with wav.open("rb") as file:
                WavReader(file)
        except (OSError, ValueError) as error:
            reader.complain("voice.wav", f"cannot be read: {error}")
    scenario = Scenario(Path(source).stem, content.agent, voice, steps, content.rules, content.brain)
    problems = reader.problems or list(find_stray_placeholders(scenario)) or list(find_broken_json(scenario))
    if problems:
        raise ConfigurationError(source, problems)
    return scenario


class Reader:
    """Reads the tables of one scenario, and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def complain(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def read(self, value: Any, shape: type[T], path: str) -> T | None:
        """Read what has no steps in it; None where that cannot be."""
        try:
            return structure(value, shape, path)
        except StructureError as error:
            self.problems += error.problems
            return None

    def read_steps(self, value: Any, path: str, depth: int = 0) -> list[Step]:
        """Read a list of steps; those that are wrong are left out."""
        if not isinstance(value, list):
            self.complain(path, f"expected a list, got {describe_value(value)}")
            return []
        steps = [self._read_step(table, join_path(path, number), depth) for number, table in enumerate(value)]
        for number, step in enumerate(steps):
            if isinstance(step, Refuse) and (number or depth):
                self.complain(f"{path}[{number}].refuse", "only the first step can refuse the conversation")
        return [step for step in steps if step is not None]

    def _read_step(self, table: Any, path: str, depth: int) -> Step | None:
        if not isinstance(table, dict):
            self.complain(path, f"expected a table (object), got {describe_value(table)}")
            return None
        unknown = table.keys() - STEPS
        for name in sorted(unknown):
            found = nearest(name, STEPS)
            hint = f'did you mean "{found[0]}"?' if found else f"known here: {', '.join(STEPS)}"
            owner = next((step for step in table if step in STEPS and name in attrs.fields_dict(STEPS[step])), None)
            if owner is not None:
                hint = f"it belongs into the step, as in {owner} = {{ {name} = … }}"
            self.complain(join_path(path, name), f"is not known; {hint}")
        if not unknown and len(table) != 1:
            self.complain(path, f"a step has one name, this one has {len(table)}")
        if unknown or len(table) != 1:
            return None
        ((name, content),) = table.items()
        shape = STEPS[name]
        short = find_short_field(shape)
        if short is not None and shape is not Send and not isinstance(content, dict):
            content = {short.name: content}
        path = join_path(path, name)
        if shape is Branch:
            return self._read_branch(content, path, depth)
        return self._read_send(content, path) if shape is Send else self.read(content, shape, path)

    def _read_send(self, content: Any, path: str) -> Send | None:
        """Read a message; ``after_ms`` stands among its fields."""
        if not isinstance(content, dict):
            self.complain(path, f"expected a table (object), got {describe_value(content)}")
            return None
        step = self.read({"after_ms": content.get("after_ms", 0)}, Step, path)
        try:
            message = read_message(_leave_out(content, "after_ms"))
        except ValueError as error:
            self.complain(path, str(error))
            return None
        return None if step is None else Send(message, after_ms=step.after_ms)

    def _read_branch(self, content: Any, path: str, depth: int) -> Branch | None:
        """Read a branch: first its alternatives without their steps, then those."""
        among = content.get("among") if isinstance(content, dict) else None
        if not isinstance(among, list):
            return self.read(content, Branch, path)
        if depth == DEEPEST:
            self.complain(path, "is nested too deeply")
            return None
        bare = [_leave_out(table, "steps") for table in among]
        branch = self.read(content | {"among": bare}, Branch, path)
        alternatives = branch.among if branch is not None else [Alternative()] * len(among)
        complete = [
            attrs.evolve(alternative, steps=self.read_steps(table["steps"], f"{path}.among[{number}].steps", depth + 1))
            if isinstance(table, dict) and "steps" in table
            else alternative
            for number, (table, alternative) in enumerate(zip(among, alternatives, strict=True))
        ]
        return branch and attrs.evolve(branch, among=complete)


def _leave_out(table: Any, name: str) -> Any:
    return {key: value for key, value in table.items() if key != name} if isinstance(table, dict) else table
