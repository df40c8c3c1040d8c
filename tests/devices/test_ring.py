"""The rings by themselves: frames are conserved, order is kept, and any thread may come."""

from __future__ import annotations

import os
import threading
from array import array

import trio
from hypothesis import given
from hypothesis import strategies as st

from convaid.devices.ring import CaptureRing, PlaybackRing

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 400)),
        st.tuples(st.just("take"), st.integers(0, 400)),
        st.tuples(st.sampled_from(["drop", "forget"]), st.just(0)),
        st.tuples(st.just("prime"), st.integers(0, 40)),
    ),
    max_size=30,
)


def count_up(start: int, frames: int) -> bytes:
    """Samples that are never zero, so that silence is told from them."""
    return array("h", [place % 30000 + 1 for place in range(start, start + frames)]).tobytes()


@given(STEPS)
def test_speech_comes_out_in_order_and_every_frame_is_counted(steps: list[tuple[str, int]]) -> None:
    ring, put, taken, heard = PlaybackRing(16000, now=lambda: 0.0), 0, 0, bytearray()
    fades: list[int] = []
    for step, amount in steps:
        if step == "put":
            ring.put(count_up(put, amount))
            put += amount
        elif step == "take":
            block = ring.take(2 * amount)
            assert len(block) == 2 * amount
            heard += block
            taken += amount
        elif step == "prime":
            ring.prime(amount / 16000)
        else:
            fades.append(min(ring.waiting, 160))
            ring.drop() if step == "drop" else ring.forget()
        assert ring.waiting >= 0
        assert ring.played + ring.dropped + ring.waiting == put
        assert ring.played + ring.padded == taken
    if not fades:
        assert [sample for sample in array("h", bytes(heard)) if sample] == list(array("h", count_up(0, ring.played)))


@given(st.lists(st.binary(max_size=700), max_size=40))
def test_a_full_capture_ring_forgets_the_oldest_and_counts_it(blocks: list[bytes]) -> None:
    ring = CaptureRing(16000, limit=0.05)  # 1600 bytes
    try:
        for block in blocks:
            ring.put(block)
            assert ring.waiting <= 800
        whole = b"".join(blocks)
        whole = whole[: len(whole) & ~1]
        assert ring.waiting + ring.dropped == len(whole) // 2
        held = b"".join(iter(ring._take, None))
        assert held == whole[2 * ring.dropped :]
    finally:
        ring.close()


async def test_a_thread_wakes_a_reader_and_everything_arrives() -> None:
    ring, samples = CaptureRing(16000, limit=60.0), count_up(0, 32000)

    def record() -> None:
        for start in range(0, len(samples), 641):  # pieces that end within frames
            ring.put(samples[start : start + 641])

    device = threading.Thread(target=record)
    device.start()
    heard = b""
    with trio.fail_after(5):
        while len(heard) < len(samples):
            heard += await ring.read()
    device.join()
    ring.close()
    assert heard == samples


async def test_a_reader_that_is_cancelled_loses_nothing() -> None:
    ring = CaptureRing(16000)
    with trio.move_on_after(0.01):
        await ring.read()
    ring.put(b"abcd")
    with trio.CancelScope() as scope:
        scope.cancel()
        await ring.read()
    with trio.fail_after(1):
        assert await ring.read() == b"abcd"
    ring.close()


def test_a_closed_ring_takes_no_more_and_has_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    ring = CaptureRing(16000)
    ring.put(b"ab")
    ring.close()
    ring.put(b"cd")
    ring.close()
    assert ring.waiting == 1
    assert len(os.listdir("/proc/self/fd")) == before


def test_another_device_begins_with_whole_frames() -> None:
    ring = CaptureRing(16000)
    ring.put(b"\0\0\0")
    assert ring.zeros == 1
    ring.begin()
    ring.put(b"ab")
    assert list(iter(ring._take, None)) == [b"\0\0", b"ab"]
    assert ring.zeros == 0
    ring.close()


def test_what_is_held_is_what_waits_and_what_the_device_has_not_played() -> None:
    now = 100.0
    ring = PlaybackRing(16000, now=lambda: now)
    ring.prime(0.1)
    assert ring.held == 0
    ring.put(bytes(range(1, 65)) * 50)  # 0.1 s
    assert round(ring.held, 3) == 0.2  # the silence comes first
    ring.take(2400, 0.03)  # 75 ms of silence
    ring.take(2400, 0.03)  # 25 ms of it, and 50 ms of speech
    assert round(ring.held, 3) == 0.155  # 50 ms wait, and the others are over in 105
    now += 0.075
    assert round(ring.ahead, 3) == 0.03
    ring.forget()
    assert ring.held == 0


def test_dropped_speech_fades_within_ten_milliseconds() -> None:
    ring = PlaybackRing(16000)
    ring.put(array("h", [10000] * 3200).tobytes())
    ring.take(320)
    ring.drop()
    ring.put(array("h", [-5] * 160).tobytes())  # what comes next is whole
    samples = array("h", ring.take(1280))
    assert list(samples[:160]) == sorted(samples[:160], reverse=True)
    assert samples[0] > 9900
    assert samples[159] == 0
    assert list(samples[160:]) == [-5] * 160 + [0] * 320
    assert (ring.played, ring.dropped) == (480, 2880)


def test_a_tap_gets_what_the_device_does() -> None:
    ring, tapped = PlaybackRing(8000), []
    ring.tap(lambda pcm, rate: tapped.append((pcm, rate)))
    ring.put(b"abcd")
    assert ring.take(8) == b"abcd\0\0\0\0"
    assert tapped == [(b"abcd\0\0\0\0", 8000)]


def test_a_device_that_takes_much_at_once_is_known_after_its_beginning() -> None:
    now = 0.0
    ring = PlaybackRing(16000, now=lambda: now)
    for _ in range(30):
        ring.take(320)  # its buffer is filled
    for _ in range(40):
        now += 0.05
        for _ in range(5):
            ring.take(320)
    assert round(ring.burst, 2) == 0.05


def test_what_is_recalled_is_taken_by_nobody_until_the_device_begins_anew() -> None:
    ring = PlaybackRing(8000)
    ring.put(b"old!")
    ring.recall()
    ring.put(b"new!")
    assert ring.take(4) == b""
    ring.begin(0.02)
    assert ring.take(8)[4:] == b"new!"  # after the fade, of which two samples are not much
    ring.recall()
    ring.forget()
    ring.put(b"more")
    ring.begin(0.02)
    assert ring.take(4) == b"more"
    assert (ring.played, ring.dropped) == (6, 0)


def test_whoever_plays_is_told_what_there_is_to_play_and_to_forget() -> None:
    ring, told = PlaybackRing(8000), []
    ring.filled = lambda: told.append((ring.wanted, ring.is_recalled))
    ring.prime(0.001)
    ring.put(b"some")
    ring.recall()
    assert told == [(16, False), (20, False), (20, True)]
