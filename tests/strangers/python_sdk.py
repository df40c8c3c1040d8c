"""The official Python SDK, unmodified, carries out plans and tells on standard output, in JSON, what it saw.

A program of its own: the SDK brings threads, asyncio and warnings that are not ours. Argument: "sync" or "async", which
of its two kinds of conversation; the plans come on standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
import wave
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from typing import Any

LIMIT = 20  # seconds for one plan
CHUNK = 0.1  # seconds of the microphone's audio
OFFERED = {"await", "say", "speak", "update", "activity", "rate", "show", "end"}
conversations: Any = import_module("elevenlabs.conversational_ai.conversation")
ApiError: Any = import_module("elevenlabs.core.api_error").ApiError
ElevenLabs: Any = import_module("elevenlabs.client").ElevenLabs


class Seen(dict[str, Any]):
    """What one conversation has shown."""

    def __init__(self) -> None:
        lists: dict[str, Any] = {name: [] for name in ("agent", "user", "parts", "corrections", "calls")}
        super().__init__(lists, interruptions=0, latencies=0, sound=0, sound_after_interruption=0)

    def count(self, name: str, number: int = 1) -> None:
        self[name] += number

    def hear(self, audio: bytes) -> None:
        self.count("sound_after_interruption" if self["interruptions"] else "sound", len(audio))

    def end(self, details: Any) -> None:
        self.setdefault("ended", [details.reason, details.close_code, details.close_reason])

    def make_callbacks(self) -> dict[str, Any]:
        return {
            "callback_agent_response": self["agent"].append,
            "callback_agent_response_correction": lambda _, corrected: self["corrections"].append(corrected),
            "callback_agent_chat_response_part": lambda text, kind: self["parts"].append([kind.value, text]),
            "callback_user_transcript": self["user"].append,
            "callback_latency_measurement": lambda _: self.count("latencies"),
            "callback_disconnect": self.end,
        }

    def make_tools(self) -> dict[str, Any]:
        def add(parameters: dict[str, Any]) -> str:
            self["calls"].append(["add", parameters["a"], parameters["b"]])
            return str(parameters["a"] + parameters["b"])

        def get_stuck(_: dict[str, Any]) -> str:
            raise RuntimeError("the volume is stuck")

        return {"add": add, "get_stuck": get_stuck, "describe": lambda _: {"level": 7}, "count": lambda _: 0}


class Microphone(conversations.AudioInterface):  # type: ignore[misc]  # untyped here
    """Plays a recording over and over, as the SDK's own interface would send it: at once, and without a pause."""

    def __init__(self, seen: Seen, recording: bytes) -> None:
        self._seen = seen
        step = int(CHUNK * 16_000) * 2
        self.chunks = [recording[start : start + step] for start in range(0, len(recording), step)]
        self.is_on = True

    def start(self, input_callback: Any) -> None:
        threading.Thread(target=self._play, args=(input_callback,), daemon=True).start()

    def _play(self, input_callback: Any) -> None:
        while True:
            for chunk in self.chunks:
                if not self.is_on:
                    return
                input_callback(chunk)
                time.sleep(CHUNK)

    def stop(self) -> None:
        self.is_on = False

    def output(self, audio: bytes) -> None:
        self._seen.hear(audio)

    def interrupt(self) -> None:
        self._seen.count("interruptions")


class AsyncMicrophone(conversations.AsyncAudioInterface):  # type: ignore[misc]  # untyped here
    """The same for the asynchronous conversation."""

    def __init__(self, seen: Seen, recording: bytes) -> None:
        self._microphone = Microphone(seen, recording)

    async def start(self, input_callback: Any) -> None:
        self._task = asyncio.create_task(self._play(input_callback))

    async def _play(self, input_callback: Any) -> None:
        while True:
            for chunk in self._microphone.chunks:
                await input_callback(chunk)
                await asyncio.sleep(CHUNK)

    async def stop(self) -> None:
        self._task.cancel()

    async def output(self, audio: bytes) -> None:
        self._microphone.output(audio)

    async def interrupt(self) -> None:
        self._microphone.interrupt()


def make_async(function: Any) -> Any:
    async def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call


