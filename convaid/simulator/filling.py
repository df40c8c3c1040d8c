"""Filling in what a scenario leaves open: dynamic variables, the last result, what a pattern has matched. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import orjson
from attrs import frozen

from convaid.protocol.bodies import is_deeper
from convaid.simulator.scenario import Call
from convaid.simulator.starting import Terms
from convaid.simulator.workspace.checks import DEEPEST
from convaid.wording import describe_value

if TYPE_CHECKING:
    from regex import Match

__all__ = ["Filler", "read_parameters"]

NUMBER = r"\d{1,18}"  # what fits into 64 bits


@frozen
class Filler:
    """Knows what is to be filled in at one place: in a rule or an alternative also what its ``when`` has matched."""

    terms: Terms
    found: Match[str] | None = None

    def fill_text(self, text: str) -> str:
        """Put in groups, such as ``$1``, and dynamic variables, such as ``{{name}}``."""
        if self.found is not None:
            text = re.sub(r"\$(\d)", lambda place: self._pick_group(place[1]), text)
        return self.terms.fill_in(text)

    def fill_call(self, call: Call) -> Call:
        """Fill in a call; ValueError where what the user has typed is to be a JSON object and is none."""
        parameters = fill_texts(call.parameters, self._fill_parameter)
        if call.parameters_json:
            parameters = read_parameters(self.fill_text(call.parameters_json))
        return attrs.evolve(call, tool=self.fill_text(call.tool), parameters=parameters)

    def _fill_parameter(self, text: str) -> str | int:
        if self.found is None or not re.fullmatch(r"#\d", text):
            return self.fill_text(text)
        group = self._pick_group(text[1])
        return int(group) if re.fullmatch(NUMBER, group) else group

    def _pick_group(self, number: str) -> str:
        """What a group has matched; nothing where there is no such group."""
        assert self.found is not None
        return (self.found[int(number)] or "") if int(number) <= self.found.re.groups else ""


def read_parameters(text: str) -> dict[str, Any]:
    """Read what a tool is called with. ValueError says in a few words why it is no JSON object."""
    parameters = orjson.loads(text)
    if not isinstance(parameters, dict):
        raise ValueError(f"it is {describe_value(parameters)}")
    if is_deeper(parameters, DEEPEST):
        raise ValueError("it is nested too deeply")
    return parameters


def fill_texts(value: Any, fill_in: Callable[[str], str | int]) -> Any:
    """Fill in every text of a call's parameters, however deep."""
    match value:
        case dict():
            return {name: fill_texts(item, fill_in) for name, item in value.items()}
        case list():
            return [fill_texts(item, fill_in) for item in value]
        case str():
            return fill_in(value)
    return value
