"""What stands in a scenario to be filled in, and what never would be: misspelt, or out of its place. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import frozen

from convaid.errors import Problem
from convaid.simulator.filling import read_parameters
from convaid.simulator.scenario import STEPS, Branch, Call, ExpectText, Say, Scenario, Step
from convaid.simulator.starting import PLACEHOLDER, find_placeholders
from convaid.wording import join_path, nearest

__all__ = ["find_broken_json", "find_stray_placeholders", "list_variables"]

NAMES = {cls: name for name, cls in STEPS.items()}
RESULT = "result"
BRACED = re.compile(r"(?<!\{)\{(\w+)\}(?!\})")
GROUP = re.compile(r"\$\d")
NUMBER = re.compile(r"#\d")


@frozen
class _Text:
    """A text of a scenario, and how many groups the pattern has that the user's words before it were held against."""

    path: str
    text: str
    groups: int
    has_groups: bool = True  # groups are filled in here
    is_said: bool = False  # else it is a part of a call
    is_json: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether nothing in it is to be filled in."""
        return not PLACEHOLDER.search(self.text) and not (self.has_groups and GROUP.search(self.text))


def find_stray_placeholders(scenario: Scenario) -> Iterator[Problem]:
    """Find what looks as if it were to be filled in, where it is certain that it never is."""
    variables = scenario.agent.dynamic_variables
    for text in _list_texts(scenario):
        for name in BRACED.findall(text.text):
            if not text.is_said and name == RESULT:
                yield Problem(text.path, f'"{{{name}}}" is filled in where the agent says something, and nowhere else')
            elif text.is_said and name != RESULT:
                yield Problem(text.path, f'"{{{name}}}" is never filled in; {_suggest(name, variables)}')
        places = GROUP.findall(text.text)
        if not text.is_said and NUMBER.fullmatch(text.text):
            places.append(text.text)
        for place in places:
            number = int(place[1:])
            if text.has_groups and number > text.groups:
                count = "1 group" if text.groups == 1 else f"{text.groups or 'no'} groups"
                yield Problem(text.path, f'"{place}" is never filled in: "when" has {count}, or parts in parentheses')
            elif not text.has_groups and 0 < number <= text.groups:
                words = 'is filled in in a rule, or in the steps of a branch, by what its "when" has matched'
                yield Problem(text.path, f'"{place}" {words}; use a branch instead of expect_text')


def find_broken_json(scenario: Scenario) -> Iterator[Problem]:
    """Find calls' parameters that are no JSON object, where nothing is filled in that could make them one."""
    for text in _list_texts(scenario):
        if text.is_json and text.is_complete:
            try:
                read_parameters(text.text)
            except ValueError as error:
                yield Problem(text.path, f"is not a JSON object: {error}")


def list_variables(scenario: Scenario) -> list[str]:
    """Return the names of the dynamic variables that stand in what the agent says, and in its calls."""
    return sorted({name for text in _list_texts(scenario) for name in find_placeholders(text.text)})


def _suggest(name: str, variables: Iterable[str]) -> str:
    if name in variables:
        return f'did you mean "{{{{{name}}}}}"?'
    if nearest(name, [RESULT]):
        return f'did you mean "{{{RESULT}}}"?'
    return f'"{{{RESULT}}}" is, and the name of a dynamic variable in two pairs of braces'


def _list_texts(scenario: Scenario) -> Iterator[_Text]:
    yield from _list_in_steps(scenario.steps, "steps")
    for number, rule in enumerate(scenario.rules):
        groups = re.compile(rule.when).groups
        yield _Text(f"rules[{number}].say", rule.say, groups, is_said=True)
        if rule.call is not None:
            yield from _list_in_call(rule.call, f"rules[{number}].call", groups)


def _list_in_steps(steps: Iterable[Step], path: str, groups: int = 0, *, has_groups: bool = False) -> Iterator[_Text]:
    for number, step in enumerate(steps):
        place = f"{path}[{number}].{NAMES[type(step)]}"
        match step:
            case Say(text=text):
                yield _Text(f"{place}.text", text, groups, has_groups, is_said=True)
            case Call():
                yield from _list_in_call(step, place, groups, has_groups=has_groups)
            case ExpectText(matches=pattern) if not has_groups:
                groups = re.compile(pattern).groups
            case Branch(among=among):
                for alternative_number, alternative in enumerate(among):
                    found = re.compile(alternative.when).groups
                    inner = f"{place}.among[{alternative_number}].steps"
                    yield from _list_in_steps(alternative.steps, inner, found, has_groups=True)


def _list_in_call(call: Call, path: str, groups: int, *, has_groups: bool = True) -> Iterator[_Text]:
    for inner_path, text in _list_in_value({"tool": call.tool, "parameters": call.parameters}, path):
        yield _Text(inner_path, text, groups, has_groups)
    if call.parameters_json:
        yield _Text(f"{path}.parameters_json", call.parameters_json, groups, has_groups, is_json=True)


def _list_in_value(value: Any, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield path, value
        case dict():
            for name, inner in value.items():
                yield from _list_in_value(inner, join_path(path, name))
        case list():
            for number, inner in enumerate(value):
                yield from _list_in_value(inner, join_path(path, number))
