"""What is wrong with the plugin's table is said with its place."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from convaid_pushtotalk.settings import Button

from convaid.config import parse_configuration
from convaid.plugins import Plugins, load_plugins

PLUGIN = Path(__file__).parents[1]


def load_pushtotalk(table: dict[str, Any]) -> Plugins:
    return load_plugins({"pushtotalk": table}, entry_points=entry_points(group="convaid", name="pushtotalk"))


@pytest.mark.parametrize(
    ("button", "problem"),
    [
        ({}, ': is a key or a line: set one of them, as in key = "F13" or line = 17'),
        ({"key": "F13", "line": 17}, ": is a key or a line"),
        ({"key": "plapause"}, '.key: "plapause" is the name of no key that is known here; did you mean "playpause"?'),
        ({"key": 0}, '.key: "0" is the name of no key that is known here; '),
        ({"key": 99999}, '.key: "99999" is the name of no key that is known here; give its number, which evtest shows'),
        ({"key": "F13", "device": "(("}, ".device: is not a regular expression"),
        ({"line": 17, "device": "keypad"}, ".device: goes with key; for a line it is chip"),
        ({"line": 17, "debounce": 2}, ".debounce: must be 0 to 1"),
        ({"key": "F13", "mode": "press"}, '.mode: expected one of "hold", "toggle", "mute", got the text "press"'),
        ({"key": "F13", "conversatoin": "x"}, '.conversatoin: is not known; did you mean "conversation"?'),
    ],
)
def test_a_problem_is_said_with_its_place(button: dict[str, Any], problem: str) -> None:
    plugins = load_pushtotalk({"buttons": [button]})
    assert [plugin.status for plugin in plugins] == ["broken"]
    (found,) = plugins.problems
    assert str(found).startswith(f"plugins.pushtotalk.buttons[0]{problem}")


@pytest.mark.parametrize(("key", "code"), [("F13", 183), ("f13", 183), ("space", 57), ("btn_side", 275), (30, 30)])
def test_a_key_is_a_name_or_a_number(key: str | int, code: int) -> None:
    assert Button(key=key).key_code == code


def test_without_buttons_it_is_ready() -> None:
    (plugin,) = load_pushtotalk({})
    assert (plugin.status, plugin.settings.buttons) == ("ready", [])


def test_the_readme_is_a_configuration() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (PLUGIN / "README.md").read_text(), re.DOTALL)
    assert parse_configuration(block, "README.md").conversations["kitchen"].start == "on_demand"
    (plugin,) = load_pushtotalk(tomllib.loads(block)["plugins"]["pushtotalk"])
    assert [(str(button), button.mode) for button in plugin.settings.buttons] == [
        ("key F13", "hold"),
        ("line 17", "mute"),
    ]
