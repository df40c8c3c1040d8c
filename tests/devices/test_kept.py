"""The kept device with lives that are made up; trio's clock jumps."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from convaid.devices.interfaces import HELD_LIMIT
from convaid.devices.kept import LEAST_AHEAD, KeptDevice, KeptSpeaker, Life, Opened, keep_microphone
from convaid.devices.offered import PluginDevices
from convaid.devices.ring import CaptureRing, PlaybackRing
from convaid.errors import ConvaidError
from tests.devices.sounds import Notes, open_both, speak

SOUND, ZEROS = b"ab" * 320, bytes(640)


def record(ring: CaptureRing, *, seconds: float, block: bytes = SOUND, loss: str = "unplugged") -> Life:
    """A life that gives blocks, and then is over."""

    async def live(opened: Opened) -> str:
        opened("usb")
        for _ in range(round(seconds / 0.02)):
            await trio.sleep(0.02)
            ring.put(block)
        return loss

    return live


async def drain(microphone: object) -> None:
    while True:
        await microphone.read()  # type: ignore[attr-defined]


async def test_a_device_that_fails_is_tried_ever_more_slowly_and_told_once(autojump_clock: MockClock) -> None:
    ring, notes, tries = CaptureRing(16000), Notes(), []

    async def live(opened: Opened) -> str:
        tries.append(trio.current_time())
        return "no such device"

    async with keep_microphone(ring, live, notes):
        await trio.sleep(60)
    waits = [later - sooner for sooner, later in pairwise(tries)]
    assert [round(wait, 2) for wait in waits] == [0.25, 0.5, 1, 2, 4, 8, 10, 10, 10, 10]
    assert notes.states == ["lost"]
    assert notes.all[0].detail == "no such device"


async def test_a_loss_and_the_return_are_noted_once_each(autojump_clock: MockClock) -> None:
    ring, notes = CaptureRing(16000), Notes()
    async with keep_microphone(ring, record(ring, seconds=8), notes) as microphone, trio.open_nursery() as nursery:
        nursery.start_soon(drain, microphone)
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    assert notes.states == ["open", "lost", "open", "lost", "open"]  # 0.25 s each time: it was well for 8 s
    assert {(note.device, note.is_repeated) for note in notes.all} == {("usb", False)}


async def test_what_comes_and_goes_is_noted_as_such(autojump_clock: MockClock) -> None:
    ring, notes, lives = CaptureRing(16000), Notes(), itertools.count()

    async def live(opened: Opened) -> str:
        return await record(ring, seconds=8 if next(lives) % 3 == 2 else 2)(opened)

    async with keep_microphone(ring, live, notes) as microphone, trio.open_nursery() as nursery:
        nursery.start_soon(drain, microphone)
        await trio.sleep(19)
        nursery.cancel_scope.cancel()
    first, *others = [(note.state, note.is_repeated) for note in notes.all]
    assert first == ("open", False)
    pairs = [("lost", False), ("open", False), ("lost", True), ("open", True)]  # it lives for 2, 2, 8, 2 s
    assert others[:8] == [*pairs, *pairs]


async def test_what_came_and_went_and_is_gone_is_noted_once_more(autojump_clock: MockClock) -> None:
    ring, notes, lives = CaptureRing(16000), Notes(), itertools.count()

    async def live(opened: Opened) -> str:
        return "no such device" if next(lives) > 1 else await record(ring, seconds=2)(opened)

    async with keep_microphone(ring, live, notes) as microphone, trio.open_nursery() as nursery:
        nursery.start_soon(drain, microphone)
        await trio.sleep(120)
        nursery.cancel_scope.cancel()
    assert notes.states == ["open", "lost", "open", "lost", "lost"]
    assert [note.is_repeated for note in notes.all] == [False, False, False, True, False]


async def test_a_return_is_no_repetition_however_often_it_was_tried_in_vain(autojump_clock: MockClock) -> None:
    ring, notes, lives = CaptureRing(16000), Notes(), itertools.count()

    async def live(opened: Opened) -> str:
        return "no such device" if next(lives) in (1, 2, 3) else await record(ring, seconds=8)(opened)

    async with keep_microphone(ring, live, notes) as microphone, trio.open_nursery() as nursery:
        nursery.start_soon(drain, microphone)
        await trio.sleep(15)
        nursery.cancel_scope.cancel()
    assert notes.states == ["open", "lost", "open"]
    assert not any(note.is_repeated for note in notes.all)


async def test_without_a_block_for_a_second_a_device_is_lost(autojump_clock: MockClock) -> None:
    ring, notes = CaptureRing(16000), Notes()

    async def live(opened: Opened) -> str:
        await record(ring, seconds=3)(opened)
        await trio.sleep_forever()
        raise AssertionError

    lost_at = []
    async with keep_microphone(ring, live, lambda note: (notes(note), lost_at.append(trio.current_time()))[0]):
        await trio.sleep(4.05)
    assert notes.states == ["open", "lost"]
    assert notes.all[1].detail == "gave nothing for 1 s"
    assert lost_at[1] == pytest.approx(3.9, abs=0.15)


async def test_nothing_but_zeros_is_silence_and_sound_ends_it(autojump_clock: MockClock) -> None:
    ring, notes, lives = CaptureRing(16000), Notes(), []

    async def live(opened: Opened) -> str:
        lives.append(trio.current_time())
        return await record(ring, seconds=1000, block=ZEROS if len(lives) < 4 else SOUND)(opened)

    async with keep_microphone(ring, live, notes, silence_limit=10):
        await trio.sleep(100)
    assert notes.states == ["open", "silent", "open"]
    assert "nothing but zeros for 10 s" in notes.all[1].detail
    assert [round(begun) for begun in lives] == [0, 10, 30, 70]  # it is opened again, ever more seldom


async def test_what_is_raised_inside_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    ring = CaptureRing(16000)
    with pytest.raises(ConvaidError, match="of the user's"):
        async with keep_microphone(ring, record(ring, seconds=9), Notes()):
            raise ConvaidError("of the user's") from OSError("its cause")


@pytest.mark.parametrize("is_lost", [True, False])
async def test_speech_to_a_lost_speaker_takes_its_time_and_is_not_heard_later(
    is_lost: bool, autojump_clock: MockClock
) -> None:
    ring, notes = PlaybackRing(16000, now=trio.current_time), Notes()
    heard = bytearray()

    async def live(opened: Opened) -> str:
        if trio.current_time() < 1 and is_lost:
            return "unplugged"
        opened("usb")
        while True:
            await trio.sleep(0.01)
            heard.extend(ring.take(320, 0.01))

    kept = KeptDevice("speaker", live, ring, notes)
    async with kept.open():
        speaker = KeptSpeaker(ring, kept)
        await trio.sleep(0.1)
        await speak(speaker, SOUND * 20)
        await speaker.drain()
        assert trio.current_time() == pytest.approx(0.5, abs=0.05)
        await trio.sleep_until(5)
        assert bool(heard.strip(b"\0")) is not is_lost
        await speak(speaker, SOUND)
        await speaker.drain()
        assert bytes(heard).endswith(SOUND + bytes(320)) or SOUND in heard
    assert notes.states == (["lost", "open"] if is_lost else ["open"])
    assert ring.played + ring.dropped + ring.waiting == (320 if is_lost else 21 * 320)


async def test_first_words_wait_for_a_speaker_that_is_being_opened(autojump_clock: MockClock) -> None:
    ring, heard = PlaybackRing(16000, now=trio.current_time), bytearray()

    async def live(opened: Opened) -> str:
        await trio.sleep(2)
        opened("usb")
        while True:
            await trio.sleep(0.01)
            heard.extend(ring.take(320))

    kept = KeptDevice("speaker", live, ring, Notes())
    async with kept.open():
        speaker = KeptSpeaker(ring, kept)
        await speak(speaker, SOUND * 20)
        await speaker.drain()
    assert bytes(heard).strip(b"\0") == SOUND * 20


async def test_little_is_held_and_a_drop_releases_who_waits(autojump_clock: MockClock) -> None:
    ring = PlaybackRing(16000, 0.04, now=trio.current_time)
    held = []

    async def live(opened: Opened) -> str:
        opened("usb")
        while True:
            await trio.sleep(0.01)
            held.append(ring.held)
            ring.take(320, 0.03)

    kept = KeptDevice("speaker", live, ring, Notes())
    async with kept.open():
        speaker = KeptSpeaker(ring, kept)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.write, SOUND * 500)
            await trio.sleep(1)
            speaker.drop()
        assert trio.current_time() == pytest.approx(1)
        assert 0.08 < max(held) <= HELD_LIMIT + LEAST_AHEAD + 0.031
        assert speaker.held <= 0.051  # what the device has, and the fade


async def test_a_plugins_device_is_kept_like_any_other(autojump_clock: MockClock) -> None:
    heard = bytearray()

    async def record_some(give: Callable[[bytes], None]) -> str:
        for _ in range(100):
            await trio.sleep(0.02)
            give(SOUND)
        return "the socket is closed"

    async def play(take: Callable[[int], bytes]) -> str:
        while True:
            await trio.sleep(0.02)
            heard.extend(take(320))

    async with open_both(PluginDevices("intercom", 8000, record_some, play), 16000) as sound:
        assert sound.microphone.format.rate == sound.speaker.format.rate == 8000
        assert await sound.microphone.read() == SOUND
        await trio.sleep(2.5)
        assert {(note.role, note.state, note.detail) for note in sound.notes.all} == {
            ("microphone", "open", ""),
            ("speaker", "open", ""),
            ("microphone", "lost", "the socket is closed"),
        }
        sound.speaker.drop()
        await sound.speaker.write(SOUND)
        await trio.sleep(1)
    assert SOUND in heard


async def test_a_plugin_without_a_speaker_has_a_silent_one(autojump_clock: MockClock) -> None:
    async with open_both(PluginDevices("intercom", 8000), 16000) as sound:
        assert await sound.microphone.read() == bytes(640)
        await sound.speaker.write(bytes(640))
