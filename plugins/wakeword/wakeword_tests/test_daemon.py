"""From a word that is said to a conversation that is open: daemon, simulator, and a program as microphone."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field

from convaid import events

from .speaking import FORMAT, pause, speak, tell

BLOCK = 0.02  # seconds


@define(eq=False)
class Room:
    """A room with a microphone: what is said is heard there in real time, and silence between."""

    microphone: Path
    _said: bytearray = field(factory=bytearray)

    async def say(self, *sounds: bytes) -> None:
        """Return when all of it has been said."""
        for sound in sounds:
            self._said += sound
        while self._said:  # noqa: ASYNC110 - it is a matter of seconds
            await trio.sleep(BLOCK)

    async def run(self) -> None:
        fifo = os.open(self.microphone, os.O_RDWR | os.O_NONBLOCK)
        try:
            due, size = trio.current_time(), FORMAT.bytes_for(BLOCK)
            while True:
                try:
                    os.write(fifo, bytes(self._said[:size]).ljust(size, b"\0"))
                except BlockingIOError:  # nobody listens
                    await trio.sleep(BLOCK)
                else:
                    del self._said[:size]
                due = max(due + BLOCK, trio.current_time() - BLOCK)
                await trio.sleep_until(due)
        finally:
            os.close(fifo)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    os.mkfifo(tmp_path / "microphone")
    async with trio.open_nursery() as nursery:
        room = Room(tmp_path / "microphone")
        nursery.start_soon(room.run)
        yield room
        nursery.cancel_scope.cancel()


def configure(room: Room, echo: str = "none") -> str:
    return f"""
[conversations.kitchen]
agent_id = "agent_test"
start = "on_demand"
audio = "command"
echo = "{echo}"
[conversations.kitchen.command]
microphone = ["cat", "{room.microphone}"]
speaker = ["sh", "-c", "cat > {room.microphone.with_name("heard")}"]
[plugins.wakeword.words.hey_jarvis]
"""


async def test_the_word_opens_the_conversation_and_other_speech_does_not(hold_daemon: Any, room: Room) -> None:
    scenario = 'steps = [{expect_audio = {within_ms = 10000}}, {say = "It is noon."}, {end = {}}]'
    async with hold_daemon(configure(room), scenario) as held:
        await held.wait_for(events.DeviceChanged)  # the plugin listens
        await room.say(tell(2.5, seed=1), pause(1))
        assert held.daemon.keeper.find("kitchen").state == "closed"
        assert not held.simulator.conversations
        assert {type(event) for event in held.events} == {events.DeviceChanged}
        await room.say(speak("Hey Jarvis!"), speak("What time is it?"), pause(0.5))
        await held.wait_for(events.Ended)
        (record,) = held.simulator.conversations
    assert record.problem is None
    assert [line.speaker for line in record.transcript] == ["user", "agent"]


@pytest.mark.parametrize("echo", ["none", "gate"])
async def test_the_word_interrupts_the_agent_even_where_that_hears_nothing(
    hold_daemon: Any, room: Room, echo: str
) -> None:
    story = (
        "It was a dark and stormy night, and nobody was about, and the rain fell in torrents, as it does in stories."
    )
    async with hold_daemon(configure(room, echo), f'steps = [{{say = "{story}"}}, {{silence = 30}}]') as held:
        await held.wait_for(events.DeviceChanged)  # the plugin listens
        held.daemon.keeper.find("kitchen").start()
        await held.wait_for(events.AgentSpeaking)
        await room.say(pause(0.5), speak("Hey Jarvis!"), pause(0.5))
        await held.wait_for(events.SpeechInterrupted)
        assert held.daemon.keeper.find("kitchen").state == "connected"
