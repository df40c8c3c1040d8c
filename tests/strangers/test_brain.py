"""A brain at a server of OpenAI's chat completions that somebody else has written, without a model: LLMock."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from convaid.protocol.to_agent import ClientToolResult, UserMessage
from convaid.simulator import Agent, Scenario, SimulatorSettings, open_simulator
from convaid.simulator.brain.settings import Brain

from ..simulator.peers import open_peer
from .programs import require

LAMP = {
    "type": "client",
    "name": "set_lamp",
    "description": "Switch the lamp in a room",
    "expects_response": True,
    "parameters": {
        "type": "object",
        "required": ["room", "level"],
        "properties": {
            "room": {"type": "string", "description": "Which", "enum": ["hall", "kitchen"]},
            "level": {"type": "integer", "description": "How bright"},
        },
    },
}
DING = {"type": "client", "name": "ding", "description": "Ring a bell", "expects_response": True}


@pytest.fixture
def llmock() -> str:
    """The module of the server."""
    require(importlib.util.find_spec("llmock") is not None, "LLMock", "pip install llmock")
    return "llmock.main:app"


@asynccontextmanager
async def open_llmock(application: str) -> AsyncIterator[str]:
    """The server as a process of its own; where its API is."""
    command = [sys.executable, "-m", "uvicorn", application, "--port", "0", "--no-access-log"]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(lambda task_status: _start(command, task_status))
        log = b""
        with trio.fail_after(30):
            while not (found := re.search(rb"running on (http://\S+)", log)):
                chunk = await process.stderr.receive_some()
                assert chunk, log.decode()
                log += chunk
        yield f"{found[1].decode()}/v1"
        nursery.cancel_scope.cancel()


async def _start(command: list[str], task_status: trio.TaskStatus[trio.Process]) -> None:
    await trio.run_process(command, stderr=subprocess.PIPE, check=False, task_status=task_status)


async def test_a_strangers_server_calls_a_tool_and_speaks_of_its_result(llmock: str) -> None:
    async with open_llmock(llmock) as base_url:
        scenario = Scenario(agent=Agent(text_only=True), brain=Brain(base_url=base_url))
        settings = SimulatorSettings([scenario], tools=[DING, LAMP])
        async with open_simulator(settings) as simulator, open_peer(simulator) as peer:
            await peer.send(UserMessage("Switch on the lamp in the kitchen"))
            with trio.fail_after(20):
                called = (await peer.receive_type("client_tool_call"))["client_tool_call"]
                assert called["tool_name"] == "set_lamp"
                assert called["parameters"]["room"] in ("hall", "kitchen")
                assert isinstance(called["parameters"]["level"], int)
                await peer.send(ClientToolResult(called["tool_call_id"], "the lamp is on", False))
                words, answer = await peer.receive_answer()
                assert len(words) > 3
                assert "".join(words) == answer
                await peer.receive_type("agent_response_complete")


async def test_a_strangers_error_is_told_with_the_remedy(llmock: str) -> None:
    async with open_llmock(llmock) as base_url:
        scenario = Scenario(agent=Agent(text_only=True), brain=Brain(base_url=f"{base_url}/oops", model="m"))
        async with open_simulator(SimulatorSettings([scenario])) as simulator, open_peer(simulator) as peer:
            await peer.send(UserMessage("Hello"))
            error = (await peer.receive_type("error"))["error_event"]
    assert error["error_type"] == "custom_llm_error"
    assert "answers 404" in error["message"]
    assert "brain.base_url" in error["message"]
