"""The strangers that hold conversations: programs that take plans, and tell what they saw."""

from __future__ import annotations

import json
import shutil
import sys
import wave
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import trio
from attrs import evolve, frozen

from convaid.simulator import Agent, Simulator

from .behaviours import QUIET, SOUND, Behaviour
from .programs import HERE, LANGWATCH, find_javascript_client, find_python_sdk, require

__all__ = ["API_KEY", "CLIENTS", "Client", "make_plan", "make_recording", "read_seen", "run_plans"]

API_KEY = "sk_test_of_strangers"
RUN_LIMIT = (
    150.0  # seconds for all plans of one stranger, with its start; the adapter imports for 20 s of processor time
)


@frozen
class Client:
    """One column of the table."""

    name: str
    find: Callable[[], Sequence[str]]
    rate: int = 16_000  # Hz of the audio that it speaks, whatever the agent does

    def adapt_agent(self, agent: Agent) -> Agent:
        """An agent that speaks the stranger's format, where the behaviour is not about formats."""
        if agent.user_input_audio_format != Agent().user_input_audio_format:
            return agent
        return evolve(agent, user_input_audio_format=f"pcm_{self.rate}", agent_output_audio_format=f"pcm_{self.rate}")


def find_python(kind: str) -> Sequence[str]:
    return [sys.executable, find_python_sdk("python_sdk.py"), kind]


def find_node() -> Sequence[str]:
    return ["node", find_javascript_client("node.mjs")]


def find_chromium() -> Sequence[str]:
    browser = shutil.which("chromium")
    require(browser is not None, "Chromium", "apt-get install chromium")
    return ["node", find_javascript_client("browser.mjs"), str(browser)]


def find_langwatch() -> Sequence[str]:
    require(LANGWATCH.exists(), "langwatch-scenario", "make strangers")
    return [str(LANGWATCH), str(HERE / "langwatch_adapter.py")]


CLIENTS = [
    Client("Python SDK", partial(find_python, "sync")),
    Client("Python SDK, async", partial(find_python, "async")),
    Client("JavaScript, Node.js", find_node),
    Client("JavaScript, Chromium", find_chromium),
    Client("langwatch-scenario", find_langwatch, rate=24_000),
]


async def make_plan(behaviour: Behaviour, simulator: Simulator) -> dict[str, Any]:
    """What a stranger is to do."""
    return {
        "url": simulator.base_url,
        "api_key": "wrong" if behaviour.has_wrong_key else API_KEY,
        "signed_url": await fetch_signed_url(simulator) if behaviour.is_signed else None,
        "mint": behaviour.has_wrong_key,
        "voice": behaviour.voice,
        "webrtc": behaviour.webrtc,
        "override": behaviour.override,
        "do": behaviour.do,
    }


async def fetch_signed_url(simulator: Simulator) -> str:
    """What the server behind a page would ask for; strangers that ask themselves have no use for it."""
    async with httpx.AsyncClient(headers={"xi-api-key": API_KEY}) as http:
        url = f"{simulator.base_url}/v1/convai/conversation/get-signed-url"
        answer = await http.get(url, params={"agent_id": "agent_demo"})
    return str(answer.json()["signed_url"])


def make_recording(path: Path, rate: int) -> None:
    """Write what the microphone hears: something that is taken for speech, and a pause."""
    import numpy as np

    time = np.arange(round(SOUND * rate)) / rate
    pitch = 2 * np.pi * (140 * time - 8 * np.cos(2 * np.pi * 1.5 * time))  # that of a voice, going up and down
    voice = sum(np.sin(number * pitch) / number for number in range(1, 20))
    syllables = np.sin(np.pi * 5 * time) ** 2
    sound = 9000 * voice * syllables
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(np.clip(sound, -32768, 32767).astype("<i2").tobytes() + bytes(2 * round(QUIET * rate)))


async def run_plans(command: Sequence[str], speech: Path, plans: Mapping[str, Any]) -> CompletedProcess[bytes] | None:
    """Have a stranger carry out plans. None if it takes too long."""
    asked = json.dumps({"speech": str(speech), "plans": plans}).encode()
    with trio.move_on_after(RUN_LIMIT):
        return await trio.run_process(command, stdin=asked, capture_stdout=True, capture_stderr=True, check=False)
    return None


def read_seen(done: CompletedProcess[bytes] | None) -> dict[str, Any]:
    """What a stranger saw of each plan, by its name."""
    assert done is not None, f"not done after {RUN_LIMIT:g} s"
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(seen, dict)
    return seen
