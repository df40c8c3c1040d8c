"""The agent's mouth: text and speech of one turn after the other, as the platform sends them, and being cut off."""

from __future__ import annotations

import re

import pybase64
import trio
from attrs import define, field

from convaid.protocol.from_agent import (
    AgentChatResponsePart,
    AgentResponse,
    AgentResponseComplete,
    AgentResponseCorrection,
    Audio,
    Interruption,
)
from convaid.simulator.conversation import Conversation
from convaid.simulator.scenario import Voice
from convaid.simulator.speech import Speech

__all__ = ["Mouth"]


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

    @property
    def is_speaking(self) -> bool:
        """Does the user still hear the agent, if it is listened to as it should be?"""
        return self._utterance is not None and trio.current_time() < self._utterance.ends_at

    async def say(self, text: str) -> None:
        """Send one turn. Speech returns when all of it is sent, or it was interrupted."""
        event_id = self._conversation.next_event_id()
        self._conversation.note_line("agent", text)
        if self._is_text_only:
            await self._write(text, event_id)
        else:
            await self._speak(text, event_id)

    async def interrupt(self) -> None:
        """Cut off what is being said; nothing of it is sent any more."""
        utterance, now = self._utterance, trio.current_time()
        if utterance is None or now >= utterance.ends_at:
            return
        self._utterance = None
        utterance.sending.cancel()
        await self._conversation.send(Interruption(utterance.event_id))
        await self._conversation.send(AgentResponseCorrection(utterance.text, utterance.cut(now), utterance.event_id))

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
            AgentResponseComplete(event_id),
        ):
            await self._conversation.send(part)

    async def _speak(self, text: str, event_id: int) -> None:
        sound = self._speech.speak(text)
        audio_format = self._speech.audio_format
        begins_at = trio.current_time()
        if self._utterance is not None:
            begins_at = max(begins_at, self._utterance.ends_at)
        utterance = Utterance(event_id, text, begins_at, begins_at + audio_format.seconds_of(len(sound)))
        self._utterance = utterance
        step = max(audio_format.bytes_for(self._voice.chunk), audio_format.frame_size)
        with utterance.sending:
            await self._conversation.send(AgentResponse(text, event_id))
            for start in range(0, len(sound), step):
                chunk = pybase64.b64encode_as_string(sound[start : start + step])
                await self._conversation.send(Audio(chunk, event_id))
                await trio.sleep(self._voice.chunk / self._voice.speed)
            await self._conversation.send(AgentResponseComplete(event_id))
