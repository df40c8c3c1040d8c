"""A device that is kept: opened, watched, and opened again for as long as it takes, whatever its kind."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal, NoReturn, TypeAlias

import trio

from convaid.audio import AudioFormat
from convaid.devices.interfaces import HELD_LIMIT, STEP, DeviceNote, NoteDevice, Role
from convaid.devices.ring import CaptureRing, PlaybackRing, Tap

__all__ = ["KeptDevice", "KeptMicrophone", "KeptSpeaker", "Life", "Opened", "keep_microphone"]

log = logging.getLogger(__name__)

Opened: TypeAlias = Callable[[str], None]
"""Is told the name of a device as soon as it is open."""
Life: TypeAlias = Callable[[Opened], Awaitable[str]]
"""Opens a device and is its life; cancelled, it closes it. Returns what went wrong, in words, or "" where
it has done its work and the next one is to begin."""

FIRST_DELAY = 0.25  # seconds before a device that was lost is opened again; doubled each time, up to the longest
LONGEST_DELAY = 10.0
STABLE_AFTER = 5.0  # seconds that a device must be open to count as well again
START_LIMIT = 5.0  # seconds from a device's opening to its first block: servers and programs take their time
BLOCK_LIMIT = 1.0  # seconds without a block, later on: it is lost
LOOK_INTERVAL = 0.2  # seconds between two looks at it
LONGEST_SILENCE = 600.0  # seconds: a microphone that stays silent is opened again after ever longer times, up to this
LEAST_AHEAD = 2 * STEP  # seconds of speech that wait for a device, however much it takes ahead itself


class KeptDevice:
    """Keeps one device open, life after life. ``ring`` is where its sound comes from, or goes to.

    A device is lost when its life is over, when there is no block for a second, and, a microphone, when it gives
    nothing but zeros for ``silence_limit``. Each change is noted once, for whoever tells people; what is tried in
    between is for the log, at debug.
    """

    def __init__(
        self,
        role: Role,
        live: Life,
        ring: CaptureRing | PlaybackRing,
        note: NoteDevice,
        silence_limit: float = math.inf,
    ) -> None:
        self.is_lost = False
        """It has been lost and is not back: what is written now goes unheard."""
        self._role: Role = role
        self._live = live
        self._ring = ring
        self._note = note
        self._silence_limit = self._patience = silence_limit
        self._told: DeviceNote | None = None
        self._name = ""
        self._opened_at = math.inf
        self._loss = ""  # of this life
        self._life = trio.CancelScope()
        self._is_restarting = self._is_resting = False
        self._is_troubled = False  # it was lost, and has not been well for long enough since
        self._is_repeated = False  # and was so when it was lost last
        self._lost_at = math.inf
        self._delay = FIRST_DELAY

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Keeps the device while inside. What is raised inside comes out as it is."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep, name=f"keep the {self._role}")
                yield
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
                error = error.exceptions[0]
            raise error from error.__cause__

    async def _keep(self) -> NoReturn:
        """Opens the device again and again, until cancelled."""
        while True:
            await self._live_once()
            if self._is_restarting or not self._loss:
                continue
            self._note_loss()
            await trio.sleep(self._delay)
            self._delay = min(self._delay * 2, LONGEST_DELAY)

    def restart(self) -> None:
        """Ends this life at once, and begins the next without delay: how a device forgets that knows no other way."""
        self._is_restarting = True
        self._life.cancel()

    def rest(self) -> None:
        """No more blocks are to be expected of this life, which ends by itself."""
        self._is_resting = True

    async def _live_once(self) -> None:
        self._loss, self._name, self._opened_at = "", "", math.inf
        self._is_restarting = self._is_resting = False

        def note_opening(name: str) -> None:
            self._opened_at, self._name = trio.current_time(), name
            nursery.start_soon(self._watch)

        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as self._life:
                loss = await self._live(note_opening)
                self._loss = self._loss or loss
            nursery.cancel_scope.cancel()

    async def _watch(self) -> None:
        """Sees whether blocks flow, and whether there is anything in them; ends the life where that is not so."""
        seen, limit, interval, waited = self._ring.blocks, START_LIMIT, STEP, 0.0
        while waited < limit - interval:
            await trio.sleep(interval)
            if self._ring.blocks == seen:
                waited += 0 if self._is_resting else interval
                continue
            seen, limit, interval, waited = self._ring.blocks, BLOCK_LIMIT, LOOK_INTERVAL, 0.0
            self._note_block()
        self._loss = f"{'gave' if self._role == 'microphone' else 'took'} nothing for {limit:g} s"
        self._note_loss()  # now: to close what hangs takes a while
        self._life.cancel()

    def _note_block(self) -> None:
        silence = self._ring.format.seconds_of(2 * self._ring.zeros) if isinstance(self._ring, CaptureRing) else 0.0
        if not silence:
            self._patience = self._silence_limit
        if silence >= self._patience:
            self._patience = min(2 * self._patience, LONGEST_SILENCE)
            words = f"gives nothing but zeros for {silence:.0f} s: is it muted, or unplugged?"
            self._is_repeated = False
            self._tell("silent", words)
            self.restart()
        elif not silence or self.is_lost or self._told is None:
            self._note_well()

    def _note_well(self) -> None:
        self.is_lost = False
        self._tell("open")

    def _note_loss(self) -> None:
        if trio.current_time() - self._opened_at >= STABLE_AFTER:
            self._delay, self._is_troubled = FIRST_DELAY, False
            self._opened_at = math.inf
        if not self.is_lost:
            self._is_repeated, self._lost_at = self._is_troubled, trio.current_time()
        elif trio.current_time() - self._lost_at >= STABLE_AFTER:  # it does not come and go any more: it is gone
            self._is_repeated = False
        self.is_lost = self._is_troubled = True
        if isinstance(self._ring, PlaybackRing):
            self._ring.forget()
        log.debug("the %s %s: %s; it will be tried again", self._role, self._name, self._loss)
        self._tell("lost", self._loss)

    def _tell(self, state: Literal["open", "lost", "silent"], detail: str = "") -> None:
        """Tell a change, if it is one."""
        note = DeviceNote(self._role, state, self._name, detail, self._is_repeated)
        told = self._told
        if note == told or (told and (state, note.is_repeated) == (told.state, told.is_repeated) and state != "open"):
            return
        self._told = note
        self._note(note)


@asynccontextmanager
async def keep_microphone(
    ring: CaptureRing, live: Life, note: NoteDevice, silence_limit: float = math.inf
) -> AsyncIterator[KeptMicrophone]:
    """Keeps a microphone whose life fills ``ring``, and closes the ring at the end."""

    async def begin(opened: Opened) -> str:
        ring.begin()
        return await live(opened)

    try:
        async with KeptDevice("microphone", begin, ring, note, silence_limit).open():
            yield KeptMicrophone(ring)
    finally:
        ring.close()


class KeptMicrophone:
    """A `Microphone` on a ring that a kept device fills."""

    def __init__(self, ring: CaptureRing) -> None:
        self._ring = ring

    @property
    def format(self) -> AudioFormat:
        return self._ring.format

    @property
    def age(self) -> float:
        return self._ring.age

    async def read(self) -> bytes:
        return await self._ring.read()


class KeptSpeaker:
    """A `Speaker` on a ring that a kept device empties."""

    def __init__(self, ring: PlaybackRing, kept: KeptDevice) -> None:
        self._ring = ring
        self._kept = kept
        self._dropped = trio.Event()
        self._has_room = trio.Event()
        ring.taken = self._note_taken

    @property
    def format(self) -> AudioFormat:
        return self._ring.format

    @property
    def held(self) -> float:
        return self._ring.held

    async def write(self, pcm: bytes) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()  # no more than that: to give way to others is a round of the loop
        dropped = self._dropped
        if self._kept.is_lost:
            with trio.move_on_after(self.format.seconds_of(len(pcm))):
                await dropped.wait()
            return
        size = self.format.bytes_for(HELD_LIMIT)
        for start in range(0, len(pcm), size):
            if self._kept.is_lost or dropped.is_set():
                return
            self._ring.put(pcm[start : start + size])
            while (surplus := self._find_surplus()) > 0 and not self._kept.is_lost and not dropped.is_set():
                self._has_room = trio.Event()
                is_told = self._ring.filled is not None  # a thread tells nobody what it has taken
                with trio.move_on_after(surplus + HELD_LIMIT if is_told else max(surplus, STEP)):
                    await self._has_room.wait()

    def _find_surplus(self) -> float:
        """Seconds until little enough waits for the device that more may come."""
        waiting = self.format.seconds_of(2 * self._ring.waiting)
        return waiting - max(LEAST_AHEAD, self._ring.burst + STEP)

    def _note_taken(self) -> None:
        if self._find_surplus() <= 0:
            self._has_room.set()

    def tap(self, take: Tap | None) -> None:
        self._ring.tap(take)

    def _forget(self) -> None:
        """Have nothing more heard than the fade, as far as the device can forget."""
        self._ring.drop()

    def drop(self) -> None:
        self._forget()
        self._dropped.set()
        self._dropped = trio.Event()
        self._has_room.set()

    async def drain(self) -> None:
        while (held := self.held) > 0 and not self._kept.is_lost:  # noqa: ASYNC110 - a device's thread tells nobody
            await trio.sleep(min(held, STEP))
