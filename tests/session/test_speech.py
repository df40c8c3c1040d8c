"""A session's speech: pre-roll, what has been heard, interruptions, the tail."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import repeat

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from convaid import events
from convaid.config import LimitsConfig, SpeechConfig
from convaid.devices import DeviceError
from convaid.protocol.endings import Cause, SessionEnd
from convaid.protocol.from_agent import AgentResponse, Interruption, UserTranscript
from convaid.protocol.to_agent import ConversationInitiationClientData, UserAudio
from convaid.session import Session
from convaid.speech_buffers import Preroll

from ..sound.fakes import FakeSound, make_settings
from .platform import Platform
from .test_session import OneTool, answer_ok

LOUD = b"\x01\x00" * 320
STALE, NEWER = b"\x02\x00", b"\x03\x00"


@define(eq=False)
class Voice:
    """A running session by voice."""

    session: Session
    platform: Platform
    sound: FakeSound
    preroll: Preroll
    seen: list[events.Event] = field(factory=list)
    end: SessionEnd | None = None
    over: trio.Event = field(factory=trio.Event)

    def of_kind(self, kind: type) -> list[events.Event]:
        return [event for event in self.seen if isinstance(event, kind)]

    def say(self, samples: bytes, seconds: float, event_id: int) -> None:
        audio = base64.b64encode(samples * round(seconds * 16000)).decode()
        self.platform.say_raw(  # also what is stale, which a platform may not send
            json.dumps({"type": "audio", "audio_event": {"audio_base_64": audio, "event_id": event_id}})
        )

    def take_audio(self) -> bytes:
        """What has been sent of the microphone so far."""
        audio = b""
        while True:
            try:
                message = self.platform.side.receive(self.platform.link.from_us.receive_nowait())
            except trio.WouldBlock:
                return audio
            if isinstance(message, UserAudio):
                audio += base64.b64decode(message.user_audio_chunk)


@asynccontextmanager
async def speak(sound: FakeSound, limits: LimitsConfig | None = None, before: float = 0.0) -> AsyncIterator[Voice]:
    """Hold a session by voice, to whose beginning the user has had ``before`` seconds."""
    platform, preroll, seen = Platform(), Preroll(3 * 32000), list[events.Event]()
    session = Session("main", platform.link, limits or LimitsConfig(), OneTool(answer_ok), seen.append, sound, preroll)
    held = Voice(session, platform, sound, preroll, seen)

    async def run() -> None:
        with sound.ear.attend(preroll.put):
            await trio.sleep(before)
            held.end = await session.run(ConversationInitiationClientData(), {}, trio.Event(), 3.0)
        held.over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        nursery.start_soon(run)
        yield held
        nursery.cancel_scope.cancel()


async def test_what_was_said_while_connecting_goes_first_and_at_once(autojump_clock: MockClock) -> None:
    async with speak(FakeSound(repeat(LOUD)), before=2.0) as held:
        await held.platform.begin()
        await trio.sleep(0.001)
        assert len(held.take_audio()) / 32000 == pytest.approx(2.0, abs=0.05)
        await trio.sleep(1.0)
        audio = held.take_audio()
        assert len(audio) / 32000 == pytest.approx(1.0, abs=0.05)
        assert audio.count(b"\x01\x00") == len(audio) // 2
        assert max(held.session.audio_ages) == 0.0  # of what is no pre-roll


async def test_a_long_preroll_loses_its_oldest(autojump_clock: MockClock) -> None:
    async with speak(FakeSound(repeat(LOUD)), before=8.0) as held:
        await held.platform.begin()
        await trio.sleep(0.001)
        assert len(held.take_audio()) / 32000 == pytest.approx(3.0, abs=0.05)
        assert held.session.count_losses() == {}


async def test_muted_the_upload_goes_on_with_zeros(autojump_clock: MockClock) -> None:
    async with speak(FakeSound(repeat(LOUD))) as held:
        await held.platform.begin()
        await trio.sleep(1)
        held.take_audio()
        held.sound.ear.is_muted = True
        await trio.sleep(1)
        audio = held.take_audio()
        assert not held.sound.microphone.is_open
        assert len(audio) / 32000 == pytest.approx(1.0, abs=0.05)
        assert audio.count(b"\x01\x00") <= 640  # of the chunk that had begun
        held.sound.ear.is_muted = False
        await trio.sleep(1)
        assert held.take_audio().count(b"\x01\x00") == pytest.approx(16000, abs=1300)


async def test_an_interruption_silences_what_is_stale_and_nothing_newer(autojump_clock: MockClock) -> None:
    async with speak(FakeSound(repeat(LOUD))) as held:
        await held.platform.begin()
        held.platform.say(AgentResponse("one two three four", 5))
        held.say(STALE, 2.0, 5)
        await trio.sleep(1.0)
        held.platform.say(Interruption(5))
        held.say(STALE, 1.0, 5)
        held.say(NEWER, 0.5, 6)
        await trio.sleep(2.0)
        heard = bytes(held.sound.speaker.heard)
        assert heard.count(STALE) / 16000 == pytest.approx(1.0, abs=0.03)
        assert heard.count(NEWER) / 16000 == 0.5
        (interrupted,) = held.of_kind(events.SpeechInterrupted)
        assert isinstance(interrupted, events.SpeechInterrupted)
        assert interrupted.seconds == pytest.approx(1.0, abs=0.03)
        (cut,) = interrupted.heard
        assert (cut.event_id, cut.text) == (5, "one two")
        assert cut.seconds == pytest.approx(1.0, abs=0.03)


async def test_newer_speech_that_came_before_the_interruption_is_not_lost(autojump_clock: MockClock) -> None:
    async with speak(FakeSound(repeat(LOUD))) as held:
        await held.platform.begin()
        held.say(STALE, 2.0, 5)
        held.say(NEWER, 0.5, 6)
        await trio.sleep(1.0)
        held.platform.say(Interruption(5))
        await trio.sleep(2.0)
        heard = bytes(held.sound.speaker.heard)
        assert heard.count(STALE) / 16000 == pytest.approx(1.0, abs=0.03)
        assert heard.count(NEWER) / 16000 == 0.5


async def test_a_local_interruption_does_the_same_without_the_platform(autojump_clock: MockClock) -> None:
    async with speak(FakeSound(repeat(LOUD))) as held:
        await held.platform.begin()
        held.say(STALE, 2.0, 5)
        await trio.sleep(1.0)
        assert held.session.silence() == pytest.approx(1.0, abs=0.03)
        assert held.sound.mouth.held == 0.0
        held.say(STALE, 1.0, 5)
        held.say(NEWER, 0.5, 6)
        await trio.sleep(2.0)
        heard = bytes(held.sound.speaker.heard)
        assert heard.count(STALE) / 16000 == pytest.approx(1.0, abs=0.03)
        assert heard.count(NEWER) / 16000 == 0.5
        assert held.session.side.counts["stale audio"] == 1


async def test_an_end_by_the_agent_is_heard_to_the_end(autojump_clock: MockClock) -> None:
    async with speak(FakeSound(repeat(LOUD))) as held:
        await held.platform.begin()
        held.say(STALE, 3.0, 1)
        held.platform.close(1000)
        began = trio.current_time()
        await held.over.wait()
        assert trio.current_time() - began == pytest.approx(3.0, abs=0.05)
        assert bytes(held.sound.speaker.heard).count(STALE) == 48000
        assert held.end is not None
        assert held.end.cause is Cause.ENDED_BY_AGENT
        assert held.session.heard == ()


async def test_an_end_that_cuts_the_agent_off_says_how_far_it_was_heard(autojump_clock: MockClock) -> None:
    async with speak(FakeSound(repeat(LOUD))) as held:
        await held.platform.begin()
        held.say(STALE, 3.0, 1)
        await trio.sleep(1.0)
        held.platform.close(1006)
        await held.over.wait()
        (cut,) = held.session.heard
        assert (cut.event_id, cut.seconds) == (1, pytest.approx(1.0, abs=0.03))
        assert len(held.sound.speaker.heard) / 32000 == pytest.approx(1.0, abs=0.03)


async def test_a_stuck_speaker_does_not_hold_up_the_end(autojump_clock: MockClock) -> None:
    sound = FakeSound(repeat(LOUD))
    sound.speaker.is_stuck = True
    async with speak(sound) as held:
        await held.platform.begin()
        held.say(STALE, 3.0, 1)
        held.platform.close(1000)
        began = trio.current_time()
        await held.over.wait()
        assert trio.current_time() - began < 6


async def test_the_agent_is_heard_to_begin_and_to_fall_silent(autojump_clock: MockClock) -> None:
    async with speak(FakeSound(repeat(LOUD))) as held:
        await held.platform.begin()
        held.say(STALE, 1.0, 1)
        await trio.sleep(3)
        speaking = held.of_kind(events.AgentSpeaking)
        assert [event.is_speaking for event in speaking if isinstance(event, events.AgentSpeaking)] == [True, False]


async def test_the_agent_that_hears_itself_is_told(autojump_clock: MockClock) -> None:
    async with speak(FakeSound(repeat(LOUD))) as held:
        await held.platform.begin()
        held.platform.say(AgentResponse("The weather in Berlin is fine today, and warm.", 1))
        held.say(STALE, 2.0, 1)
        await trio.sleep(1)
        held.platform.say(UserTranscript("What about Hamburg, then, is it fine as well?", 2))
        held.platform.say(UserTranscript("the weather in berlin is fine today and warm", 3))
        await trio.testing.wait_all_tasks_blocked()
        assert [event.text for event in held.of_kind(events.SelfHeard) if isinstance(event, events.SelfHeard)] == [
            "the weather in berlin is fine today and warm"
        ]


async def test_no_device_is_no_session(autojump_clock: MockClock) -> None:
    async with speak(FakeSound(failure=DeviceError("pip install it"))) as held:
        await held.platform.begin()
        await held.over.wait()
        assert held.end is not None
        assert (held.end.cause, held.end.detail) == (Cause.NO_SOUND, "pip install it")


async def test_a_microphone_that_is_lost_is_silence_and_nothing_else(autojump_clock: MockClock) -> None:
    blocks = iter([LOUD] * 50 + [b""] * 100 + [LOUD] * 1000)
    async with speak(FakeSound(blocks)) as held:
        await held.platform.begin()
        await trio.sleep(4)
        audio = held.take_audio()
        assert len(audio) / 32000 == pytest.approx(4.0, abs=0.1)
        assert audio.count(b"\x01\x00") / 16000 == pytest.approx(2.0, abs=0.1)
        assert held.end is None


async def test_speech_that_is_heard_here_is_a_sign_of_life(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Detector:
        def __init__(self, audio_format: object) -> None:
            pass

        def hear(self, pcm: bytes) -> bool:
            return trio.current_time() < began + 60

    monkeypatch.setattr("convaid.sound.vad.SpeechDetector", Detector)
    settings = make_settings(SpeechConfig(vad=True))
    began = trio.current_time()
    async with speak(FakeSound(repeat(LOUD), settings), LimitsConfig(idle=20.0)) as held:
        await held.platform.begin()
        await held.over.wait()
        assert trio.current_time() - began == pytest.approx(80, abs=2)
