"""The sound of one conversation: its ear, its mouth, and what keeps them apart."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

import attrs
import trio

from convaid.audio import AudioFormat
from convaid.config import AudioConfig, ConversationConfig, DeviceConfig
from convaid.devices import DeviceNote, Microphone, NoteDevice, Speaker, open_microphone, open_speaker
from convaid.devices.offered import PluginDevices
from convaid.errors import ConvaidError
from convaid.pulse import Pulse
from convaid.sound.chimes import Chime, load_chime
from convaid.sound.ear import Ear
from convaid.sound.echo import EchoChoice, EchoStage, choose_mode, make_stage
from convaid.sound.echo.gate import Gate
from convaid.sound.mouth import Mouth
from convaid.sound.organ import Organ
from convaid.sound.status import AudioAge, DeviceStatus, SoundStatus

__all__ = ["Sound"]

log = logging.getLogger(__name__)

Devices: TypeAlias = AudioConfig | PluginDevices

SETTLED_FOR = 10.0  # seconds after which a microphone that is opened is a reason to look again
LONGEST_BLOCK = 0.05  # seconds of a microphone's: it is woken up for each, and what listens to it waits for it
CHIMES_LIMIT = 10.0  # seconds that the end waits for the chimes to be heard


class Sound:
    """Ear and mouth of one conversation, for as long as it is kept: across sessions, and while there is none."""

    def __init__(self, name: str, settings: ConversationConfig, devices: Devices) -> None:
        """``name``: the conversation's, for the log. ``devices``: what ``settings.audio`` names."""
        self.name = name
        self.settings = settings
        speech = settings.speech
        self.mouth = Mouth(speech.rate, self._open_speaker, speech.speaker_gain, is_ducked=settings.echo == "duck")
        self.ear = Ear(
            AudioFormat("pcm", speech.rate),
            self._open_microphone,
            is_disturbed=lambda: self.mouth.is_chiming,
            gain=speech.microphone_gain,
        )
        self._devices = devices
        self._choice: EchoChoice | None = None
        self._failure: ConvaidError | None = None  # why nothing can be chosen
        self._settled = trio.Event()
        self._settled_at = -math.inf
        self._unsettled = trio.Event()
        self._lost: set[str] = set()
        self._observe: Callable[[DeviceNote], None] = lambda note: None
        self.ear.observe = self.mouth.observe = self._note
        self._wishes, self._wished = trio.open_memory_channel[Chime](2)
        self._chimes = 0  # that are wished for, and have not been heard yet
        self._chimed = trio.Event()

    async def run(self) -> None:
        """Keep both organs, and sound the chimes, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.ear.run)
            nursery.start_soon(self.mouth.run)
            nursery.start_soon(self._keep_settled)
            nursery.start_soon(self._keep_chiming)

    def observe(self, observe: Callable[[DeviceNote], None]) -> None:
        """Have somebody told what becomes of the devices, each change once, on this loop."""
        self._observe = observe

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        """Those of its tasks that must never hang."""
        return (self.ear.pulse, self.mouth.pulse)

    async def wait_failure(self) -> ConvaidError:
        """Wait until microphone or speaker turns out not to be there to be opened, and return why."""
        failures: list[ConvaidError] = []

        async def wait(organ: Organ) -> None:
            failures.append(await organ.wait_failure())
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, self.ear)
            nursery.start_soon(wait, self.mouth)
        return failures[0]

    def chime(self, chime: Chime) -> None:
        """Have a chime heard, if the configuration has one; returns at once."""
        if getattr(self.settings.chimes, chime) == "none":
            return
        try:
            self._wishes.send_nowait(chime)
            self._chimes += 1
        except trio.WouldBlock:
            log.info("%s: too many chimes at once: that of %s is left out", self.name, chime)

    async def finish(self) -> None:
        """Wait, for a while, until all chimes have been heard."""
        with trio.move_on_after(CHIMES_LIMIT):
            while self._chimes:
                self._chimed = trio.Event()
                await self._chimed.wait()

    def describe(self, ages: Collection[float] = ()) -> SoundStatus:
        """How it is now; ``ages`` are those of the latest chunks of microphone audio when they were sent."""
        return SoundStatus(
            describe_organ(self.ear),
            describe_organ(self.mouth),
            self._choice.mode if self._choice else "",
            self._choice.why if self._choice else "",
            self.mouth.held,
            AudioAge.measure(ages),
        )

    async def _keep_chiming(self) -> None:
        async for chime in self._wished:
            try:
                load = functools.partial(load_chime, chime, self.settings.chimes, self.mouth.rate)
                pcm, rate = await trio.to_thread.run_sync(load, abandon_on_cancel=True)  # a file's disk may hang
                await self.mouth.play_chime(pcm, rate)
            except ConvaidError as error:
                log.warning("%s: the chime of %s: %s", self.name, chime, error)
            finally:
                self._chimes -= 1
                self._chimed.set()

    async def _keep_settled(self) -> None:
        """Settle how the agent is kept from hearing itself, and again whenever that may have changed."""
        while True:
            self._unsettled = trio.Event()
            try:
                choice = await choose_mode(self.settings)
                if choice != self._choice:
                    log.info('%s: echo = "%s": %s', self.name, choice.mode, choice.why)
                    await self._take_on(choice)
                self._failure = None
            except ConvaidError as error:
                self._failure, self._choice = error, None
                self.ear.renew()
            self._settled_at = trio.current_time()
            self._settled.set()
            await self._unsettled.wait()

    async def _take_on(self, choice: EchoChoice) -> None:
        before, self._choice = self._choice, choice
        arguments = (choice.mode, self.settings.speech, self.ear.format, self.mouth.silent_for)
        if choice.mode == "aec" or self.settings.speech.vad:  # packages that take their time
            self._use(Gate(self.ear.format, self.settings.speech.echo_tail, self.mouth.silent_for))
            self._settled.set()
            self._use(await trio.to_thread.run_sync(make_stage, *arguments))
        else:
            self._use(make_stage(*arguments))
        if before is not None and (before.microphone, before.speaker) != (choice.microphone, choice.speaker):
            self.ear.renew()
            self.mouth.renew()

    def _use(self, stage: EchoStage) -> None:
        self.ear.stage = self.mouth.stage = stage

    def _note(self, note: DeviceNote) -> None:
        """A device that comes back may come from another sound server, or the same with other modules."""
        if note.state == "lost":
            self._lost.add(note.role)
        elif note.role in self._lost:
            self._lost.remove(note.role)
            self._unsettled.set()
        self._observe(note)

    @asynccontextmanager
    async def _open_microphone(self, note: NoteDevice) -> AsyncIterator[Microphone]:
        await self._settled.wait()
        if trio.current_time() > self._settled_at + SETTLED_FOR:
            self._unsettled.set()
        if self._failure is not None:
            raise self._failure
        devices = put_first(self._devices, "microphone", self._choice.microphone if self._choice else "")
        chunk = self.settings.limits.chunk
        block = chunk if chunk <= LONGEST_BLOCK else chunk / 2
        async with open_microphone(devices, self.ear.format.rate, note, block) as microphone:
            yield microphone

    @asynccontextmanager
    async def _open_speaker(self, rate: int, note: NoteDevice) -> AsyncIterator[Speaker]:
        if isinstance(self._devices, DeviceConfig):
            await self._settled.wait()
        devices = put_first(self._devices, "speaker", self._choice.speaker if self._choice else "")
        async with open_speaker(devices, rate, note) as speaker:
            yield speaker


def put_first(devices: Devices, role: Literal["microphone", "speaker"], pattern: str) -> Devices:
    """``devices``, but that one which ``pattern`` finds comes before the others, if there is a pattern."""
    if not pattern or not isinstance(devices, DeviceConfig):
        return devices
    if role == "microphone":
        return attrs.evolve(devices, microphone=[pattern, *devices.microphone])
    return attrs.evolve(devices, speaker=[pattern, *devices.speaker])


def describe_organ(organ: Organ) -> DeviceStatus:
    """How its device is."""
    if organ.failure is not None:
        return DeviceStatus("failed", "", str(organ.failure))
    if organ.state is not None:
        return DeviceStatus(organ.state.state, organ.state.device, organ.state.detail)
    return DeviceStatus("opening" if organ.is_wanted else "closed", "", "")
