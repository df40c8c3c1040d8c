"""What is wrong with the plugin's table is said with its place; nothing heavy is imported to find out."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from convaid_wakeword.settings import WakewordSettings, find_models

from convaid.config import parse_configuration
from convaid.plugins import Plugins, load_plugins

PLUGIN = Path(__file__).parents[1]


def load_wakeword(table: dict[str, Any]) -> Plugins:
    return load_plugins({"wakeword": table}, entry_points=entry_points(group="convaid", name="wakeword"))


def find_problems(**table: Any) -> list[str]:
    plugins = load_wakeword(table)
    assert [plugin.status for plugin in plugins] == ["broken" if plugins.problems else "ready"]
    return [str(problem).removeprefix("plugins.wakeword.") for problem in plugins.problems]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (
            {"words": {"hey_jarvs": {}}},
            'words.hey_jarvs: is not built in; did you mean "hey_jarvis"? (built in: alexa, hey_jarvis,'
            " hey_mycroft, hey_rhasspy, okay_nabu; others need a file, model = …)",
        ),
        ({"words": {"computer": {}}}, "words.computer: is not built in (built in: alexa, "),
        ({"words": {"melspectrogram": {}}}, "words.melspectrogram: is not built in"),
        ({"words": {"mine": {"model": "mine.tflite"}}}, "words.mine.model: mine.tflite is no whole path"),
        (
            {"words": {"mine": {"model": "/no/mine.tflite"}}},
            "words.mine.model: /no/mine.tflite cannot be read: No such",
        ),
        ({"words": {"mine": {"model": __file__}}}, f"words.mine.model: {__file__} is no model of TensorFlow Lite"),
        ({"words": {"alexa": {"sensitivity": 1.0}}}, "words.alexa.sensitivity: must be 0.01 to 0.99, got the number 1"),
        (
            {"words": {"alexa": {"sensitivty": 0.7}}},
            'words.alexa.sensitivty: is not known; did you mean "sensitivity"?',
        ),
        ({"refractory": 0}, "refractory: must be 0.1 to 60"),
        ({"conversation": "kitchen"}, 'conversation: is not known; did you mean "conversations"?'),
    ],
)
def test_a_problem_is_said_with_its_place(table: dict[str, Any], problem: str) -> None:
    (found,) = find_problems(**table)
    assert problem in found


def test_words_are_built_in_or_files_and_belong_to_conversations() -> None:
    model = find_models()["alexa"]
    (plugin,) = load_wakeword(
        {
            "conversations": ["kitchen"],
            "words": {"Hey Jarvis": {"sensitivity": 0.7}, "mine": {"model": str(model), "conversations": ["hall"]}},
        }
    )
    assert plugin.settings.assign(("kitchen", "hall", "attic")) == {
        "kitchen": {"Hey Jarvis": (find_models()["hey_jarvis"], 0.7)},
        "hall": {"mine": (model, 0.5)},
    }


def test_without_conversations_it_is_all_and_without_words_none() -> None:
    (plugin,) = load_wakeword({"words": {"alexa": {}}})
    assert [*plugin.settings.assign(("kitchen", "hall"))] == ["kitchen", "hall"]
    assert WakewordSettings().assign(("kitchen", "hall")) == {}


def test_no_model_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, convaid_wakeword.settings as settings; settings.find_models()\n"
        "print({'numpy', 'pyopen_wakeword'} & {*sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert ran.stdout.strip() == "set()", ran.stdout


def test_the_readme_is_a_configuration() -> None:
    readme = (PLUGIN / "README.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    assert parse_configuration(block, "README.md").conversations["kitchen"].start == "on_demand"
    (plugin,) = load_wakeword(tomllib.loads(block)["plugins"]["wakeword"])
    assert (plugin.status, [*plugin.settings.words]) == ("ready", ["hey_jarvis"])
    for name in find_models():
        assert f"`{name}`" in readme
