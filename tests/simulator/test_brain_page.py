"""docs/brain.md cannot lie: its scenarios can be read, and its table has every setting with its default."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from convaid.simulator import parse_scenario
from convaid.simulator.brain.history import LONGEST
from convaid.simulator.brain.settings import Brain

PAGE = (Path(__file__).parents[2] / "docs" / "brain.md").read_text()


def test_its_scenarios_can_be_read() -> None:
    short, long = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert parse_scenario(short, "brain.toml").brain == Brain()
    assert parse_scenario(long, "other.toml").brain == Brain(
        base_url="http://127.0.0.1:8080/v1",
        model="qwen3-8b",
        api_key_env="LLAMA_API_KEY",
        temperature=0.2,
        time_limit=60,
    )


def test_its_table_has_every_setting() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:`(.*?)`)? ?\|", PAGE, re.MULTILINE)
    defaults = {each.name: each.default for each in attrs.fields(Brain)}
    written = {
        name: "" if default in (None, "") else f"{default:g}" if isinstance(default, float) else str(default)
        for name, default in defaults.items()
    }
    assert dict(rows) == written
    assert f"at most {LONGEST} messages" in PAGE
