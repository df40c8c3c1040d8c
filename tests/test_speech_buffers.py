"""Speech on its way: chunks of one size from whatever the microphone delivers, small steps of what the agent says."""

from __future__ import annotations

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from convaid.speech_buffers import MicrophoneBuffer, PlaybackBuffer, Preroll

SILENCE = b"\0" * 4


def test_a_chunk_is_there_as_soon_as_it_is_whole() -> None:
    buffer = MicrophoneBuffer(SILENCE, 20)
    buffer.put(b"ab")
    assert buffer.take() is None
    buffer.put(b"cdef")
    assert [buffer.take(), buffer.take()] == [b"abcd", None]
    buffer.put(b"gh")
    assert buffer.take() == b"efgh"
    assert buffer.padded == 0


def test_the_end_of_speech_is_filled_up_with_silence() -> None:
    buffer = MicrophoneBuffer(b"\xff" * 4, 20)
    buffer.put(b"abcdef")
    assert buffer.take() == b"abcd"
    assert [buffer.pad(), buffer.pad()] == [b"ef\xff\xff", b"\xff\xff\xff\xff"]
    assert buffer.padded == 6


def test_above_the_limit_only_the_newest_stays() -> None:
    buffer = MicrophoneBuffer(SILENCE, 8)
    buffer.put(b"0123456789ab")
    assert buffer.dropped == 4
    assert [buffer.take(), buffer.take(), buffer.take()] == [b"4567", b"89ab", None]


@given(st.lists(st.binary(max_size=30)))
def test_every_chunk_is_whole_and_nothing_is_invented(blocks: list[bytes]) -> None:
    buffer = MicrophoneBuffer(SILENCE, 40)
    taken = b""
    for block in blocks:
        buffer.put(block)
        while chunk := buffer.take():
            assert len(chunk) == 4
            taken += chunk
    assert b"".join(blocks).startswith(taken)
    assert len(b"".join(blocks)) - len(taken) < 4


def test_what_was_said_before_there_was_somebody_to_hear_it_goes_first() -> None:
    preroll, heard = Preroll(8), list[bytes]()
    for block in (b"0000", b"1111", b"2222"):
        preroll.put(block)
    with preroll.hand_over(heard.append):
        assert heard == [b"1111", b"2222"]  # the oldest was too much
        preroll.put(b"3333")
        assert heard[2:] == [b"3333"]
    preroll.put(b"4444")
    assert len(heard) == 3  # and nobody is told afterwards


async def test_steps_are_of_one_size_whatever_the_chunks() -> None:
    buffer = PlaybackBuffer(4, 100)
    for chunk in (b"abc", b"defghi", b"", b"j"):
        buffer.put(chunk, 1)
    assert [await buffer.take() for _ in range(3)] == [b"abcd", b"efgh", b"ij"]
    assert buffer.size == 0


async def test_clearing_forgets_what_is_stale_and_nothing_that_is_newer() -> None:
    buffer = PlaybackBuffer(4, 100)
    buffer.put(b"stale stale", 1)
    buffer.put(b"stale", 3)
    buffer.put(b"new", 5)
    buffer.clear(3)
    buffer.put(b"er", 5)
    assert buffer.size == 5
    assert [await buffer.take(), await buffer.take()] == [b"newe", b"r"]


async def test_a_step_belongs_to_one_event() -> None:
    buffer = PlaybackBuffer(4, 100)
    buffer.put(b"ab", 1)
    buffer.put(b"cdef", 2)
    assert [(await buffer.take(), buffer.event_id) for _ in range(2)] == [(b"ab", 1), (b"cdef", 2)]


async def test_above_the_limit_the_newest_goes() -> None:
    buffer = PlaybackBuffer(4, 8)
    assert buffer.put(b"12345678", 1)
    assert not buffer.put(b"9", 1)
    assert (buffer.size, buffer.dropped) == (8, 1)


async def test_waiting_for_the_end_ends_when_the_last_step_is_with_the_speaker_or_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    buffer = PlaybackBuffer(4, 100)
    buffer.put(b"12345678", 1)
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
    buffer.put(b"1234", 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffer.wait_empty)
        await trio.testing.wait_all_tasks_blocked()
        buffer.clear(1)
