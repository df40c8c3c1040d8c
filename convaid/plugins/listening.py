"""What plugins hear of a conversation's microphone: blocks that go from the daemon's loop to theirs (floor 4)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from convaid.audio import AudioFormat, Converter

__all__ = ["Blocks", "Listening"]

HEARD = AudioFormat("pcm", 16000)
"""What plugins hear, whatever the ear does: the format of every detector there is."""

HELD_LIMIT = 2.0  # seconds of sound that wait for a plugin: a wake word is of no use later


class _Event(Protocol):
    def set(self) -> object: ...

    def wait(self) -> Awaitable[object]: ...


class Blocks:
    """Sound on its way from one thread to another. The oldest goes when too much waits."""

    def __init__(self, conversation: str) -> None:
        self.conversation = conversation
        self.lost_seconds = 0.0
        """Of sound that nobody has taken in time."""
        self._held: deque[tuple[bytes, AudioFormat]] = deque()
        self._seconds = 0.0
        self._alarm: Callable[[], object] | None = None
        self._lock = threading.RLock()  # garbage collection may close a lost listening, within this, too

    def put(self, pcm: bytes, audio_format: AudioFormat) -> None:
        """Add a block; on the daemon's loop."""
        with self._lock:
            self._held.append((pcm, audio_format))
            self._seconds += audio_format.seconds_of(len(pcm))
            while self._seconds > HELD_LIMIT and len(self._held) > 1:
                self.lost_seconds += self._forget_oldest()
        self.wake()

    def wake(self) -> None:
        """Have whoever waits look again; from any thread."""
        with self._lock:
            alarm, self._alarm = self._alarm, None
        if alarm is not None:
            with suppress(RuntimeError):  # the plugin's loop has ended meanwhile: trio.RunFinishedError is one, too
                alarm()

    def take(self, alarm: Callable[[], object]) -> tuple[bytes, AudioFormat] | None:
        """Return the oldest block; without one, None, and ``alarm`` is called, from any thread, when one has come."""
        with self._lock:
            if not self._held:
                self._alarm = alarm
                return None
            oldest = self._held[0]
            self._forget_oldest()
            return oldest

    def _forget_oldest(self) -> float:
        pcm, audio_format = self._held.popleft()
        seconds = audio_format.seconds_of(len(pcm))
        self._seconds -= seconds
        return seconds


class Listening:
    """What a conversation's microphone hears, as an async iterator of blocks: s16le, 16 kHz, mono.

    For one task, under trio or asyncio. The microphone is open as long as somebody listens, whether or not the
    conversation is; while it is muted, nothing comes. Ends when it is closed: by `close`, at the end of a ``with``, or
    when nothing refers to it any more. A plugin that is slower than real time loses the oldest sound.
    """

    def __init__(self, blocks: Blocks, leave: Callable[[Blocks], object]) -> None:
        """``leave`` is called once, from any thread, when nobody listens any more."""
        self._blocks = blocks
        self._leave = leave
        self._is_closed = False
        self._converter = Converter(HEARD, HEARD)

    @property
    def lost_seconds(self) -> float:
        """How much of the sound came too fast to be taken in time, so far."""
        return self._blocks.lost_seconds

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        await _let_others_run()
        while not self._is_closed:
            event, alarm = _make_alarm()
            taken = self._blocks.take(alarm)
            if taken is None:
                await event.wait()
            elif block := self._convert(*taken):
                return block
        raise StopAsyncIteration

    def _convert(self, pcm: bytes, audio_format: AudioFormat) -> bytes:
        if audio_format != self._converter.source:  # another ear, after a reload
            self._converter = Converter(audio_format, HEARD)
        return self._converter.convert(pcm)

    def close(self) -> None:
        """Listen no more; on the loop that listens. Nothing happens the second time."""
        if not self._is_closed:
            self._is_closed = True
            self._leave(self._blocks)
            self._blocks.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def _make_alarm() -> tuple[_Event, Callable[[], object]]:
    """An event of the loop that runs here, and what sets it from any thread."""
    import trio  # not where a plugin is only looked at

    if trio.lowlevel.in_trio_run():
        trio_event = trio.Event()
        return trio_event, partial(trio.lowlevel.current_trio_token().run_sync_soon, trio_event.set)
    import asyncio

    event = asyncio.Event()
    return event, partial(asyncio.get_running_loop().call_soon_threadsafe, event.set)


async def _let_others_run() -> None:
    """Where sound waits already, nothing else would let the loop turn, or the task be cancelled."""
    import trio

    if trio.lowlevel.in_trio_run():
        await trio.lowlevel.checkpoint()
    else:
        import asyncio

        await asyncio.sleep(0)
