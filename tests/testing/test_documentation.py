"""docs/testing.md cannot lie: its plugin is installed, its tests, its scenario and its recording are run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tests.cli.running import run_convaid

from .projects import run_pytest, write_files, write_plugin

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text()


def test_the_examples_of_the_page_pass(tmp_path: Path) -> None:
    blocks = dict(re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
    assert len(blocks) == len(re.findall(r"```(?:python|toml)\n", PAGE)), "every example names its file"
    ((name, recording),) = re.findall(r"`(recordings/\S+)`:\n\n```json\n(.*?)```", PAGE, re.DOTALL)
    blocks[name] = recording
    entries = '[project.entry-points.convaid]\nlamp = "lamp"\n'
    installed = {"convaid_greeter-1.0.dist-info/entry_points.txt": "[convaid]\nlamp = lamp\n"}
    write_plugin(tmp_path)
    write_files(
        tmp_path, {"pyproject.toml": entries, **installed, **blocks, "pytest.ini": "[pytest]\ntrio_mode = true\n"}
    )
    result = run_pytest(tmp_path)
    tests = sum(text.count("def test_") for text in blocks.values())
    assert f"{tests + 2} passed" in result.stdout, result.stdout + result.stderr


def test_the_commands_of_the_page_are_those_that_plugin_new_recommends(tmp_path: Path) -> None:
    first, *others = PAGE.partition("```\n")[2].partition("```")[0].splitlines()
    result = run_convaid(*first.split()[1:], folder=tmp_path)
    assert result.returncode == 0, result.stderr
    recommended = [line.strip() for line in result.stdout.splitlines()]
    assert set(others) <= set(recommended)


def test_the_types_of_the_page_are_those_of_the_package() -> None:
    import convaid.testing

    (names,) = re.findall(r"`from convaid\.testing import (.*?)`", PAGE)
    for name in names.split(", "):
        assert getattr(convaid.testing, name).__name__ == name
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"] == {
        "convaid": "convaid.testing.plugin"
    }
