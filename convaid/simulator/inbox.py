"""What the user's side sends, and what each message of it does on the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pybase64
import trio

from convaid.protocol.agent_side import INVALID_MESSAGE
from convaid.protocol.to_agent import (
    ClientToolResult,
    ContextualUpdate,
    ConversationInitiationClientData,
    Feedback,
    McpToolApprovalResult,
    MultimodalMessage,
    Pong,
    ToAgent,
    UserActivity,
    UserAudio,
    UserMessage,
)
from convaid.simulator.scenario import Fail
from convaid.simulator.turns import UserTurn

if TYPE_CHECKING:
    from convaid.simulator.conversation import Actor, Conversation

__all__ = ["Inbox"]


class Inbox:
    """Takes the user's messages in, one after the other."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._approvals: dict[str, trio.MemorySendChannel[bool]] = {}
        self.is_initiated = trio.Event()
        """Set by an initiation, or by audio that comes before one."""

    def expect_approval(self, tool_call_id: str) -> trio.MemoryReceiveChannel[bool]:
        """Whether the user approves of a call to an MCP server will come here, if it does."""
        self._approvals[tool_call_id], answer = trio.open_memory_channel[bool](1)
        return answer

    async def take(self, message: ToAgent, actor: Actor) -> None:
        """Let a message have its effect. In the queue before a conversation, it has none but for the initiation."""
        conversation, record = self._conversation, self._conversation.record
        record.received[message.wire_type or "user_audio_chunk"] += 1
        if isinstance(message, ConversationInitiationClientData):
            record.messages.append(message)
            record.initiation = message
            self.is_initiated.set()
            return
        if conversation.is_queued:
            record.counts["discarded in the queue"] += 1
            return
        is_input = isinstance(message, UserAudio | UserMessage | MultimodalMessage)
        if is_input or (isinstance(message, UserActivity) and conversation.agent.guesses.activity_is_input):
            conversation.turns.note_input(conversation.agent.input_limit)
        if not isinstance(message, UserAudio | Pong):
            record.messages.append(message)
        match message:
            case UserAudio(user_audio_chunk=chunk):
                await self._take_audio(chunk, actor)
            case UserMessage(text=str(text)):
                await self._take_text(text)
            case MultimodalMessage():
                if content := await self._describe_content(message):
                    await self._take_text(content)
            case _:
                await self._take_in(message)

    async def _take_in(self, message: ToAgent) -> None:
        """Take in what the agent does not answer."""
        conversation, record = self._conversation, self._conversation.record
        match message:
            case Pong(event_id):
                conversation.clocks.take_pong(event_id)
            case ClientToolResult():
                await conversation.calls.take(message)
            case McpToolApprovalResult(tool_call_id, is_approved):
                if approval := self._approvals.pop(tool_call_id, None):
                    approval.send_nowait(is_approved)
                else:
                    record.counts["unexpected approval"] += 1
            case UserActivity():
                conversation.turns.note_activity()
            case ContextualUpdate():
                record.put_context(message)
            case Feedback(event_id, score):
                record.put_score(event_id, score)

    async def _take_audio(self, chunk: str, actor: Actor) -> None:
        self.is_initiated.set()  # the official Python SDK may send audio before the platform has answered
        try:
            audio = pybase64.b64decode(chunk, validate=True)
        except ValueError as error:
            reason = f"{INVALID_MESSAGE}: user_audio_chunk: {error}"
            await self._conversation.fail(Fail(1008, "invalid_message", reason))
        await actor.hear(audio)

    async def _take_text(self, text: str) -> None:
        if self._conversation.agent.guesses.message_interrupts:
            await self._conversation.give_way()
        await self._conversation.take_turn(UserTurn(text))

    async def _describe_content(self, message: MultimodalMessage) -> str:
        """What the user has written, and which files are with it; the conversation ends where one is not there."""
        conversation = self._conversation
        parts = [(message.text and message.text.text) or ""]
        files = message.files or ([message.file] if message.file else [])  # the official Python SDK sends both
        for file_id in dict.fromkeys(file.file_id for file in files):
            if file_id not in conversation.record.files:
                await conversation.fail(Fail(1008, "value_error", f"File with id {file_id} not found."))
            parts.append(f"(file {conversation.record.files[file_id].name})")
        return " ".join(filter(None, parts))
