"""Speech of one session: microphone to wire, and wire to speaker in small steps that can be cut off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

import pybase64
import trio

from convaid.audio import AudioFormat
from convaid.events import Heard
from convaid.protocol.from_agent import AgentResponse, Audio, ConversationInitiationMetadata
from convaid.pulse import Pulse
from convaid.session.heard import Ledger
from convaid.session.upload import SendChunk, Upload
from convaid.sound.conversion import load_conversion
from convaid.sound.self_talk import SelfTalk
from convaid.speech_buffers import PlaybackBuffer, Preroll

if TYPE_CHECKING:
    from convaid.sound.sound import Sound

__all__ = ["Speech"]

STEP = 0.1  # seconds of speech handed to the speaker at a time, each a wake-up
LONGEST_REPLY = 600.0  # seconds of agent speech held: the platform's own limit for a whole conversation
PAUSE = 0.3  # seconds without speech after which the agent is taken to have fallen silent; less is the network
TAIL_MARGIN = 2.0  # seconds beyond the speech that waits, for the device to play out at the end


class Speech:
    """Both directions of one voice session, in the formats that the platform announced."""

    def __init__(
        self,
        metadata: ConversationInitiationMetadata,
        chunk: float,
        sound: Sound,
        preroll: Preroll,
        *,
        send_chunk: SendChunk,
        note_speaking: Callable[[bool], None],
        note_user: Callable[[], None],
    ) -> None:
        """``chunk``: seconds of microphone audio in one frame. ``preroll`` is attending to the sound's ear.

        ``note_speaking`` is told when the agent begins to speak, and when it has fallen silent; ``note_user`` while the
        user speaks, where the configuration has that listened for.

        Raises ValueError for a format that is none of the platform's seven.
        """
        self._input = AudioFormat.parse(metadata.user_input_audio_format)
        self._output = AudioFormat.parse(metadata.agent_output_audio_format)
        self._sound = sound
        self._preroll = preroll
        self._chunk = chunk
        self._send_chunk = send_chunk
        self._upload: Upload | None = None
        self._playback = PlaybackBuffer(self._output.bytes_for(STEP), self._output.bytes_for(LONGEST_REPLY))
        self._ledger = Ledger()
        self._self_talk = SelfTalk()
        self._note_speaking = note_speaking
        self._note_user = note_user
        self._is_speaking = False

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        """Those of its tasks that must never hang."""
        return (self._upload.pulse,) if self._upload is not None else ()

    def play(self, audio: Audio) -> float:
        """Queue a piece of agent speech; returns in how many seconds it will have been heard.

        Raises ValueError where it is not base64.
        """
        samples = pybase64.b64decode(audio.audio_base_64, validate=True)
        samples = samples[: len(samples) - len(samples) % self._output.frame_size]  # half a sample is noise
        if self._playback.put(samples, audio.event_id):
            self._ledger.add_speech(audio, self._output.seconds_of(len(samples)), self.count_waiting())
        self._set_speaking(bool(samples) or self._is_speaking)
        return self.count_waiting()

    def note_response(self, response: AgentResponse) -> None:
        """Take note of the words to the speech."""
        self._ledger.add_text(response)
        self._self_talk.note_agent(response.agent_response, trio.current_time() + self.count_waiting())

    def is_own(self, transcript: str) -> bool:
        """Whether what the platform took for the user is what the agent has just said."""
        return self._self_talk.is_echo(transcript, trio.current_time())

    def count_waiting(self) -> float:
        """The seconds of speech that have arrived and not been heard yet."""
        return self._output.seconds_of(self._playback.size) + self._sound.mouth.held

    def interrupt(self, event_id: int) -> tuple[float, tuple[Heard, ...]]:
        """Be silent at once, as for speech of the events up to this one.

        Returns the seconds of speech that will not be heard, and how far each event had been.
        """
        waiting = self.count_waiting()
        self._playback.clear(event_id)
        if self._playback.event_id <= event_id:
            self._sound.mouth.drop()
        if not self._playback.size:
            self._set_speaking(False)
        return waiting - self.count_waiting(), self._ledger.cut(waiting, event_id)

    def cut_off(self) -> tuple[Heard, ...]:
        """The session is over: how far speech had been heard that will not be any more."""
        return self._ledger.cut(self.count_waiting())

    def _set_speaking(self, is_speaking: bool) -> None:
        if is_speaking != self._is_speaking:
            self._is_speaking = is_speaking
            self._note_speaking(is_speaking)

    def count_losses(self) -> dict[str, int]:
        """Milliseconds of speech that were lost, either way; silence in place of a microphone is no loss."""
        return {
            "ms of microphone audio dropped": round(self._upload.count_dropped() * 1000) if self._upload else 0,
            "ms of agent speech dropped": round(self._output.seconds_of(self._playback.dropped) * 1000),
        }

    async def run(self) -> None:
        """Carry speech both ways until cancelled.

        Raises `ConvaidError` when microphone or speaker turns out not to be there to be opened, or a package is missing
        that the conversion takes.
        """
        sound = self._sound
        await load_conversion(sound.ear.format, self._input)
        self._upload = upload = Upload(
            sound.ear.format,
            self._input,
            self._chunk,
            self._send_chunk,
            is_hearing=lambda: sound.ear.is_hearing,
            find_age=lambda: sound.ear.age,
        )
        async with self._listen_for_user():
            with sound.mouth.open(self._output), self._preroll.hand_over(upload.take):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(upload.run)
                    nursery.start_soon(self.play_speech)
                    failure = await sound.wait_failure()
                    nursery.cancel_scope.cancel()
        raise failure

    async def play_speech(self) -> None:
        """Hand speech to the speaker step by step; the speaker sets the pace."""
        while True:
            with trio.move_on_after(PAUSE) if self._is_speaking else nullcontext() as pause:
                step = await self._playback.take()
            if pause is not None and pause.cancelled_caught:
                self._set_speaking(False)
                continue
            await self._sound.mouth.write(step)

    async def play_tail(self) -> None:
        """Let what the agent has said be heard to its end, bounded by its length."""
        with trio.move_on_after(self.count_waiting() + TAIL_MARGIN):
            await self._playback.wait_empty()
            await self._sound.mouth.drain()

    @asynccontextmanager
    async def _listen_for_user(self) -> AsyncIterator[None]:
        """While inside, speech is told from noise here, if the configuration wants that."""
        sound = self._sound
        if not sound.settings.speech.vad:
            yield
            return
        from convaid.sound.vad import SpeechDetector

        detector = await trio.to_thread.run_sync(SpeechDetector, sound.ear.format)

        def listen(block: bytes) -> None:
            if detector.hear(block):
                self._note_user()

        with sound.ear.attend(listen):
            yield
