"""The mouth: a session's speech and chimes, one after the other, each frame accounted for."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock

from convaid.audio import AudioFormat
from convaid.config import SpeechConfig
from convaid.devices import DeviceError
from convaid.sound.echo.stage import Passing
from convaid.sound.mouth import Mouth

from .fakes import PCM, FakeSound, make_settings

STEP = b"\x01\x00" * 320
CHIME = b"\x02\x00" * 3200  # 0.2 s


async def speak(mouth: Mouth, seconds: float, step: bytes = STEP) -> None:
    for _ in range(round(seconds / 0.02)):
        await mouth.write(step)


async def test_the_speaker_is_open_while_a_session_or_a_chime_wants_it(autojump_clock: MockClock) -> None:
    sound = FakeSound()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        await trio.sleep(1)
        assert sound.speaker.opened == 0
        with sound.mouth.open(PCM):
            await trio.testing.wait_all_tasks_blocked()
            assert sound.speaker.is_open
        await trio.sleep(1.1)
        assert not sound.speaker.is_open
        await sound.mouth.play_chime(CHIME, 16000)
        assert bytes(sound.speaker.heard) == CHIME
        await trio.sleep(0.9)  # something may follow
        assert sound.speaker.is_open
        await trio.sleep(0.2)
        assert not sound.speaker.is_open
        assert sound.speaker.opened == 2
        nursery.cancel_scope.cancel()


async def test_the_next_session_finds_the_speaker_open_if_it_comes_soon(autojump_clock: MockClock) -> None:
    sound = FakeSound()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.mouth.open(PCM):
            await speak(sound.mouth, 0.1)
        with sound.mouth.open(AudioFormat("ulaw", 16000)):
            await speak(sound.mouth, 0.1, b"\xff" * 320)
            await trio.sleep(2)
        assert sound.speaker.opened == 1
        assert bytes(sound.speaker.heard[-3200:]) == bytes(3200)
        nursery.cancel_scope.cancel()


async def test_little_is_held_and_silence_is_known(autojump_clock: MockClock) -> None:
    sound = FakeSound()
    mouth = sound.mouth
    assert mouth.silent_for() == math.inf
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with mouth.open(PCM):
            began = trio.current_time()
            await speak(mouth, 1.0)
            assert trio.current_time() - began == pytest.approx(0.9, abs=0.02)
            assert mouth.held == pytest.approx(0.1, abs=0.001)
            assert mouth.silent_for() == 0.0
            await mouth.drain()
            assert trio.current_time() - began == pytest.approx(1.0, abs=0.02)
            await trio.sleep(3)
            assert mouth.silent_for() == pytest.approx(3.0, abs=0.01)
        await trio.sleep(1)
        assert mouth.silent_for() == pytest.approx(4.0, abs=0.01)  # closed or not
        nursery.cancel_scope.cancel()


async def test_speech_waits_for_a_speaker_that_is_slow_to_open_and_is_whole(autojump_clock: MockClock) -> None:
    sound = FakeSound(delay=2.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.mouth.open(PCM):
            nursery.start_soon(speak, sound.mouth, 0.1)
            await trio.sleep(1)
            assert sound.mouth.held == pytest.approx(0.02)  # waits, and is accounted for
            await trio.sleep(2)
        assert bytes(sound.speaker.heard) == STEP * 5
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("delay", [0.0, 2.0])
async def test_what_is_dropped_is_not_heard_wherever_it_is(delay: float, autojump_clock: MockClock) -> None:
    sound = FakeSound(delay=delay)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.mouth.open(PCM):
            nursery.start_soon(speak, sound.mouth, 0.2)
            await trio.sleep(0.01)
            sound.mouth.drop()  # the step that waits for the speaker, and what the speaker holds
            assert sound.mouth.held < 0.001
            await trio.sleep(4)
        heard = len(sound.speaker.heard) / len(STEP)
        assert heard == pytest.approx(9 if delay else 5, abs=1)
        nursery.cancel_scope.cancel()


async def test_leaving_a_session_silences_it(autojump_clock: MockClock) -> None:
    sound = FakeSound()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.mouth.open(PCM):
            await speak(sound.mouth, 0.2)
        assert len(sound.speaker.heard) == pytest.approx(0.1 * 32000, abs=640)
        nursery.cancel_scope.cancel()


async def test_a_chime_is_whole_and_speech_comes_after_it(autojump_clock: MockClock) -> None:
    sound = FakeSound()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        nursery.start_soon(sound.mouth.play_chime, CHIME, 16000)
        await trio.sleep(0.05)
        assert sound.mouth.is_chiming
        with sound.mouth.open(PCM):
            await speak(sound.mouth, 0.1)
            assert not sound.mouth.is_chiming
            await sound.mouth.drain()
        assert bytes(sound.speaker.heard) == CHIME + STEP * 5
        assert sound.speaker.opened == 1
        nursery.cancel_scope.cancel()


async def test_a_session_of_another_rate_opens_the_speaker_anew_after_the_chime(autojump_clock: MockClock) -> None:
    sound = FakeSound()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        nursery.start_soon(sound.mouth.play_chime, CHIME, 16000)
        await trio.sleep(0.05)
        assert sound.speaker.rate == 16000
        with sound.mouth.open(AudioFormat("pcm", 48000)):
            sound.speaker.format = AudioFormat("pcm", 48000)
            await speak(sound.mouth, 0.1, STEP * 3)
            assert (sound.speaker.rate, sound.speaker.opened) == (48000, 2)
            await sound.mouth.drain()
        assert bytes(sound.speaker.heard) == CHIME + STEP * 15
        assert sound.mouth.rate == 48000  # of the next chime
        nursery.cancel_scope.cancel()


async def test_a_chime_that_nothing_can_be_heard_of_is_given_up(autojump_clock: MockClock) -> None:
    sound = FakeSound()
    sound.speaker.is_stuck = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        began = trio.current_time()
        await sound.mouth.play_chime(CHIME, 16000)
        assert trio.current_time() - began < 5
        assert not sound.mouth.is_chiming
        nursery.cancel_scope.cancel()


async def test_an_earlier_failure_is_not_the_next_sessions(autojump_clock: MockClock) -> None:
    sound = FakeSound(speaker_failure=DeviceError("no such file"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.mouth.open(PCM):
            assert str(await sound.wait_failure()) == "no such file"
        await trio.sleep(100)
        assert sound.describe().speaker.state == "failed"
        sound.speaker_failure = None
        with sound.mouth.open(PCM), trio.move_on_after(1):
            await sound.wait_failure()
            raise AssertionError
        nursery.cancel_scope.cancel()


async def test_formats_are_converted(autojump_clock: MockClock) -> None:
    sound = FakeSound()
    sound.speaker.format = AudioFormat("pcm", 48000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.mouth.open(AudioFormat("ulaw", 8000)):
            await speak(sound.mouth, 1.0, b"\x55" * 160)
            await sound.mouth.drain()
        assert len(sound.speaker.heard) == pytest.approx(96000, abs=20)
        nursery.cancel_scope.cancel()


async def test_loudness_is_as_configured_and_as_the_stage_wants_it(autojump_clock: MockClock) -> None:
    class Ducking(Passing):
        name = "duck"
        playback_gain = 0.5

    sound = FakeSound(settings=make_settings(SpeechConfig(speaker_gain=-20.0)))
    loud = b"\x10\x27" * 320  # 10,000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.mouth.open(PCM):
            await speak(sound.mouth, 0.1, loud)
            assert bytes(sound.speaker.heard[-2:]) == (1000).to_bytes(2, "little")
            sound.mouth.stage = Ducking("none")
            await speak(sound.mouth, 0.1, loud)
            assert bytes(sound.speaker.heard[-2:]) == (500).to_bytes(2, "little")
        nursery.cancel_scope.cancel()


async def test_the_stage_is_told_what_is_played(autojump_clock: MockClock) -> None:
    played: list[tuple[bytes, int]] = []

    class Learning(Passing):
        learns = True

        def note_played(self, pcm: bytes, rate: int) -> None:
            played.append((pcm, rate))

    sound = FakeSound()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.mouth.open(PCM):
            await trio.testing.wait_all_tasks_blocked()
            sound.mouth.stage = Learning("system")
            await speak(sound.mouth, 0.1)
        assert played == [(STEP, 16000)] * 5
        nursery.cancel_scope.cancel()
