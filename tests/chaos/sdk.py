"""The official Python SDK, unmodified, converses where faults happen, and tells on standard output what it saw of each.

A program of its own: a fault may cost the process. The argument is a list in JSON of what to play, each with ``name``,
``base_url``, ``is_signed``, ``is_voice``, ``stops``, ``clock_steps`` and ``patience`` in seconds; all at once. Every
line of the output is JSON, and about one of them.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from importlib import import_module
from typing import Any

conversation_module: Any = import_module("elevenlabs.conversational_ai.conversation")
ElevenLabs: Any = import_module("elevenlabs.client").ElevenLabs

API_KEY = "sk_test_of_faults"
one_at_a_time = threading.Lock()


class Silence(conversation_module.AudioInterface):  # type: ignore[misc]  # untyped here
    """Hears nothing, and is heard by nobody."""

    def start(self, input_callback: Any) -> None:
        pass

    def stop(self) -> None:
        pass

    def output(self, audio: bytes) -> None:
        pass

    def interrupt(self) -> None:
        pass


def play(case: dict[str, Any]) -> None:
    """Converse, and tell how it ended, or that it has not."""
    seen: dict[str, Any] = {"name": case["name"], "ended": None, "raised": None}
    is_over = threading.Event()
    called: list[Any] = []

    def note_end(details: Any) -> None:
        seen["ended"] = [details.reason, details.close_code]

    def count(parameters: dict[str, Any]) -> str:
        called.append(parameters)
        if len(called) == 1:
            threading.Thread(target=go_on, daemon=True).start()
        return str(parameters["number"])

    def wait(parameters: dict[str, Any]) -> str:
        time.sleep(parameters["seconds"])
        return "waited"

    def go_on() -> None:
        for seconds in case["clock_steps"]:
            time.sleep(0.05)
            set_clock(seconds)
        if case["stops"]:
            time.sleep(0.1)
            conversation.end_session()

    tools = conversation_module.ClientTools()
    tools.register("count", count)
    tools.register("wait", wait)
    conversation = conversation_module.Conversation(
        ElevenLabs(base_url=case["base_url"], api_key=API_KEY),
        "agent_demo",
        requires_auth=case["is_signed"],
        audio_interface=Silence() if case["is_voice"] else None,
        client_tools=tools,
        callback_agent_response=lambda text: None,
        callback_agent_response_correction=lambda before, after: None,
        callback_agent_chat_response_part=lambda text, kind: None,
        callback_user_transcript=lambda text: None,
        callback_latency_measurement=lambda seconds: None,
        callback_disconnect=note_end,
    )

    def converse() -> None:
        try:
            conversation.start_session()
            conversation.wait_for_session_end()
        except Exception as error:
            seen["raised"] = type(error).__name__
        is_over.set()

    threading.Thread(target=converse, daemon=True).start()
    seen["is_over"] = is_over.wait(case["patience"])
    with one_at_a_time:
        print(json.dumps(seen), flush=True)


def set_clock(seconds: float) -> None:
    """Let the wall clock jump, for this process."""
    before = time.time
    time.time = lambda: before() + seconds


def main() -> None:
    threads = [threading.Thread(target=play, args=(case,)) for case in json.loads(sys.argv[1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(0)  # without those that hang


if __name__ == "__main__":
    main()
