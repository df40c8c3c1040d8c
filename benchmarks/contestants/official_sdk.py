"""The official Python SDK as its documentation has it used: conversations with client tools, until SIGTERM.

Arguments: sync, async or loop; the platform's base URL; the agent id; how many conversations; none, sink or card.
"async" is `AsyncConversation` as it comes; "loop" gives tools the conversation's own loop (``ClientTools(loop=…)``).
"sink" takes agent speech and forgets it, and is silent in chunks of the SDK's size; "card" is the SDK's own audio
interface over the `pyaudio` of this folder.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections import deque
from typing import Any

from elevenlabs.client import ElevenLabs
from elevenlabs.conversational_ai.conversation import (
    AsyncAudioInterface,
    AsyncConversation,
    AudioInterface,
    ClientTools,
    Conversation,
)

CHUNK = bytes(8000)  # 250 ms, what the SDK's own audio interface sends
CHUNK_SECONDS = 0.25


def do_nothing(parameters: dict[str, Any]) -> str:
    return "ok"


async def do_nothing_async(parameters: dict[str, Any]) -> str:
    return "ok"


def wait(parameters: dict[str, Any]) -> str:
    time.sleep(parameters["seconds"])
    return "ok"


async def wait_async(parameters: dict[str, Any]) -> str:
    await asyncio.sleep(parameters["seconds"])
    return "ok"


async def block(parameters: dict[str, Any]) -> str:
    time.sleep(parameters["seconds"])  # noqa: ASYNC251  # that is the point
    return "ok"


def compute(parameters: dict[str, Any]) -> str:
    end = time.monotonic() + parameters["seconds"]
    while time.monotonic() < end:
        sum(range(1000))
    return "ok"


def make_tools(loop: asyncio.AbstractEventLoop | None) -> ClientTools:
    tools = ClientTools(loop=loop)
    tools.register("do_nothing", do_nothing)
    tools.register("do_nothing_async", do_nothing_async, is_async=True)
    tools.register("wait", wait)
    tools.register("wait_async", wait_async, is_async=True)
    tools.register("block", block, is_async=True)
    tools.register("compute", compute)
    return tools


class Sink(AudioInterface):
    """Takes speech as fast as it comes, keeps the last second of it, and is a silent microphone."""

    def start(self, input_callback: Any) -> None:
        self.heard: deque[bytes] = deque(maxlen=4)
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.be_silent, args=(input_callback,), daemon=True)
        self.thread.start()

    def be_silent(self, input_callback: Any) -> None:
        while not self.is_over.wait(CHUNK_SECONDS):
            input_callback(CHUNK)

    def stop(self) -> None:
        self.is_over.set()

    def output(self, audio: bytes) -> None:
        self.heard.append(audio)

    def interrupt(self) -> None:
        self.heard.clear()


class AsyncSink(AsyncAudioInterface):
    """The same for the asynchronous conversation."""

    async def start(self, input_callback: Any) -> None:
        self.heard: deque[bytes] = deque(maxlen=4)
        self.task = asyncio.create_task(self.be_silent(input_callback))

    async def be_silent(self, input_callback: Any) -> None:
        while True:
            await asyncio.sleep(CHUNK_SECONDS)
            await input_callback(CHUNK)

    async def stop(self) -> None:
        self.task.cancel()

    async def output(self, audio: bytes) -> None:
        self.heard.append(audio)

    async def interrupt(self) -> None:
        self.heard.clear()


def open_audio(sound: str, is_async: bool) -> Any:
    if sound == "none":
        return None
    if sound == "sink":
        return AsyncSink() if is_async else Sink()
    from elevenlabs.conversational_ai.default_audio_interface import AsyncDefaultAudioInterface, DefaultAudioInterface

    return AsyncDefaultAudioInterface() if is_async else DefaultAudioInterface()


def converse(platform: ElevenLabs, agent_id: str, count: int, sound: str) -> None:
    conversations = [
        Conversation(
            platform,
            agent_id,
            requires_auth=False,
            audio_interface=open_audio(sound, False),
            client_tools=make_tools(None),
        )
        for _ in range(count)
    ]

    def stop(*_: object) -> None:
        for conversation in conversations:
            conversation.end_session()

    signal.signal(signal.SIGTERM, stop)
    for conversation in conversations:
        conversation.start_session()
    for conversation in conversations:
        conversation.wait_for_session_end()


async def converse_async(platform: ElevenLabs, agent_id: str, count: int, sound: str, *, own_loop: bool) -> None:
    loop = asyncio.get_running_loop()
    conversations = [
        AsyncConversation(
            platform,
            agent_id,
            requires_auth=False,
            audio_interface=open_audio(sound, True),
            client_tools=make_tools(loop if own_loop else None),
        )
        for _ in range(count)
    ]
    endings = set()

    def stop() -> None:
        for conversation in conversations:
            endings.add(asyncio.create_task(conversation.end_session()))

    loop.add_signal_handler(signal.SIGTERM, stop)
    for conversation in conversations:
        await conversation.start_session()
    for conversation in conversations:
        await conversation.wait_for_session_end()


def main() -> None:
    kind, base_url, agent_id, count, sound = sys.argv[1:]
    platform = ElevenLabs(base_url=base_url, api_key="none")
    if kind == "sync":
        converse(platform, agent_id, int(count), sound)
    else:
        asyncio.run(converse_async(platform, agent_id, int(count), sound, own_loop=kind == "loop"))


if __name__ == "__main__":
    main()
