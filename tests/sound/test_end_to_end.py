"""Voice conversations through real sound servers: what is spoken into the microphone, and what the speaker plays."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import pytest
import trio

from convaid import events, tool
from convaid.control.status import describe_status
from convaid.protocol.endings import Cause

from ..daemon.holding import Held, hold
from ..soundservers import (
    SoundServer,
    needs_pipewire,
    needs_pulse,
    open_pipewire,
    open_pulse,
    synthesise,
)
from .conversing import GOODBYE, GREETING, TALE, is_over, measure_speech, reckon_seconds, write_scenario

pytestmark = [pytest.mark.xdist_group("sound"), pytest.mark.real_time]  # one at a time

CALL = '{tool = "current_time", parameters = {zone = "Europe/Berlin"}, expect_result = "12:00"}'
LOSS = 0.2  # seconds that a sound server without real-time rights may lose on a busy machine; on another, hundredths
DEVICE = 'audio = "device"'
COMMAND = """audio = "command"
[conversations.main.command]
microphone = ["parec", "--raw", "--format=s16le", "--channels=1", "--rate=16000", "--latency-msec=20"]
speaker = ["pacat", "--raw", "--format=s16le", "--channels=1", "--rate=16000", "--latency-msec=100"]
"""


@tool
def current_time(zone: Annotated[str, "IANA time zone"]) -> str:
    """The time."""
    return f"12:00 in {zone}"


async def wait_for_devices(held: Held, state: str, count: int) -> list[events.DeviceChanged]:
    """Wait until so many devices have been told to be in a state."""
    while True:
        told = [event for event in held.of_kind(events.DeviceChanged) if event.state == state]
        if len(told) >= count:
            return told
        await trio.sleep(0.02)


@pytest.mark.parametrize(
    ("opening", "audio"),
    [
        pytest.param(open_pulse, DEVICE, marks=needs_pulse, id="pulse"),
        pytest.param(open_pipewire, DEVICE, marks=needs_pipewire, id="pipewire"),
        pytest.param(open_pulse, COMMAND, marks=needs_pulse, id="programs"),
    ],
)
async def test_a_conversation_through_a_barge_in_a_tool_call_and_the_death_of_the_sound_server(
    opening: Callable[[Path], AbstractContextManager[SoundServer]],
    audio: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with opening(tmp_path) as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        await converse(server, audio)


async def converse(server: SoundServer, audio: str) -> None:
    """Be the user, from the greeting to the goodbye."""
    configuration = f'[conversations.main]\nagent_id = "agent_test"\nstart = "once"\necho = "none"\n{audio}\n'
    greeting = server.listen()
    async with hold(write_scenario(CALL), tools=[current_time], configuration=configuration) as held:
        await greeting.wait_for(lambda pcm: is_over(pcm, reckon_seconds(GREETING)))
        assert measure_speech(greeting.pcm) == pytest.approx(reckon_seconds(GREETING), abs=LOSS)  # the first word, too

        tale = server.listen()
        await server.speak(synthesise("What time is it?"))
        await tale.wait_for(lambda pcm: measure_speech(pcm) >= 1.0)
        server.say(synthesise("Stop it!"))
        (interrupted,) = await held.wait_for(events.SpeechInterrupted)
        rest = server.listen()
        (record,) = held.simulator.conversations
        while sum(line.speaker == "user" for line in record.transcript) < 2:
            await trio.sleep(0.02)
        (heard,) = interrupted.heard
        spoken = measure_speech(tale.pcm)
        assert 1.0 <= spoken < reckon_seconds(TALE) - 2
        assert spoken == pytest.approx(heard.seconds, abs=LOSS)
        assert measure_speech(rest.pcm) <= 0.15

        server.kill()
        told = await wait_for_devices(held, "lost", 2)
        assert {event.role for event in told} == {"microphone", "speaker"}
        (described,) = describe_status(held.daemon).conversations
        assert described.state == "connected"
        assert re.fullmatch(r"the (microphone|speaker) of main is lost: .*", described.problem)
        await server.restart()
        await wait_for_devices(held, "open", 4)
        (described,) = describe_status(held.daemon).conversations
        assert described.problem == ""

        goodbye = server.listen()
        await server.speak(synthesise("Still there?"))
        await held.over.wait()
        await goodbye.wait_for(lambda pcm: is_over(pcm, reckon_seconds(GOODBYE)))
    assert record.problem is None
    assert held.daemon.endings["main"].cause is Cause.ENDED_BY_AGENT
    assert measure_speech(goodbye.pcm) == pytest.approx(reckon_seconds(GOODBYE), abs=LOSS)
