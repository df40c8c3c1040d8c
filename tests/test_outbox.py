"""What waits to be sent: control first and all of it, audio after it and bounded."""

from __future__ import annotations

import trio
import trio.testing

from convaid.outbox import AUDIO_LIMIT, Outbox


async def test_control_goes_ahead_of_queued_audio() -> None:
    outbox = Outbox()
    outbox.put_audio("audio 1")
    outbox.put("pong")
    outbox.put_audio("audio 2")
    assert [await outbox.take() for _ in range(3)] == ["pong", "audio 1", "audio 2"]


async def test_the_oldest_audio_goes_and_is_counted_and_control_stays() -> None:
    outbox = Outbox()
    for number in range(AUDIO_LIMIT + 3):
        outbox.put_audio(f"{number}")
        outbox.put(f"control {number}")
    taken = [await outbox.take() for _ in range(2 * AUDIO_LIMIT + 3)]
    assert taken[: AUDIO_LIMIT + 3] == [f"control {number}" for number in range(AUDIO_LIMIT + 3)]
    assert taken[AUDIO_LIMIT + 3 :] == [f"{number}" for number in range(3, AUDIO_LIMIT + 3)]
    assert outbox.audio_dropped == 3


async def test_sent_means_taken_and_asked_for_the_next(autojump_clock: trio.testing.MockClock) -> None:
    outbox = Outbox()
    outbox.put("frame")
    waits: list[str] = []

    async def wait() -> None:
        await outbox.wait_sent()
        waits.append("sent")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert await outbox.take() == "frame"
        await trio.testing.wait_all_tasks_blocked()
        assert not waits  # it is on its way, not sent
        nursery.start_soon(outbox.take)
        await trio.testing.wait_all_tasks_blocked()
        assert waits == ["sent"]
        nursery.cancel_scope.cancel()


async def test_nothing_to_send_is_sent() -> None:
    with trio.fail_after(1):
        await Outbox().wait_sent()
