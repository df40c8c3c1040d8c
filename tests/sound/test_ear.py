"""The ear: the microphone is open while somebody attends and nobody has muted it."""

from __future__ import annotations

from itertools import chain, repeat
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from convaid.audio import AudioFormat
from convaid.config import CommandConfig
from convaid.devices import DeviceError, DeviceNote, open_microphone
from convaid.sound.ear import Ear
from convaid.sound.echo.gate import Gate
from convaid.sound.echo.stage import Passing

from .fakes import FakeSound

BLOCK = b"\x01\x00" * 320  # 20 ms


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_the_microphone_is_open_while_somebody_attends(autojump_clock: MockClock) -> None:
    sound = FakeSound(repeat(BLOCK))
    first, second = list[bytes](), list[bytes]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        await trio.sleep(1)
        assert not sound.microphone.is_open
        with sound.ear.attend(first.append):
            await trio.sleep(1.01)
            with sound.ear.attend(second.append):
                await trio.sleep(1)
            assert (len(first), len(second)) == (100, 50)
            assert sound.microphone.is_open
        await settle()
        assert not sound.microphone.is_open
        assert sound.ear.state is None
        assert sound.microphone.opened == 1
        nursery.cancel_scope.cancel()


async def test_mute_is_hard(autojump_clock: MockClock) -> None:
    sound, heard = FakeSound(repeat(BLOCK)), list[bytes]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.ear.attend(heard.append):
            await trio.sleep(1.01)
            assert sound.ear.is_hearing
            sound.ear.is_muted = True
            assert not sound.ear.is_hearing
            await settle()
            assert not sound.microphone.is_open
            await trio.sleep(10)
            assert len(heard) == 50
            sound.ear.is_muted = False
            await trio.sleep(1.01)
            assert len(heard) == 100
        nursery.cancel_scope.cancel()


async def test_who_attends_while_muted_hears_nothing_until_that_is_over(autojump_clock: MockClock) -> None:
    sound, heard = FakeSound(repeat(BLOCK)), list[bytes]()
    sound.ear.is_muted = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.ear.attend(heard.append):
            await trio.sleep(1)
            assert sound.microphone.opened == 0
        nursery.cancel_scope.cancel()


async def test_what_is_heard_passes_the_stage_and_nothing_does_while_a_chime_sounds(autojump_clock: MockClock) -> None:
    class Half(Passing):
        def hear(self, pcm: bytes) -> bytes:
            return pcm[: len(pcm) // 2] + bytes(len(pcm) // 2)

    sound, heard = FakeSound(repeat(BLOCK)), list[bytes]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.ear.attend(heard.append):
            await settle()
            sound.ear.stage = Half("none")
            await trio.sleep(0.05)
            assert set(heard) == {BLOCK[:320] + bytes(320)}
            heard.clear()
            nursery.start_soon(sound.mouth.play_chime, b"\x01\x00" * 16000, 16000)
            await trio.sleep(0.5)
            assert set(heard) == {bytes(640)}
            heard.clear()
            sound.ear.stage = Passing("system")  # takes what is played away
            await trio.sleep(0.1)
            assert set(heard) == {BLOCK}
        nursery.cancel_scope.cancel()


async def test_who_overhears_it_hears_what_the_agent_does_not(autojump_clock: MockClock) -> None:
    sound, heard, overheard = FakeSound(repeat(BLOCK)), list[bytes](), list[bytes]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.ear.overhear(overheard.append):
            await trio.sleep(1.01)
            assert sound.microphone.is_open
            sound.ear.stage = Gate(sound.ear.format, 0.3, silent_for=lambda: 0.0)
            with sound.ear.attend(heard.append):
                await trio.sleep(1)
            assert (heard[-1], len(heard)) == (bytes(len(BLOCK)), 50)
            assert overheard == [BLOCK] * 100
            sound.ear.is_muted = True
            await trio.sleep(1)
            assert len(overheard) == 100
        nursery.cancel_scope.cancel()


async def test_blocks_have_the_ears_rate(autojump_clock: MockClock) -> None:
    sound, heard = FakeSound(repeat(bytes(2 * 960))), list[bytes]()
    sound.microphone.format = AudioFormat("pcm", 48000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.ear.attend(heard.append):
            await trio.sleep(1.01)
        assert len(b"".join(heard)) == pytest.approx(32000, abs=200)
        nursery.cancel_scope.cancel()


async def test_a_device_that_cannot_be_opened_is_told_and_tried_again(autojump_clock: MockClock) -> None:
    sound, heard = FakeSound(repeat(BLOCK), failure=DeviceError("no package")), list[bytes]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.ear.attend(heard.append):
            assert str(await sound.wait_failure()) == "no package"
            assert sound.describe().microphone.state == "failed"
            sound.failure = None
            await trio.sleep(6)
            assert heard
            assert sound.ear.failure is None
        nursery.cancel_scope.cancel()


async def test_notes_are_told_once_and_kept_as_the_state(autojump_clock: MockClock) -> None:
    sound, notes = FakeSound(chain(repeat(BLOCK))), list[DeviceNote]()
    sound.observe(notes.append)
    lost = DeviceNote("microphone", "lost", "fake", "it was pulled")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        for _ in range(3):
            with sound.ear.attend(lambda block: None):
                await trio.sleep(0.1)
        assert notes == [DeviceNote("microphone", "open", "fake")]
        with sound.ear.attend(lambda block: None):
            await trio.sleep(0.1)
            sound.microphone.note(lost)
            assert notes[1:] == [lost]
            assert not sound.ear.is_hearing
            assert sound.describe().microphone.state == "lost"
            sound.microphone.note(notes[0])
            assert len(notes) == 3
        nursery.cancel_scope.cancel()


async def test_a_device_that_is_still_lost_is_told_to_the_next_session(tmp_path: Path) -> None:
    notes: list[DeviceNote] = []
    settings = CommandConfig(microphone=(str(tmp_path / "missing"),), speaker=())
    ear = Ear(AudioFormat("pcm", 16000), lambda note: open_microphone(settings, 16000, note))
    ear.observe = notes.append
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ear.run)
        for session in (1, 2):
            with ear.attend(lambda block: None), trio.fail_after(10):
                while len(notes) < session:
                    await trio.sleep(0.01)
            while ear.state is not None:  # it is being closed
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert [note.state for note in notes] == ["lost", "lost"]


async def test_a_fault_of_ours_is_logged_and_ends_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Passing):
        def hear(self, pcm: bytes) -> bytes:
            raise ZeroDivisionError

    sound = FakeSound(repeat(BLOCK))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.ear.attend(lambda block: None):
            await settle()
            sound.ear.stage = Broken("none")
            assert "ZeroDivisionError" in str(await sound.wait_failure())
        nursery.cancel_scope.cancel()
    assert "a fault of convaid's" in caplog.text
