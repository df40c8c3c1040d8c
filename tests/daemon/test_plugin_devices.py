"""A voice conversation by a device that a plugin brings: real sockets, heard and answered, lost and found again."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import trio
from attrs import define, field

from convaid import events
from convaid.audio import make_tone, measure_level
from convaid.plugins import Plugin, load_plugins
from convaid.protocol.endings import Cause

from .holding import hold
from .socket_plugin import RATE, SIZE, STEP

VOICED = '[conversations.main]\nagent_id = "agent_test"\nstart = "once"\naudio = "socket"\necho = "none"\n'
LOUD = -40.0  # dBFS: speech and tones are above, silence is far below


def load(folder: Path) -> Plugin:
    entry_point = EntryPoint("phone", "tests.daemon.socket_plugin", "convaid")
    (plugin,) = load_plugins({"phone": {"folder": str(folder)}}, entry_points=[entry_point])
    assert plugin.status == "ready", plugin.reason
    assert [device.name for device in plugin.devices] == ["socket"]
    return plugin


@define(eq=False)
class Phone:
    """What is at the other end of the sockets: it says what it is given, or silence, and keeps what it hears."""

    folder: Path
    words: bytearray = field(factory=bytearray)
    heard: bytearray = field(factory=bytearray)
    calls: int = 0
    """How often the microphone was opened."""
    _lines: list[trio.CancelScope] = field(factory=list)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            for name, serve in (("microphone", self.speak), ("speaker", self.listen)):
                listener = trio.socket.socket(socket.AF_UNIX)
                await listener.bind(str(self.folder / name))
                listener.listen()
                nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(listener)])
            task_status.started()

    def hang_up(self) -> None:
        """Cut the lines that are open; they may be opened again."""
        for line in self._lines:
            line.cancel()

    def open_line(self) -> trio.CancelScope:
        self._lines.append(trio.CancelScope())
        return self._lines[-1]

    async def speak(self, stream: trio.SocketStream) -> None:
        self.calls += 1
        with self.open_line():
            while True:
                words = bytes(self.words[:SIZE])
                del self.words[:SIZE]
                try:
                    await stream.send_all(words.ljust(SIZE, b"\0"))
                except trio.BrokenResourceError:
                    return
                await trio.sleep(STEP)

    async def listen(self, stream: trio.SocketStream) -> None:
        with self.open_line():
            while pcm := await stream.receive_some():
                self.heard += pcm

    @property
    def loud_seconds(self) -> float:
        heard = bytes(self.heard)
        return STEP * sum(
            measure_level(heard[place : place + SIZE]) > LOUD for place in range(0, len(heard) - SIZE, SIZE)
        )


@asynccontextmanager
async def open_phone(folder: Path) -> AsyncIterator[Phone]:
    phone = Phone(folder)
    async with trio.open_nursery() as nursery:
        await nursery.start(phone.run)
        yield phone
        nursery.cancel_scope.cancel()


async def test_speech_comes_and_goes_by_the_sockets(tmp_path: Path) -> None:
    scenario = 'steps = [{expect_audio = {within_ms = 5000}}, {say = "Fifteen letters"}, {end = {}}]'
    async with open_phone(tmp_path) as phone:
        phone.words += bytes(RATE) + make_tone(440, 0.5, RATE)
        async with hold(scenario, configuration=VOICED, others=[load(tmp_path)]) as held:
            await held.over.wait()
            (record,) = held.simulator.conversations
    assert record.problem is None
    assert held.daemon.endings["main"].cause is Cause.ENDED_BY_AGENT
    assert phone.loud_seconds == pytest.approx(1.0, abs=0.2)
    changes = held.of_kind(events.DeviceChanged)
    assert {(change.role, change.state) for change in changes} <= {("microphone", "open"), ("speaker", "open")}


async def test_a_line_that_is_cut_is_told_and_opened_again(tmp_path: Path) -> None:
    scenario = 'steps = [{silence = 0.8}, {expect_audio = {within_ms = 8000}}, {say = "Still there."}, {end = {}}]'
    async with open_phone(tmp_path) as phone, hold(scenario, configuration=VOICED, others=[load(tmp_path)]) as held:
        await held.wait_for(events.Connected)
        while not phone.calls or not phone.heard:
            await trio.sleep(0.01)
        phone.hang_up()
        while phone.calls < 2:
            await trio.sleep(0.01)
        phone.words += make_tone(440, 0.5, RATE)
        await held.over.wait()
    assert held.daemon.endings["main"].cause is Cause.ENDED_BY_AGENT
    lost = [change for change in held.of_kind(events.DeviceChanged) if change.state == "lost"]
    assert {change.role for change in lost} == {"microphone", "speaker"}
    assert any("it has ended" in change.detail for change in lost)
    assert phone.loud_seconds > 0.5


async def test_a_device_that_is_not_there_costs_no_conversation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scenario = 'steps = [{silence = 1.5}, {say = "Anybody?"}, {end = {}}]'
    async with hold(scenario, configuration=VOICED, others=[load(tmp_path)]) as held:
        await held.over.wait()
        (record,) = held.simulator.conversations
    assert held.daemon.endings["main"].cause is Cause.ENDED_BY_AGENT
    assert record.received["user_audio_chunk"] > 20  # silence
    assert caplog.text.count("FileNotFoundError") <= 4  # once a loss, and not once an attempt
    assert os.fspath(tmp_path) not in [plugin.reason for plugin in held.daemon.tool_calls.plugins]
