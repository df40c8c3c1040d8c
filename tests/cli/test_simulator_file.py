"""The simulator's file, as the command line uses it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import httpx
import pytest

from convaid.cli.setting import BUILT_IN, open_platform
from convaid.config import load_configuration, parse_configuration

from .running import LIMIT, run_convaid, start_convaid

TOOLS = "/v1/convai/tools"
TOOL = {"tool_config": {"type": "client", "name": "moo", "description": "Moo"}}
MAIN = '[conversations.main]\nagent_id = "agent_demo"\n'


async def make_tool(base_url: str) -> list[str]:
    """Make a tool; the names of all that there are then."""
    async with httpx.AsyncClient(base_url=base_url) as http:
        assert (await http.post(TOOLS, json=TOOL)).status_code == 200
        return [tool["tool_config"]["name"] for tool in (await http.get(TOOLS)).json()["tools"]]


def test_simulate_keeps_tools_in_the_file_that_it_is_given(tmp_path: Path) -> None:
    command = ("simulate", "--port", "0", "--file", "mine.json")
    process = start_convaid(*command, folder=tmp_path)
    try:
        assert process.stdout is not None
        (url,) = re.findall(r"http://\S+", process.stdout.readline())
        assert httpx.post(f"{url}{TOOLS}", json=TOOL, timeout=LIMIT).status_code == 200
        process.terminate()
        process.communicate(timeout=LIMIT)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate(timeout=LIMIT)
    assert '"moo"' in (tmp_path / "mine.json").read_text()

    (tmp_path / "mine.json").write_text("{}")
    refused = run_convaid(*command, folder=tmp_path)
    assert refused.returncode == 78
    assert "mine.json: is not a file of the simulator's" in refused.stderr
    assert (tmp_path / "mine.json").read_text() == "{}"

    os.mkfifo(tmp_path / "pipe.json")
    refused = run_convaid("simulate", "--port", "0", "--file", "pipe.json", folder=tmp_path)
    assert (refused.returncode, "pipe.json: cannot be read: it is no regular file" in refused.stderr) == (78, True)


@pytest.mark.parametrize("line", ['simulator_file = "kept.json"\n', ""])
async def test_the_bundled_one_keeps_them_where_the_configuration_says(tmp_path: Path, line: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[platform]\n{line}{MAIN}")
    configuration = load_configuration(file)
    for count in (1, 2):
        async with open_platform(configuration) as pointed:
            assert await make_tool(pointed.platform.rest_url) == ["moo"] * (count if line else 1)
    assert set(os.listdir(tmp_path)) == {"config.toml"} | ({"kept.json"} if line else set())


async def test_without_a_configuration_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_platform(parse_configuration(BUILT_IN, "the built-in configuration")) as pointed:
        await make_tool(pointed.platform.rest_url)
    assert os.listdir(tmp_path) == []


def test_the_file_stays_where_it_is_when_another_platform_is_named() -> None:
    text = f'[platform]\nbase_url = "eu"\nsimulator_file = "kept.json"\n{MAIN}'
    assert not parse_configuration(text, "config.toml").platform.is_simulator
