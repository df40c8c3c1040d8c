"""A conversation's mouth: the speaker, for a session's speech and for chimes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

import trio

from convaid.audio import AudioFormat, Converter, Gain
from convaid.devices.interfaces import STEP, NoteDevice, Speaker
from convaid.sound.conversion import load_conversion
from convaid.sound.echo.stage import EchoStage, Passing
from convaid.sound.organ import Organ

__all__ = ["Mouth"]

CHIME_PATIENCE = 3.0  # seconds beyond its own length after which a chime is given up


class Mouth(Organ):
    """Says what a session wants to be heard, and sounds chimes between. The speaker is open while one of them wants it.

    It is opened at the rate of the agent's speech; before that is known, at the rate of the session before.
    """

    linger = 1.0  # the next chime, or session, mostly follows

    def __init__(
        self,
        rate: int,
        open_speaker: Callable[[int, NoteDevice], AbstractAsyncContextManager[Speaker]],
        gain: float = 0.0,
        *,
        is_ducked: bool = False,
    ) -> None:
        """``rate``: of the speaker, before a session has said another; ``gain`` in dB.

        ``is_ducked``: the stage will want it louder and softer.
        """
        super().__init__("the speaker")
        self._stage: EchoStage = Passing("none")
        self._open_speaker = open_speaker
        self._decibels = gain
        self._is_ducked = is_ducked
        self._gain = Gain(rate)
        self._rate = rate
        self._format: AudioFormat | None = None
        """Of the session that has it open."""
        self._chimes = 0
        self._is_chiming = False
        self._speaker: Speaker | None = None
        self._converter: Converter | None = None
        """Of the session's speech."""
        self._ready = trio.Event()
        """The speaker is open, at the right rate."""
        self._outdated = trio.Event()
        """The speaker is to be opened anew: at another rate, or another one."""
        self._using = trio.Lock()
        self._drops = 0
        self._waiting = 0.0  # seconds of speech, for the speaker to be there
        self._sounding_until = -math.inf

    @property
    def stage(self) -> EchoStage:
        """What is told of all that is played, and says how loud."""
        return self._stage

    @stage.setter
    def stage(self, stage: EchoStage) -> None:
        self._stage = stage
        if self._speaker is not None:
            self._tap(self._speaker)

    @property
    def is_wanted(self) -> bool:
        return self._format is not None or self._chimes > 0

    @property
    def rate(self) -> int:
        """At which it is opened, or would be."""
        return self._rate

    @contextmanager
    def open(self, audio_format: AudioFormat) -> Iterator[None]:
        """While inside, `write` takes speech of this format; one session at a time. What is not heard by then is not.

        `ConvaidError` if a package is missing that the format takes.
        """
        self._format = audio_format
        try:
            if audio_format.rate != self._rate:
                self._rate = audio_format.rate
                self.renew()
            elif self._speaker is not None:
                self._converter = Converter(audio_format, self._speaker.format)
            self.reconsider()
            yield
        finally:
            self.drop()
            self._format = self._converter = None
            self.reconsider()

    @property
    def held(self) -> float:
        """Seconds of sound that were given to be heard, and have not been yet."""
        return self._waiting + (self._speaker.held if self._speaker is not None else 0.0)

    async def write(self, speech: bytes) -> None:
        """Say some of the session's speech, a step or so; returns when little enough is held that the next may come.

        Waits for the speaker to be opened, and for a chime to end. For one task at a time.
        """
        assert self._format is not None, "a session has it open"
        drops, self._waiting = self._drops, self._format.seconds_of(len(speech))
        try:
            while self._waiting and self._drops == drops:
                if not self._ready.is_set():
                    await self._ready.wait()
                async with self._using:
                    if self._ready.is_set() and self._drops == drops and self._speaker and self._converter:
                        self._waiting = 0.0
                        await self._sound(self._speaker, self._converter.convert(speech))
        finally:
            self._waiting = 0.0

    def drop(self) -> None:
        """Be silent at once: what is held, or is being written, is not heard any more."""
        self._drops += 1
        self._waiting = 0.0
        if self._converter is not None:
            self._converter.flush()
        if self._speaker is not None:
            self._speaker.drop()

    async def drain(self) -> None:
        """Return when all that was written has been heard. The caller bounds it: a device may be stuck."""
        async with self._using:
            if self._speaker is not None and self._converter is not None:
                await self._sound(self._speaker, self._converter.flush())
                await self._speaker.drain()

    async def play_chime(self, pcm: bytes, rate: int) -> None:
        """Have s16le samples heard, which no session has to do with; returns when they have been, or cannot be."""
        audio_format = AudioFormat("pcm", rate)
        self._chimes += 1
        self.reconsider()
        try:
            with trio.move_on_after(audio_format.seconds_of(len(pcm)) + CHIME_PATIENCE):
                await self._ready.wait()
                async with self._using:
                    if self._speaker is not None:
                        await self._chime(self._speaker, audio_format, pcm)
        finally:
            self._chimes -= 1
            self.reconsider()

    @property
    def is_chiming(self) -> bool:
        """Whether a chime sounds."""
        return self._is_chiming

    def silent_for(self) -> float:
        """Seconds since the last sound has left the speaker; 0 while it sounds, infinite where it never did."""
        now = trio.current_time()
        if self._speaker is not None and (held := self._speaker.held) > 0:
            self._sounding_until = now + held
        return max(0.0, now - self._sounding_until)

    def renew(self) -> None:
        self._unready()
        self._outdated.set()

    async def serve(self) -> None:
        try:
            rate, self._outdated = self._rate, trio.Event()
            async with self._open_speaker(rate, self.note) as speaker:
                wanted = self._format or AudioFormat("pcm", rate)
                await load_conversion(wanted, speaker.format, is_scaled=bool(self._decibels) or self._is_ducked)
                self._gain = Gain(speaker.format.rate, self._decibels, has_changes=self._is_ducked)
                if self._format is not None:
                    self._converter = Converter(self._format, speaker.format)
                self._tap(speaker)
                self._speaker = speaker
                if not self._outdated.is_set():
                    self._ready.set()
                await self._outdated.wait()
                async with self._using:  # a chime is heard to its end
                    pass
        finally:
            self.silent_for()  # takes note
            self._speaker = self._converter = None
            self._unready()

    def _unready(self) -> None:
        if self._ready.is_set():
            self._ready = trio.Event()

    async def _chime(self, speaker: Speaker, audio_format: AudioFormat, pcm: bytes) -> None:
        converter, size = Converter(audio_format, speaker.format), audio_format.bytes_for(STEP)
        self._is_chiming, drops = True, self._drops
        try:
            for place in range(0, len(pcm), size):
                if self._drops != drops:
                    return
                await self._sound(speaker, converter.convert(pcm[place : place + size]))
            await self._sound(speaker, converter.flush())
            await speaker.drain()
        finally:
            self._is_chiming = False

    async def _sound(self, speaker: Speaker, pcm: bytes) -> None:
        if not pcm:
            return
        self._gain.change(self.stage.playback_gain)
        self.pulse.attach()
        try:
            await speaker.write(self._gain.apply(pcm))
        finally:
            self.pulse.rest()
            self.silent_for()  # takes note

    def _tap(self, speaker: Speaker) -> None:
        speaker.tap(self._stage.note_played if self._stage.learns else None)
