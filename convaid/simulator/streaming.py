"""A turn of the agent's that is said while it is still being thought of: text by the word, speech by the sentence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import trio

from convaid.protocol.from_agent import AgentChatResponsePart, AgentResponse, Interruption
from convaid.simulator.conversation import Conversation

if TYPE_CHECKING:
    from convaid.simulator.speaking import Mouth

__all__ = ["Stream"]

SENTENCE = re.compile(r".*?[.!?…:](?=\s)|.*?\n", re.DOTALL)


class Stream:
    """One turn, which `Mouth.open_stream` begins. What has an ``event_id`` of 0 has not come to the first word."""

    def __init__(self, mouth: Mouth, conversation: Conversation, *, is_text_only: bool) -> None:
        self.event_id = 0
        self.text = ""
        """All that is said, or would be."""
        self.thinking = trio.CancelScope()
        self._mouth = mouth
        self._conversation = conversation
        self._is_text_only = is_text_only
        self._unspoken = ""
        self._is_told = False

    async def add(self, text: str) -> None:
        """Say more. Blanks before the first word are left out."""
        text = text if self.text else text.lstrip()
        if not text:
            return
        is_first = not self.text
        self.text += text
        if is_first:
            self.event_id = self._conversation.next_event_id()
        if self._is_text_only:
            if is_first:
                await self._send_part("", "start")
            await self._send_part(text, "delta")
            return
        self._unspoken += text
        while sentence := SENTENCE.match(self._unspoken):
            self._unspoken = self._unspoken[sentence.end() :]
            await self._mouth.speak_part(sentence[0], self.event_id)

    async def finish(self) -> None:
        """That was all."""
        unspoken, self._unspoken = self._unspoken, ""
        if unspoken.strip():
            await self._mouth.speak_part(unspoken, self.event_id)
        await self._tell()

    async def cut_off(self) -> None:
        """The user has cut in: nothing more is thought of, and only what was said so far is told."""
        self.thinking.cancel()
        if self._is_told:
            return
        self.text = self.text.removesuffix(self._unspoken)
        await self._tell()
        if self.text and self._is_text_only:
            self._conversation.record.corrections[self.event_id] = self.text
            await self._conversation.send(Interruption(self.event_id))

    async def _tell(self) -> None:
        self._is_told = True
        if not self.text:
            return
        if self._is_text_only:
            await self._send_part("", "stop")
        self._conversation.note_line("agent", self.text, self.event_id)
        await self._conversation.send(AgentResponse(self.text, self.event_id))

    async def _send_part(self, text: str, kind: Literal["start", "delta", "stop"]) -> None:
        await self._conversation.send(AgentChatResponsePart(text, kind, self.event_id))
