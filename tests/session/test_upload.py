"""Microphone to wire: whole chunks, each as soon as it is there, and silence by the clock where there is none."""

from __future__ import annotations

import base64
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.lowlevel
from attrs import define, field
from trio.testing import MockClock

from convaid.audio import AudioFormat
from convaid.session.upload import Upload

PCM = AudioFormat("pcm", 16000)
CHUNK = 0.04
LOUD = b"\x01\x00"


@define(eq=False)
class Wire:
    """What has been sent, and when."""

    is_hearing: bool = False
    sent: list[tuple[float, bytes, float | None, bool]] = field(factory=list)

    def send(self, chunk: str, came_at: float | None, is_preroll: bool) -> None:
        self.sent.append((trio.current_time(), base64.b64decode(chunk), came_at, is_preroll))

    @property
    def audio(self) -> bytes:
        return b"".join(chunk for _, chunk, _, _ in self.sent)


@asynccontextmanager
async def open_upload(target: AudioFormat = PCM) -> AsyncIterator[tuple[Upload, Wire]]:
    wire = Wire()
    upload = Upload(PCM, target, CHUNK, wire.send, lambda: wire.is_hearing)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload.run)
        yield upload, wire
        nursery.cancel_scope.cancel()


async def record(upload: Upload, wire: Wire, seconds: float, block: float = 0.02) -> None:
    """Be a microphone for so long."""
    wire.is_hearing = True
    for _ in range(round(seconds / block)):
        await trio.sleep(block)
        upload.take(LOUD * round(block * 16000))


async def test_silence_is_steady_where_there_is_no_microphone(autojump_clock: MockClock) -> None:
    async with open_upload() as (_, wire):
        await trio.sleep(10.001)
    times = [at for at, *_ in wire.sent]
    assert len(times) == pytest.approx(10 / CHUNK, abs=1)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert (min(gaps), max(gaps)) == (pytest.approx(CHUNK), pytest.approx(CHUNK))
    assert not any(wire.audio)
    assert {len(chunk) for _, chunk, _, _ in wire.sent} == {1280}
    assert {came_at for _, _, came_at, _ in wire.sent} == {None}


@pytest.mark.parametrize("block", [0.005, 0.01, 0.02, 0.03, 0.1])
async def test_a_chunk_waits_for_nothing_but_its_last_sample(block: float, autojump_clock: MockClock) -> None:
    async with open_upload() as (upload, wire):
        await trio.sleep(0.003)
        await record(upload, wire, 3.0, block)
    assert {at - came_at for at, _, came_at, _ in wire.sent if came_at is not None} == {0.0}
    assert wire.audio.count(LOUD) == len(wire.audio) // 2
    assert len(wire.audio) == pytest.approx(3.0 * 32000, abs=1280)


async def test_from_silence_to_microphone_a_chunk_may_be_lost_and_no_more(autojump_clock: MockClock) -> None:
    async with open_upload() as (upload, wire):
        for _ in range(5):
            await record(upload, wire, 1.0)
            wire.is_hearing = False  # muted, or lost
            await trio.sleep(1.0)
    assert len(wire.audio) / 32000 == pytest.approx(5 * 2.0, abs=5 * 1.5 * CHUNK)
    times = [at for at, *_ in wire.sent]
    assert max(after - before for before, after in itertools.pairwise(times)) <= 2.5 * CHUNK
    assert wire.audio.count(LOUD) == pytest.approx(5 * 16000, abs=1)


async def test_a_microphone_that_delivers_in_bursts_has_no_gaps(autojump_clock: MockClock) -> None:
    async with open_upload() as (upload, wire):
        await record(upload, wire, 5.0, 0.25)
    assert wire.audio.count(LOUD) == len(wire.audio) // 2


async def test_a_microphone_that_falls_silent_leaves_silence(autojump_clock: MockClock) -> None:
    async with open_upload() as (upload, wire):
        await record(upload, wire, 1.0)
        await trio.sleep(0.2)
        loud = len(wire.sent)
        wire.is_hearing = False
        await trio.sleep(1.0)
        assert len(wire.sent) - loud == pytest.approx(1.2 / CHUNK, abs=3)  # what was missed meanwhile, too


async def test_too_much_at_once_loses_the_oldest(autojump_clock: MockClock) -> None:
    async with open_upload() as (upload, wire):
        await trio.lowlevel.checkpoint()
        upload.take(LOUD * 16000 * 5)
        assert len(wire.audio) == 32000
        assert upload.count_dropped() == pytest.approx(4.0)


async def test_a_process_that_stood_still_does_not_catch_up_for_long(autojump_clock: MockClock) -> None:
    async with open_upload() as (_, wire):
        await trio.sleep(1)
        count = len(wire.sent)
        autojump_clock.jump(100)
        await trio.sleep(0.01)
        assert len(wire.sent) - count <= 1.1 / CHUNK


async def test_the_wire_has_its_own_format(autojump_clock: MockClock) -> None:
    async with open_upload(AudioFormat("ulaw", 8000)) as (upload, wire):
        await record(upload, wire, 2.0)
    assert {len(chunk) for _, chunk, _, _ in wire.sent} == {320}
    assert len(wire.audio) == pytest.approx(2.0 * 8000, abs=400)


async def test_preroll_is_no_news(autojump_clock: MockClock) -> None:
    wire = Wire()
    upload = Upload(PCM, PCM, CHUNK, wire.send, lambda: wire.is_hearing)
    upload.take(LOUD * 1600)
    assert [(came_at, is_preroll) for _, _, came_at, is_preroll in wire.sent] == [(None, True)] * 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload.run)
        await record(upload, wire, 0.1)
        nursery.cancel_scope.cancel()
    assert not any(is_preroll for _, _, _, is_preroll in wire.sent[2:])
    assert wire.audio.count(LOUD) == len(wire.audio) // 2


async def test_a_chunk_is_as_old_as_its_block_had_waited(autojump_clock: MockClock) -> None:
    wire = Wire()
    upload = Upload(PCM, PCM, CHUNK, wire.send, lambda: wire.is_hearing, find_age=lambda: 0.3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload.run)
        await trio.testing.wait_all_tasks_blocked()
        upload.take(LOUD * 640)
        ((sent_at, _, came_at, _),) = wire.sent
        assert came_at == sent_at - 0.3
        nursery.cancel_scope.cancel()
