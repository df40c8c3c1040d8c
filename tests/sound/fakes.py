"""A microphone and a speaker in memory, for tests with a clock that can be moved."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import define, field

import convaid.audio.arithmetic  # noqa: F401 - it would be imported in a thread, which moves this clock
from convaid.audio import AudioFormat
from convaid.config import ChimesConfig, ConversationConfig, SpeechConfig, WavConfig
from convaid.devices import DeviceNote, NoteDevice
from convaid.errors import ConvaidError
from convaid.sound.sound import Sound

PCM = AudioFormat("pcm", 16000)


@define(eq=False)
class FakeMicrophone:
    """Gives a block every ``interval`` seconds, if there is one; nothing for empty ones, and at their end."""

    blocks: Iterator[bytes]
    interval: float = 0.02
    format: AudioFormat = PCM
    age: float = 0.0
    is_open: bool = False
    opened: int = 0
    note: NoteDevice = field(default=lambda note: None)

    async def read(self) -> bytes:
        while True:
            await trio.sleep(self.interval)
            if block := next(self.blocks, b""):
                return block


@define(eq=False)
class FakeSpeaker:
    """Plays in real time; ``played`` is what was given to it, ``heard`` what was not dropped."""

    format: AudioFormat = PCM
    is_open: bool = False
    opened: int = 0
    rate: int = 0
    is_stuck: bool = False
    heard: bytearray = field(factory=bytearray)
    drops: int = 0
    until: float = 0.0
    take: Callable[[bytes, int], None] | None = None
    _dropped: trio.Event = field(factory=trio.Event)
    note: NoteDevice = field(default=lambda note: None)

    @property
    def held(self) -> float:
        return max(0.0, self.until - trio.current_time())

    async def write(self, pcm: bytes) -> None:
        if self.is_stuck:
            await trio.sleep_forever()
        self.until = max(self.until, trio.current_time()) + self.format.seconds_of(len(pcm))
        self.heard += pcm
        if self.take is not None:
            self.take(pcm, self.format.rate)
        with trio.move_on_after(max(0.0, self.held - 0.1)):
            await self._dropped.wait()

    def drop(self) -> None:
        size = min(len(self.heard), self.format.bytes_for(self.held))
        del self.heard[len(self.heard) - size :]
        self.until = 0.0
        self.drops += 1
        self._dropped.set()
        self._dropped = trio.Event()

    async def drain(self) -> None:
        await trio.sleep(self.held)

    def tap(self, take: Callable[[bytes, int], None] | None) -> None:
        self.take = take


class FakeSound(Sound):
    """A sound whose devices are in memory."""

    def __init__(
        self,
        blocks: Iterable[bytes] = (),
        settings: ConversationConfig | None = None,
        *,
        failure: ConvaidError | None = None,
        speaker_failure: ConvaidError | None = None,
        delay: float = 0.0,
    ) -> None:
        """``failure``: of the microphone's opening, or the speaker's. ``delay``: seconds that either takes to open."""
        self.microphone = FakeMicrophone(iter(blocks))
        self.speaker = FakeSpeaker()
        self.failure = failure
        self.speaker_failure = speaker_failure
        self.delay = delay
        super().__init__("main", settings or make_settings(), WavConfig())

    @asynccontextmanager
    async def _open_microphone(self, note: NoteDevice) -> AsyncIterator[FakeMicrophone]:
        await self._settled.wait()
        await trio.sleep(self.delay)
        if self.failure is not None:
            raise self.failure
        note(DeviceNote("microphone", "open", "fake"))
        self.microphone.note, self.microphone.is_open = note, True
        self.microphone.opened += 1
        try:
            yield self.microphone
        finally:
            self.microphone.is_open = False

    @asynccontextmanager
    async def _open_speaker(self, rate: int, note: NoteDevice) -> AsyncIterator[FakeSpeaker]:
        await trio.sleep(self.delay)
        if self.speaker_failure is not None:
            raise self.speaker_failure
        note(DeviceNote("speaker", "open", "fake"))
        self.speaker.note, self.speaker.is_open, self.speaker.rate = note, True, rate
        self.speaker.opened += 1
        try:
            yield self.speaker
        finally:
            self.speaker.is_open = False


def make_settings(speech: SpeechConfig | None = None, chimes: ChimesConfig | None = None) -> ConversationConfig:
    """A conversation's settings, with these of its sound."""
    return ConversationConfig(
        agent_id="agent",
        audio="wav",
        wav=WavConfig(Path("x")),
        echo="none",
        speech=speech or SpeechConfig(),
        chimes=chimes or ChimesConfig(),
    )
