"""Tools of the configuration, tested with convaid's kit: as somebody would who has written some."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from convaid.testing import Agent, CallTool, Clock

SCENARIO = Path(__file__).parent / "scenarios" / "words.toml"
LIMIT = 40.0  # seconds for a command to end
CONFIG = """
[plugins.command.tools.count_words]
description = "Count the words of a text."
program = "wc"
arguments = ["-w"]
stdin = "{text}"
parameters.text = { type = "string", description = "the text" }

[plugins.command.tools.list_folder]
description = "List what is in a folder."
program = "ls"
arguments = ["--", "{name}"]
parameters.name = { type = "string", description = "the folder" }

[plugins.command.tools.wait]
description = "Wait for a long time."
program = "sleep"
arguments = ["50"]
time_limit = 40.0
"""


@pytest.fixture
def convaid_config(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path / "config.toml"


def test_a_program_answers(call_tool: CallTool) -> None:
    assert call_tool("count_words", {"text": "to be or not"}).result == "4"
    assert call_tool("count_words", {"text": 4}).outcome == "invalid"
    assert call_tool("list_folder", {"name": "/no such folder"}).outcome == "error"


def test_at_its_time_limit_it_is_ended(call_tool: CallTool, clock: Clock) -> None:
    answer = call_tool.start("wait")
    clock.move(39)
    assert not answer.has_come
    clock.move(1)
    assert answer.wait().outcome == "time-out"


def test_in_a_conversation(agent: Agent) -> None:
    agent.hear_user("How many words?")
    waiting = agent.call("wait")
    assert agent.call("count_words", {"text": "one two"}).wait().result == "2"
    agent.hang_up(1000)
    assert not waiting.has_come


def test_the_scenario(convaid_config: Path) -> None:
    command = [sys.executable, "-m", "convaid", "test", str(SCENARIO), "--config", str(convaid_config)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "count_words" in told.stdout
