"""Speech on its way: chunks of one size from whatever the microphone delivers, small steps of what the agent says."""

from __future__ import annotations

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from convaid.speech_buffers import MicrophoneBuffer, PlaybackBuffer

SILENCE = b"\0" * 4


def test_no_microphone_is_silence() -> None:
    buffer = MicrophoneBuffer(SILENCE, 20)
    assert [buffer.take() for _ in range(3)] == [SILENCE] * 3
    assert buffer.padded == 12


def test_speech_begins_with_a_whole_chunk_and_continues_without_gaps() -> None:
    buffer = MicrophoneBuffer(SILENCE, 20)
    buffer.put(b"ab")
    assert buffer.take() == SILENCE  # half a chunk would leave a gap after it
    buffer.put(b"cdef")
    assert buffer.take() == b"abcd"
    buffer.put(b"gh")
    assert buffer.take() == b"efgh"


def test_the_end_of_speech_is_filled_up_with_silence() -> None:
    buffer = MicrophoneBuffer(b"\xff" * 4, 20)
    buffer.put(b"abcdef")
    assert [buffer.take() for _ in range(3)] == [b"abcd", b"ef\xff\xff", b"\xff\xff\xff\xff"]


def test_above_the_limit_only_the_newest_stays() -> None:
    buffer = MicrophoneBuffer(SILENCE, 8)
    for block in (b"0123", b"4567", b"89ab"):
        buffer.put(block)
    assert buffer.dropped == 8
    assert [buffer.take(), buffer.take()] == [b"89ab", SILENCE]  # and what was late is not late for ever


@given(st.lists(st.binary(max_size=30)))
def test_every_chunk_is_whole_and_nothing_is_invented(blocks: list[bytes]) -> None:
    buffer = MicrophoneBuffer(SILENCE, 40)
    given_out = 0
    for block in blocks:
        buffer.put(block)
        assert len(buffer.take()) == 4
        given_out += 4
    assert given_out - buffer.padded <= sum(map(len, blocks)) - buffer.dropped


async def test_steps_are_of_one_size_whatever_the_chunks() -> None:
    buffer = PlaybackBuffer(4, 100)
    for chunk in (b"abc", b"defghi", b"", b"j"):
        buffer.put(chunk)
    assert [await buffer.take() for _ in range(3)] == [b"abcd", b"efgh", b"ij"]
    assert buffer.size == 0


async def test_clearing_forgets_what_waits_and_nothing_that_comes_later() -> None:
    buffer = PlaybackBuffer(4, 100)
    buffer.put(b"stale stale")
    buffer.clear()
    buffer.put(b"new")
    assert await buffer.take() == b"new"


async def test_above_the_limit_the_newest_goes() -> None:
    buffer = PlaybackBuffer(4, 8)
    buffer.put(b"12345678")
    buffer.put(b"9")
    assert (buffer.size, buffer.dropped) == (8, 1)


async def test_waiting_for_the_end_ends_when_the_last_step_is_with_the_speaker_or_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    buffer = PlaybackBuffer(4, 100)
    buffer.put(b"12345678")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffer.wait_empty)
        await buffer.take()
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        await buffer.take()
        with trio.move_on_after(1):
            await buffer.take()  # asks for more: the speaker has had the last step
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
    buffer.put(b"1234")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffer.wait_empty)
        await trio.testing.wait_all_tasks_blocked()
        buffer.clear()
