"""langwatch-scenario's adapter, unmodified, carries out plans and tells on standard output, in JSON, what it saw.

Runs in an environment of its own, without anything of convaid's. The adapter's own setting ``base_url`` points it here:
it asks there for a signed URL, and that says where the conversation is held.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import sys
import wave
from contextvars import ContextVar
from importlib import import_module
from importlib.metadata import version
from typing import Any

LIMIT = 20  # seconds for one plan
OFFERED = {"await", "say", "speak", "end"}
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # what it imports would ask the network
os.environ["SCENARIO_DISABLE_TELEMETRY"] = "1"


current: ContextVar[dict[str, Any]] = ContextVar("current")


class Warnings(logging.Handler):
    """What the adapter warns of is told with the conversation in which it does."""

    def emit(self, record: logging.LogRecord) -> None:
        current.get()["errors"].append(record.getMessage())


async def carry_out(plan: dict[str, Any], recording: bytes, adapters: Any, chunks: Any) -> dict[str, Any]:
    lacks = [action for action, _ in plan["do"] if action not in OFFERED] + ["webrtc"] * plan["webrtc"]
    seen: dict[str, Any] = {"agent": [], "user": [], "errors": [], "lacks": lacks, "sound": 0}
    current.set(seen)
    if lacks:
        return seen
    adapter = adapters.ElevenLabsAgentAdapter(
        "agent_demo",
        plan["api_key"] or "none",
        base_url=plan["url"],
        first_message_override=plan["override"],
        dynamic_variables={"name": "Ada"},
        turn_commit_mode="audio" if plan["voice"] else "text",
    )
    try:
        async with asyncio.timeout(LIMIT):
            await adapter.connect()
            seen["connected"] = True
            for action, value in plan["do"]:
                match action:
                    case "await":  # so many responses of the agent's
                        await listen(adapter, seen, value)
                    case "say":
                        await adapter.send_audio(chunks.AudioChunk(b"", transcript=value))
                    case "speak":
                        await adapter.send_audio(chunks.AudioChunk(recording))
                    case "end":
                        await adapter.disconnect()
            if adapter.is_connected():
                await listen(adapter, seen)
            seen["ended"] = ["agent" if adapter.agent_hung_up else "an empty turn", None, None]
    except TimeoutError:
        seen["ended"] = ["still there", None, None]
    except Exception as error:
        seen["ended"] = ["failed", None, str(error)]
    finally:
        await adapter.disconnect()
    return seen


async def listen(adapter: Any, seen: dict[str, Any], responses: float = math.inf) -> None:
    """Read what comes until the agent has said so many things, or the adapter takes its turn to be over."""
    while len(seen["agent"]) < responses:
        chunk = await adapter.recv_audio(LIMIT)
        seen["sound"] += len(chunk.data)
        for told, text in (("agent", adapter.last_agent_transcript), ("user", adapter.last_user_transcript)):
            if text and text not in seen[told][-1:]:
                seen[told].append(text)
        if not chunk.data:
            return


async def main() -> None:
    asked = json.load(sys.stdin)
    with wave.open(asked["speech"]) as file:
        recording = file.readframes(file.getnframes())
    adapters = import_module("scenario.voice.adapters.elevenlabs")
    chunks = import_module("scenario.voice.audio_chunk")
    logging.getLogger("scenario.voice.elevenlabs").addHandler(Warnings(logging.WARNING))
    plans = asked["plans"]
    results = await asyncio.gather(*(carry_out(plan, recording, adapters, chunks) for plan in plans.values()))
    seen = dict(zip(plans, results, strict=True))
    print(json.dumps(dict(seen, version=version("langwatch-scenario"))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
