"""What waits to be sent: pongs first, all control frames, and audio in between, which is bounded."""

from __future__ import annotations

import trio
import trio.testing

from convaid.outbox import AUDIO_LIMIT, Outbox


async def test_pongs_go_first_and_neither_results_nor_audio_holds_up_the_other() -> None:
    outbox = Outbox()
    for number in range(1, 4):
        outbox.put_audio(f"audio {number}")
    for number in range(1, 3):
        outbox.put(f"result {number}")
    outbox.put_pong("pong 1")
    outbox.put_pong("pong 2")
    taken = [await outbox.take() for _ in range(7)]
    assert taken == ["pong 1", "pong 2", "audio 1", "result 1", "audio 2", "result 2", "audio 3"]


async def test_the_oldest_audio_goes_and_is_counted_and_control_stays() -> None:
    outbox = Outbox()
    for number in range(AUDIO_LIMIT + 3):
        outbox.put_audio(f"{number}")
        outbox.put(f"control {number}")
    taken = [await outbox.take() for _ in range(2 * AUDIO_LIMIT + 3)]
    assert [frame for frame in taken if "control" in frame] == [f"control {n}" for n in range(AUDIO_LIMIT + 3)]
    assert [frame for frame in taken if "control" not in frame] == [f"{n}" for n in range(3, AUDIO_LIMIT + 3)]
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


async def test_preroll_goes_first_and_drops_nothing_and_is_dropped_before_what_is_newer() -> None:
    outbox = Outbox()
    for number in range(AUDIO_LIMIT * 2):
        outbox.put_audio(f"early {number}", is_preroll=True)
    for number in range(AUDIO_LIMIT):
        outbox.put_audio(f"{number}")
    assert outbox.audio_dropped == 0
    assert await outbox.take() == "early 0"
    outbox.put_audio("one too many")
    assert outbox.audio_dropped == AUDIO_LIMIT * 2  # the rest of the pre-roll, and the oldest of what is live
    assert await outbox.take() == "1"


async def test_ages_are_those_at_sending(autojump_clock: trio.testing.MockClock) -> None:
    outbox = Outbox()
    outbox.put_audio("silence")
    outbox.put_audio("speech", trio.current_time())
    await trio.sleep(0.5)
    for _ in range(2):
        await outbox.take()
    assert list(outbox.audio_ages) == [0.5]
