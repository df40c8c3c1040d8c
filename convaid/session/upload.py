"""From the microphone to the wire: whole chunks, each as soon as it is there, and silence where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pybase64
import trio

from convaid.audio import AudioFormat, Converter
from convaid.pulse import Pulse
from convaid.speech_buffers import MicrophoneBuffer

__all__ = ["SendChunk", "Upload"]

SendChunk = Callable[[str, float | None, bool], None]
"""Takes a chunk, at once: base64; when its newest sample came from the microphone, None for silence and pre-roll;
whether it is pre-roll."""

CUSHION = 1.0  # seconds of microphone audio that may come at once: some recorders deliver in bursts
LATE_LIMIT = 1.0  # seconds behind its schedule after which silence starts anew instead of catching up
GRACE_SHARE = 0.25  # of a chunk: so late may the microphone be without being looked for


class Upload:
    """One session's: takes blocks of ``source``, sends chunks of ``target``.

    The microphone sets the pace, so that a chunk waits for nothing but its own last sample. Where nothing comes from
    it, the clock does: the platform hangs up after 60 s without audio.
    """

    def __init__(
        self,
        source: AudioFormat,
        target: AudioFormat,
        chunk: float,
        send: SendChunk,
        is_hearing: Callable[[], bool],
        *,
        find_age: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``chunk`` in seconds. ``is_hearing``: whether the microphone gives something just now.
        ``find_age``: seconds since the block that is being taken came from it.

        `ConvaidError` if a package is missing that the conversion takes.
        """
        self._converter = Converter(source, target)
        self._chunk = chunk
        self._send = send
        self._is_hearing = is_hearing
        self._find_age = find_age
        self._is_live = False
        self._due = trio.current_time() + chunk
        self._wait = trio.CancelScope()
        self._buffer = MicrophoneBuffer(target.silence(chunk), target.bytes_for(CUSHION))
        self._silence = pybase64.b64encode_as_string(target.silence(chunk))
        self._target = target
        self.pulse = Pulse("the microphone's stream")

    def count_dropped(self) -> float:
        """The seconds of speech that came too fast to be sent."""
        return self._target.seconds_of(self._buffer.dropped)

    def take(self, block: bytes) -> None:
        """Take what the microphone has heard, and send what is whole."""
        self._buffer.put(self._converter.convert(block))
        now = trio.current_time()
        while chunk := self._buffer.take():
            self._send(
                pybase64.b64encode_as_string(chunk),
                now - self._find_age() if self._is_live else None,
                not self._is_live,
            )
            self._expect(now + self._chunk)

    async def run(self) -> NoReturn:
        """From now on blocks are new, not pre-roll; send silence whenever there are none, until cancelled."""
        self._is_live = True
        self.pulse.attach()
        self._expect(self._due)
        while True:
            with self._wait:
                await trio.sleep_forever()
            self._wait = trio.CancelScope()
            now = trio.current_time()
            if self._is_hearing():
                self._look_at(now + self._chunk)
                continue
            self._expect(max(self._due, now - LATE_LIMIT) + self._chunk)
            rest = self._buffer.pad()
            self._send(pybase64.b64encode_as_string(rest) if any(rest) else self._silence, None, False)

    def _expect(self, due: float) -> None:
        """The next chunk is due then; `run` looks for it when it is late, and sleeps as long as none is."""
        self._due = due
        self._look_at(due + self._chunk * GRACE_SHARE)

    def _look_at(self, time: float) -> None:
        self._wait.deadline = time
        self.pulse.beat(time - trio.current_time())
