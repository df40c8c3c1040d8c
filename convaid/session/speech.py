"""Speech of one session: microphone to wire at a steady pace, wire to speaker in small steps that can be cut off."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING

import pybase64
import trio

from convaid.audio import AudioFormat
from convaid.protocol.from_agent import Audio, ConversationInitiationMetadata
from convaid.pulse import Pulse
from convaid.speech_buffers import MicrophoneBuffer, PlaybackBuffer

if TYPE_CHECKING:
    from convaid.devices import Microphone, Sound, Speaker

__all__ = ["OpenSound", "Speech"]

OpenSound = Callable[[AudioFormat, AudioFormat], "AbstractAsyncContextManager[Sound]"]
"""Opens microphone and speaker for the formats of the metadata: user input, agent output."""

STEP = 0.02  # seconds of speech handed to the speaker at a time: what an interruption has to wait for
CUSHION = 1.0  # seconds of microphone audio that may wait: some recorders deliver in bursts of a quarter of a second
LONGEST_REPLY = 600.0  # seconds of agent speech held: the platform's own limit for a whole conversation
LATE_LIMIT = 1.0  # seconds behind its schedule after which the stream starts anew instead of catching up
PAUSE = 0.3  # seconds without speech after which the agent is taken to have fallen silent; less is the network
TAIL_MARGIN = 2.0  # seconds beyond the speech that waits, for the device to play out at the end


class Speech:
    """Both directions of one voice session, in the formats that the platform announced."""

    def __init__(
        self,
        metadata: ConversationInitiationMetadata,
        chunk: float,
        send_audio: Callable[[str], None],
        open_sound: OpenSound,
        note_speaking: Callable[[bool], None],
    ) -> None:
        """``chunk``: seconds of microphone audio in one frame; ``send_audio`` takes each as base64, at once.

        ``note_speaking`` is told when the agent begins to speak, and when it has fallen silent.

        Raises ValueError for a format that is none of the platform's seven.
        """
        self._input = AudioFormat.parse(metadata.user_input_audio_format)
        self._output = AudioFormat.parse(metadata.agent_output_audio_format)
        self._chunk = chunk
        self._send_audio = send_audio
        self._open_sound = open_sound
        self._note_speaking = note_speaking
        self._is_speaking = False
        self._speaker: Speaker | None = None
        self._sending = Pulse("the microphone's stream")
        self._playing = Pulse("the speaker")
        self.is_muted = False
        self._silence = pybase64.b64encode_as_string(self._input.silence(chunk))
        self.microphone_buffer = MicrophoneBuffer(self._input.silence(chunk), self._input.bytes_for(CUSHION))
        self.playback = PlaybackBuffer(self._output.bytes_for(STEP), self._output.bytes_for(LONGEST_REPLY))

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        """Those of its tasks that must never hang."""
        return (self._sending, self._playing)

    def play(self, audio: Audio) -> float:
        """Queue a piece of agent speech; returns in how many seconds it will have been heard.

        Raises ValueError where it is not base64.
        """
        samples = pybase64.b64decode(audio.audio_base_64, validate=True)
        self.playback.put(samples[: len(samples) - len(samples) % self._output.frame_size])  # half a sample is noise
        self._set_speaking(bool(samples) or self._is_speaking)
        return self.count_waiting()

    def count_waiting(self) -> float:
        """The seconds of speech that have arrived and not been heard yet."""
        held = self._speaker.held if self._speaker else 0.0
        return self._output.seconds_of(self.playback.size) + held

    def interrupt(self) -> float:
        """Be silent at once; returns the seconds of speech that will not be heard."""
        seconds = self.count_waiting()
        self.playback.clear()
        if self._speaker is not None:
            self._speaker.drop()
        self._set_speaking(False)
        return seconds

    def _set_speaking(self, is_speaking: bool) -> None:
        if is_speaking != self._is_speaking:
            self._is_speaking = is_speaking
            self._note_speaking(is_speaking)

    def count_losses(self) -> dict[str, int]:
        """Milliseconds of speech that were lost, either way; silence in place of a microphone is no loss."""
        return {
            "ms of microphone audio dropped": round(self._input.seconds_of(self.microphone_buffer.dropped) * 1000),
            "ms of agent speech dropped": round(self._output.seconds_of(self.playback.dropped) * 1000),
        }

    async def run(self) -> None:
        """Open the devices and carry speech both ways until cancelled; closes them."""
        async with self._open_sound(self._input, self._output) as sound, trio.open_nursery() as nursery:
            self._speaker = sound.speaker
            nursery.start_soon(self.fill_microphone_buffer, sound.microphone)
            nursery.start_soon(self.stream_microphone)
            nursery.start_soon(self.play_speech, sound.speaker)

    async def fill_microphone_buffer(self, microphone: Microphone) -> None:
        """Take what the microphone has, as it comes."""
        while True:
            self.microphone_buffer.put(await microphone.read())

    async def stream_microphone(self) -> None:
        """Send one chunk per tick, whatever the microphone does: the platform hangs up after 60 s without audio."""
        self._sending.attach()
        due = trio.current_time()
        while True:
            self._sending.beat(self._chunk)
            due += self._chunk
            if trio.current_time() - due > LATE_LIMIT:
                due = trio.current_time()
            await trio.sleep_until(due)
            samples = self.microphone_buffer.take()  # muted, too: what was said meanwhile is not to be heard later
            self._send_audio(self._silence if self.is_muted else pybase64.b64encode_as_string(samples))

    async def play_speech(self, speaker: Speaker) -> None:
        """Hand speech to the speaker step by step; the speaker sets the pace."""
        self._playing.attach()
        while True:
            self._playing.rest()
            with trio.move_on_after(PAUSE) if self._is_speaking else nullcontext() as pause:
                step = await self.playback.take()
            if pause is not None and pause.cancelled_caught:
                self._set_speaking(False)
                continue
            self._playing.beat(STEP)
            await speaker.write(step)

    async def play_tail(self) -> None:
        """Let what the agent has said be heard to its end, bounded by its length."""
        if self._speaker is None:
            return
        with trio.move_on_after(self.count_waiting() + TAIL_MARGIN):
            await self.playback.wait_empty()
            await self._speaker.drain()
