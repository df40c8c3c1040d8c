"""The README cannot lie: its plugin is installed and called, its files are read, its commands exist."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import get_type_hints

import click
import pytest

from convaid import tool
from convaid.cli import convaid
from convaid.config import parse_configuration
from convaid.plugins.options import PlatformSettings
from convaid.shapes import describe_shape
from convaid.simulator.patterns import match_result

from .cli.running import run_convaid

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def find_block(language: str, telling: str) -> str:
    """The one code block of a language that contains a telling piece of text."""
    (block,) = [block for block in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if telling in block]
    assert isinstance(block, str)
    return block


def test_the_plugin_of_the_readme_installs_and_runs(tmp_path: Path) -> None:
    (tmp_path / "greeter.py").write_text(find_block("python", "def greet"))
    project = tomllib.loads(find_block("toml", "convaid-greeter"))["project"]
    # What pip would leave behind; running pip here would need the network for the build.
    package = tmp_path / f"convaid_greeter-{project['version']}.dist-info"
    package.mkdir()
    (package / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    entries = "".join(f"{name} = {value}\n" for name, value in project["entry-points"]["convaid"].items())
    (package / "entry_points.txt").write_text(f"[convaid]\n{entries}")
    (command,) = re.findall(r"`convaid (tools call greet --json) '(.*?)'`", README)
    result = run_convaid(*command[0].split(), command[1], folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert (result.returncode, result.stdout) == (0, "Hello, Ada\n"), result.stderr


def test_the_three_lines_to_a_real_agent_are_a_configuration() -> None:
    configuration = parse_configuration(find_block("toml", 'base_url = "global"'), "README.md")
    assert configuration.platform.rest_url == "https://api.elevenlabs.io"
    assert configuration.conversations["main"].auth == "signed_url"


def test_the_policies_of_the_readme_are_policies() -> None:
    text = '[conversations.main]\nagent_id = "agent_demo"\n' + find_block("toml", "[tools.open_door]")
    policies = parse_configuration(text, "README.md").tools.named
    assert policies["open_door"].find_permission({"door": "shed"}) == "allow"
    assert policies["open_door"].find_permission({"door": "front"}) == "ask"
    assert policies["find_flights"].deliver_late


def test_the_scenario_of_the_readme_can_be_run(tmp_path: Path) -> None:
    (tmp_path / "story.toml").write_text(find_block("toml", "steps.branch.among"))
    result = run_convaid("test", "story.toml", "--json", folder=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    (report,) = json.loads(result.stdout)["scenarios"]
    said = [line for line in report["transcript"] if not line.startswith("tool")]
    assert said[:4] == [
        "agent: Which city?",
        "user: Atlantis!",
        "agent: I know Berlin and Paris.",
        "user: Berlin, please.",
    ]
    assert said[4].startswith("agent: In Berlin it is ")


def test_what_the_readme_expects_of_a_result_can_be_expected() -> None:
    (expectation,) = re.findall(r"`(expect_result = \{.*?)`", README)
    expected = tomllib.loads(expectation)["expect_result"]
    assert match_result(expected, '{"city": "Rome", "high": 31, "note": null, "more": 1}') is None
    assert match_result(expected, '{"city": "Rome", "high": "hot", "note": null}')


def test_the_steps_are_named_as_they_are() -> None:
    from convaid.simulator.scenario import STEPS

    (line,) = re.findall(r"^Steps: (.*?); failures", README, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(\w+)`", line)) == set(STEPS)


def test_every_command_is_in_the_table_and_the_other_way_round() -> None:
    told = set(re.findall(r"^\| `convaid ([\w-]+)", README, re.MULTILINE))
    assert told == set(convaid.list_commands(click.Context(convaid)))


def test_the_options_of_the_platform_are_those_of_the_table() -> None:
    @tool
    def go() -> None:
        """Go."""

    told = go.describe()
    rows = re.findall(r"^  \| `(\w+)` \| `(.*?)` \| (.*) \|$", README, re.MULTILINE)
    assert {name: ast.literal_eval(default) for name, default, _ in rows} == go.platform_settings
    shapes = get_type_hints(PlatformSettings)
    for name, default, others in rows:
        choices = re.findall(r'"\w+"', f"{default} {others if others.startswith('or') else ''}")
        assert all(choice in describe_shape(shapes[name]) for choice in choices), name
    assert f"{told['response_timeout_secs'] - 15} s more" in README


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench", "chaos"])
def test_make_has_the_targets_that_the_readme_names(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_named_files_exist() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
    table = README[README.index("| floor |") :]
    for name in re.findall(r"`([\w/]+(?:\.py|/))`", table):
        assert (ROOT / "convaid" / name).exists(), name


def test_python_is_what_the_readme_asks_for() -> None:
    assert sys.version_info >= (3, 11)
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"] == ">=3.11"
