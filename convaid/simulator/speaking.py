"""The agent's mouth: text and speech of one turn after the other, as the platform sends them, and being cut off."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pybase64
import trio
from attrs import define, field

from convaid.protocol.from_agent import (
    AgentChatResponsePart,
    AgentResponse,
    AgentResponseComplete,
    AgentResponseCorrection,
    Audio,
    AudioAlignment,
    ContextUsage,
    Interruption,
)
from convaid.simulator.conversation import Conversation
from convaid.simulator.scenario import Voice
from convaid.simulator.speech import Speech
from convaid.simulator.streaming import Stream

__all__ = ["Mouth"]

CONTEXT_LIMIT = 128_000  # tokens of a model that there is not
TOKEN_LENGTH = 4  # characters, as a rule of thumb


@define
class Utterance:
    """Speech that is being sent or listened to; times are trio's clock."""

    event_id: int
    text: str
    begins_at: float
    ends_at: float
    sending: trio.CancelScope = field(factory=trio.CancelScope, repr=False)

    def cut(self, now: float) -> str:
        """The part of the text that has been heard by now, in whole words."""
        heard = (now - self.begins_at) / (self.ends_at - self.begins_at)
        words = self.text.split()
        return " ".join(words[: max(0, int(heard * len(words)))])


class Mouth:
    """Says what the agent says. Speech goes out faster than it is heard; the mouth knows until when it will be."""

    def __init__(self, conversation: Conversation, voice: Voice, speech: Speech, *, is_text_only: bool) -> None:
        self._conversation = conversation
        self._voice = voice
        self._speech = speech
        self._is_text_only = is_text_only
        self._utterance: Utterance | None = None
        self._stream: Stream | None = None
        conversation.mouth = self

    @property
    def is_speaking(self) -> bool:
        """Does the user still hear the agent, if it is listened to as it should be?"""
        return trio.current_time() < self.quiet_at

    @property
    def quiet_at(self) -> float:
        """When the user will have heard everything, on trio's clock."""
        return 0.0 if self._utterance is None else self._utterance.ends_at

    async def say(self, text: str) -> int:
        """Send one turn; returns its ``event_id``. Speech returns when all of it is sent, or it was interrupted."""
        event_id = self._conversation.next_event_id()
        self._conversation.note_line("agent", text, event_id)
        if self._is_text_only:
            await self._write(text, event_id)
        else:
            await self._speak(text, event_id)
        await self.complete(event_id)
        return event_id

    @contextmanager
    def open_stream(self) -> Iterator[Stream]:
        """Begin a turn that is thought of while it is said; leaving the context ends it, and so does an interruption.

        That cancels what is done in the context.
        """
        self._stream = stream = Stream(self, self._conversation, is_text_only=self._is_text_only)
        try:
            with stream.thinking:
                yield stream
        finally:
            self._stream = None

    async def interrupt(self) -> None:
        """Cut off what is being said, or thought of; nothing of it is sent any more."""
        utterance, now = self._utterance, trio.current_time()
        if self._stream is not None:
            await self._stream.cut_off()
        if utterance is None or now >= utterance.ends_at:
            return
        self._utterance = None
        utterance.sending.cancel()
        heard = self._conversation.record.corrections[utterance.event_id] = utterance.cut(now)
        await self._conversation.send(Interruption(utterance.event_id))
        await self._conversation.send(AgentResponseCorrection(utterance.text, heard, utterance.event_id))

    async def finish(self) -> None:
        """Wait until the user has heard everything."""
        if self._utterance is not None:
            await trio.sleep_until(self._utterance.ends_at)

    async def _write(self, text: str, event_id: int) -> None:
        parts = [AgentChatResponsePart(word, "delta", event_id) for word in re.findall(r"\s*\S+\s*", text)]
        for part in (
            AgentChatResponsePart("", "start", event_id),
            *parts,
            AgentChatResponsePart("", "stop", event_id),
            AgentResponse(text, event_id),
        ):
            await self._conversation.send(part)

    async def _speak(self, text: str, event_id: int) -> None:
        sound = self._lengthen(text, event_id)
        utterance = self._utterance
        assert utterance is not None
        with utterance.sending:
            await self._conversation.send(AgentResponse(text, event_id))
            await self._send_sound(text, sound, event_id, is_last=True)

    async def speak_part(self, text: str, event_id: int) -> None:
        """Speak the next part of a turn, whose text is told later."""
        await self._send_sound(text, self._lengthen(text, event_id), event_id, is_last=False)

    def _lengthen(self, text: str, event_id: int) -> bytes:
        """Make the sound of a text, which is heard after all that is being said."""
        sound = self._speech.speak(text)
        begins_at = max(trio.current_time(), self.quiet_at)
        if self._utterance is None or self._utterance.event_id != event_id:
            self._utterance = Utterance(event_id, "", begins_at, begins_at)
        self._utterance.text += text
        self._utterance.ends_at = begins_at + self._speech.audio_format.seconds_of(len(sound))
        return sound

    async def _send_sound(self, text: str, sound: bytes, event_id: int, *, is_last: bool) -> None:
        audio_format = self._speech.audio_format
        step = max(audio_format.bytes_for(self._voice.chunk), audio_format.frame_size)
        for start in range(0, len(sound), step):
            end = min(start + step, len(sound))
            chunk = pybase64.b64encode_as_string(sound[start:end])
            alignment = align(text, start / len(sound), end / len(sound), audio_format.seconds_of(len(sound)))
            await self._conversation.send(Audio(chunk, event_id, alignment, is_last and end == len(sound)))
            await trio.sleep(self._voice.chunk / self._voice.speed)

    async def complete(self, event_id: int) -> None:
        """Tell that a turn is over; nobody hears of the end of one that was cut off."""
        conversation = self._conversation
        if event_id in conversation.record.corrections:
            return
        if conversation.agent.silences.soft_timeout is None and not conversation.calls.run_in_background:
            await conversation.send(AgentResponseComplete(event_id))
        length = sum(len(line.text) for line in conversation.record.transcript)
        await conversation.send(ContextUsage(event_id, "simulator", length // TOKEN_LENGTH, CONTEXT_LIMIT))


def align(text: str, start: float, end: float, seconds: float) -> AudioAlignment:
    """Which characters are heard in a part of a speech, if each takes as long; ``start`` and ``end`` from 0 to 1."""
    first, last = (math.ceil(len(text) * place - 1e-9) for place in (start, end))
    milliseconds = 1000 * seconds / max(len(text), 1)
    begin = 1000 * seconds * start
    starts = [max(0, round(number * milliseconds - begin)) for number in range(first, last)]
    return AudioAlignment(list(text[first:last]), starts, [round(milliseconds)] * len(starts))
