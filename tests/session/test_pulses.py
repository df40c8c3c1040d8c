"""The pulses of a session's tasks: on time as long as they move, overdue when one hangs."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from convaid.protocol.from_agent import Audio, ConversationInitiationMetadata, Ping
from convaid.session.speech import Speech
from convaid.speech_buffers import Preroll

from ..sound.fakes import FakeSound
from .test_session import Talk, talk

PATIENCE = 1.0  # seconds that a task may be late here


def find_late(held: Talk) -> list[str]:
    """Which tasks hang."""
    now = trio.current_time()
    return [pulse.name for pulse in held.session.pulses if now > pulse.due + PATIENCE]


async def test_a_session_that_is_idle_for_an_hour_does_not_hang(autojump_clock: trio.testing.MockClock) -> None:
    async with talk() as held:
        await held.platform.begin()
        for _ in range(60):
            await trio.sleep(60)
            assert find_late(held) == []
        held.stop.set()
        await held.over.wait()
        assert find_late(held) == []


async def test_a_reader_that_hangs_is_late(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talk() as held:
        await held.platform.begin()
        await trio.testing.wait_all_tasks_blocked()
        # A reader may wait at the wire alone; this is one that waits elsewhere after its next message.
        receive = held.session.link.receive

        async def hang() -> object:
            frame = await receive()
            held.session._reading.beat()
            await trio.sleep_forever()
            return frame

        monkeypatch.setattr(held.session.link, "receive", hang)
        held.platform.say(Ping(1))
        held.platform.say(Ping(2))
        await trio.sleep(3)
        assert find_late(held) == ["the reader"]


async def test_a_stuck_speaker_is_late_and_a_silent_microphone_is_not(autojump_clock: trio.testing.MockClock) -> None:
    metadata = ConversationInitiationMetadata("conv_1", "pcm_16000", "pcm_16000")
    sound = FakeSound()
    sound.speaker.is_stuck = True
    speech = Speech(
        metadata,
        0.04,
        sound,
        Preroll(0),
        send_chunk=lambda chunk, came_at, is_preroll: None,
        note_speaking=lambda is_speaking: None,
        note_user=lambda: None,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        nursery.start_soon(speech.run)
        with sound.ear.attend(lambda block: None):
            await trio.sleep(100)
            assert not [pulse.name for pulse in (*speech.pulses, *sound.pulses) if pulse.due < trio.current_time()]
            speech.play(Audio("AAAA" * 1000, 1))
            await trio.sleep(2)
        now = trio.current_time()
        assert [pulse.name for pulse in (*speech.pulses, *sound.pulses) if now > pulse.due + PATIENCE] == [
            "the speaker"
        ]
        nursery.cancel_scope.cancel()
