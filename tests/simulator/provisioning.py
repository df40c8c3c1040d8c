"""What the tests of the simulator's workspace share: httpx on a simulator, every answer held against the document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from convaid.simulator import Scenario, Simulator, SimulatorSettings, load_scenario, open_simulator

from .contract import check_answer

TOOLS, AGENTS, CONVERSATIONS = "/v1/convai/tools", "/v1/convai/agents", "/v1/convai/conversations"
VOLUME: dict[str, Any] = {"type": "client", "name": "set_volume", "description": "Set the volume"}


@asynccontextmanager
async def open_provisioning(
    *scenarios: Scenario, api_key: str | None = None, file: Path | None = None
) -> AsyncIterator[tuple[Simulator, httpx.AsyncClient]]:
    settings = SimulatorSettings(scenarios or [load_scenario("default")], api_key, file)
    async with (
        open_simulator(settings) as simulator,
        httpx.AsyncClient(
            base_url=simulator.base_url,
            headers={"xi-api-key": api_key or "any"},
            event_hooks={"response": [check_answer]},
        ) as http,
    ):
        yield simulator, http


async def make_tool(http: httpx.AsyncClient, **settings: Any) -> str:
    """Make a tool; its id."""
    answer = await http.post(TOOLS, json={"tool_config": VOLUME | settings})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def make_agent(http: httpx.AsyncClient, **settings: Any) -> str:
    """Make an agent; its id."""
    answer = await http.post(f"{AGENTS}/create", json={"conversation_config": {}} | settings)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["agent_id"])


def find_faults(answer: httpx.Response) -> dict[str, str]:
    """What a 422 says, by place."""
    assert answer.status_code == 422, answer.text
    return {".".join(map(str, fault["loc"])): fault["msg"] for fault in answer.json()["detail"]}