class Talk:
    """One conversation of either kind, told what to do by its plan."""

    def __init__(self, is_async: bool, plan: dict[str, Any], recording: bytes) -> None:
        self._plan = plan
        self._is_async = is_async
        self.seen = seen = Seen()
        self._platform = ElevenLabs(base_url=plan["url"], api_key=plan["api_key"] or "none")
        self._rest = self._platform.conversational_ai.conversations
        tools = conversations.ClientTools(asyncio.get_running_loop() if is_async else None)
        for name, function in seen.make_tools().items():
            tools.register(name, make_async(function) if is_async else function, is_async=is_async)
        override = {"agent": {"first_message": plan["override"]}} if plan["override"] else None
        microphone = (AsyncMicrophone if is_async else Microphone) if plan["voice"] else None
        kind = conversations.AsyncConversation if is_async else conversations.Conversation
        self._conversation = kind(
            self._platform,
            "agent_demo",
            requires_auth=bool(plan["signed_url"] or plan["mint"]),
            audio_interface=microphone and microphone(seen, recording),
            config=conversations.ConversationInitiationData(
                conversation_config_override=override, dynamic_variables={"name": "Ada"}
            ),
            client_tools=tools,
            **{name: make_async(call) if is_async else call for name, call in seen.make_callbacks().items()},
        )

    async def hold(self) -> Seen:
        """Carry out the plan, and wait until the conversation has ended."""
        seen = self.seen
        seen["lacks"] = [action for action, _ in self._plan["do"] if action not in OFFERED]
        if seen["lacks"]:
            return seen
        try:
            async with asyncio.timeout(LIMIT):
                if self._plan["webrtc"]:
                    await asyncio.to_thread(self._rest.get_webrtc_token, agent_id="agent_demo")
                await self._run("start_session")
                # The SDK tells nobody that it is connected.
                while not self._conversation._conversation_id and "ended" not in seen:
                    await asyncio.sleep(0.01)
                seen["connected"] = self._conversation._conversation_id
                for action, value in self._plan["do"]:
                    await self._act(action, value)
                while "ended" not in seen:
                    await asyncio.sleep(0.01)
                await self._run("wait_for_session_end")
        except ApiError as error:
            seen["ended"] = ["failed", error.status_code, error.body["detail"]["message"]]
        except TimeoutError:
            seen["ended"] = ["still there", None, None]
        except Exception as error:  # what the asynchronous conversation raises again has been told before
            seen.setdefault("ended", ["failed", None, repr(error)])
        finally:
            with suppress(Exception):
                await self._run("end_session")
        return seen

    async def _run(self, method: str, *arguments: Any) -> None:
        call = getattr(self._conversation, method)
        await (call(*arguments) if self._is_async else asyncio.to_thread(call, *arguments))

    async def _act(self, action: str, value: Any) -> None:
        match action:
            case "await":  # so many responses of the agent's
                while len(self.seen["agent"]) < value and "ended" not in self.seen:
                    await asyncio.sleep(0.01)
            case "say":
                await self._run("send_user_message", value)
            case "update":
                await self._run("send_contextual_update", value)
            case "activity":
                await self._run("register_user_activity")
            case "rate":
                id = self.seen["connected"]
                answer = await asyncio.to_thread(self._rest.feedback.with_raw_response.create, id, feedback="like")
                self.seen["rated"] = answer._response.status_code
            case "show":
                file = ("picture.png", value.encode(), "image/png")
                answer = await asyncio.to_thread(self._rest.files.create, self.seen["connected"], file=file)
                self.seen["file"] = answer.file_id
                await self._run("send_multimodal_message", "What is this?", answer.file_id)
            case "end":
                await self._run("end_session")


async def main() -> None:
    asked = json.load(sys.stdin)
    with wave.open(asked["speech"]) as file:
        recording = file.readframes(file.getnframes())
    talks = {name: Talk(sys.argv[1] == "async", plan, recording) for name, plan in asked["plans"].items()}
    seen = await asyncio.gather(*(talk.hold() for talk in talks.values()))
    print(json.dumps(dict(zip(talks, seen, strict=True)) | {"version": version("elevenlabs")}), flush=True)
    os._exit(0)  # threads of the SDK's may still be waiting


if __name__ == "__main__":
    asyncio.run(main())
