"""The official Python SDK, unmodified, holds a conversation and tells on standard output, in JSON, what it saw.

A program of its own: the SDK brings threads, asyncio and warnings that are not ours. Arguments: "sync" or "async", the
simulator's base URL, and the API key for a private agent.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from importlib import import_module
from typing import Any

SILENCE = bytes(8000)  # a quarter of a second, as the SDK's own audio interface sends
conversation_module: Any = import_module("elevenlabs.conversational_ai.conversation")
ElevenLabs: Any = import_module("elevenlabs.client").ElevenLabs

seen: dict[str, Any] = {"agent": [], "user": [], "calls": [], "audio_bytes": 0, "latencies": 0}


def add(parameters: dict[str, Any]) -> str:
    seen["calls"].append({name: value for name, value in parameters.items() if name != "tool_call_id"})
    return str(parameters["a"] + parameters["b"])


async def add_async(parameters: dict[str, Any]) -> str:
    return add(parameters)


class Microphone(conversation_module.AudioInterface):  # type: ignore[misc]  # untyped here
    """Sends one chunk of silence at once, before the platform has answered."""

    def start(self, input_callback: Any) -> None:
        input_callback(SILENCE)

    def stop(self) -> None:
        pass

    def output(self, audio: bytes) -> None:
        seen["audio_bytes"] += len(audio)

    def interrupt(self) -> None:
        pass


class AsyncMicrophone(conversation_module.AsyncAudioInterface):  # type: ignore[misc]  # untyped here
    """The same for the asynchronous conversation."""

    async def start(self, input_callback: Any) -> None:
        await input_callback(SILENCE)

    async def stop(self) -> None:
        pass

    async def output(self, audio: bytes) -> None:
        seen["audio_bytes"] += len(audio)

    async def interrupt(self) -> None:
        pass


def start(base_url: str, api_key: str | None) -> tuple[Any, dict[str, Any]]:
    """What both kinds of conversation are made of."""
    platform = ElevenLabs(base_url=base_url, api_key=api_key or "none")
    settings = conversation_module.ConversationInitiationData(dynamic_variables={"name": "Ada"})
    return platform, {"requires_auth": api_key is not None, "config": settings}


def converse(base_url: str, api_key: str | None) -> str | None:
    tools = conversation_module.ClientTools()
    tools.register("add", add)
    platform, options = start(base_url, api_key)
    is_settled = threading.Event()  # greeted or refused

    def note_response(text: str) -> None:
        seen["agent"].append(text)
        is_settled.set()

    def note_end(details: Any) -> None:
        seen["ended"] = [details.reason, details.close_code, details.close_reason]
        is_settled.set()

    conversation = conversation_module.Conversation(
        platform,
        "agent_demo",
        audio_interface=Microphone(),
        client_tools=tools,
        callback_agent_response=note_response,
        callback_user_transcript=seen["user"].append,
        callback_latency_measurement=lambda _: seen.update(latencies=seen["latencies"] + 1),
        callback_disconnect=note_end,
        **options,
    )
    conversation.start_session()
    is_settled.wait(10)
    if "ended" not in seen:
        conversation.send_user_message("What is two and three?")
    return str(conversation.wait_for_session_end())


async def converse_async(base_url: str, api_key: str | None) -> str | None:
    tools = conversation_module.ClientTools()
    tools.register("add", add_async, is_async=True)
    platform, options = start(base_url, api_key)
    greeted = asyncio.Event()

    async def note_response(text: str) -> None:
        seen["agent"].append(text)
        greeted.set()

    async def note_transcript(text: str) -> None:
        seen["user"].append(text)

    async def note_end(details: Any) -> None:
        seen["ended"] = [details.reason, details.close_code, details.close_reason]

    conversation = conversation_module.AsyncConversation(
        platform,
        "agent_demo",
        audio_interface=AsyncMicrophone(),
        client_tools=tools,
        callback_agent_response=note_response,
        callback_user_transcript=note_transcript,
        callback_disconnect=note_end,
        **options,
    )
    await conversation.start_session()
    await asyncio.wait_for(greeted.wait(), 10)
    await conversation.send_user_message("What is two and three?")
    return str(await conversation.wait_for_session_end())


def main() -> None:
    kind, base_url, api_key = [*sys.argv[1:], None][:3]
    assert base_url is not None
    if kind == "async":
        seen["conversation_id"] = asyncio.run(converse_async(base_url, api_key))
    else:
        seen["conversation_id"] = converse(base_url, api_key)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
