"""A server's tools, tested with convaid's kit: as somebody would who offers them to an agent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from convaid.testing import Agent, CallTool

from .serving import HERE, WAIT_LIMIT, PlainServer

SCENARIO = Path(__file__).parents[1] / "scenarios" / "echo.toml"
CONFIG = """
[plugins.mcp.servers.lamps]
command = ["{python}", "{program}", "{tools}"]
tools = ["*"]
start_limit = {limit}
"""


@pytest.fixture
def convaid_config(plain: PlainServer, tmp_path: Path) -> Path:
    plain.list("fail", "wait", echo={"type": "object", "properties": {"level": {"enum": [1, 2]}}})
    program = HERE / "plain_server.py"
    text = CONFIG.format(python=sys.executable, program=program, tools=plain.path, limit=WAIT_LIMIT)
    (tmp_path / "config.toml").write_text(text)
    return tmp_path / "config.toml"


def test_a_server_answers(call_tool: CallTool) -> None:
    assert call_tool("lamps_echo", {"level": "2"}).result == '{"level": 2}'
    assert call_tool("lamps_echo", {"level": "3"}).outcome == "invalid"
    failed = call_tool("lamps_fail")
    assert (failed.outcome, failed.result) == ("error", "no such lamp")


def test_in_a_conversation(agent: Agent, plain: PlainServer) -> None:
    agent.hear_user("Set the lamp to two.")
    waiting = agent.call("lamps_wait")
    assert agent.call("lamps_echo", {"level": "2"}).wait().result == '{"level": 2}'
    agent.hang_up(1000)
    assert not waiting.has_come


def test_the_scenario(convaid_config: Path) -> None:
    command = [sys.executable, "-m", "convaid", "test", str(SCENARIO), "--config", str(convaid_config)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=2 * WAIT_LIMIT, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "lamps_echo" in told.stdout
