"""The simulator's page says what is so: its switches and their defaults, and its examples."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import attrs
import pytest

from convaid.simulator import parse_scenario
from convaid.simulator.agent import Guesses

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_every_guess_stands_in_the_table_with_its_default() -> None:
    table = PAGE.partition("## What is guessed")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", table, re.MULTILINE))
    defaults = {
        name: None if value == "none" else tomllib.loads(f"x = {value.strip('`')}")["x"] for name, value in rows.items()
    }
    assert defaults == attrs.asdict(Guesses())


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_scenarios(example: str) -> None:
    parse_scenario(example, "page.toml")


def test_the_refusals_and_errors_in_its_table_can_be_written() -> None:
    steps = re.findall(r"`((?:refuse|error|close) = [^`]+)`", PAGE)
    assert len(steps) >= 4
    for step in steps:
        parse_scenario(f"[[steps]]\n{step}\n", "page.toml")
