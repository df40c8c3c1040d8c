"""A scripted agent over an in-memory link: convaid's own session, with a test at the other end (floor 6)."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, TypeVar

import trio
from attrs import define, field

from convaid.calls.opening import open_background
from convaid.config import LimitsConfig
from convaid.errors import RemoteProtocolError
from convaid.events import Event
from convaid.protocol.agent_side import AgentSide
from convaid.protocol.endings import SessionEnd
from convaid.protocol.from_agent import (
    AgentResponse,
    ClientToolCall,
    ConversationInitiationMetadata,
    FromAgent,
    Interruption,
    UserTranscript,
)
from convaid.protocol.to_agent import ClientToolResult, ConversationInitiationClientData, Pong, ToAgent
from convaid.session import Session
from convaid.testing.link import MemoryLink
from convaid.testing.pending import Pending
from convaid.testing.stage import Stage
from convaid.testing.toolbox import CONVERSATION, CONVERSATION_ID, Toolbox
from convaid.transport import LinkClosed

__all__ = ["Agent", "Conversation", "open_conversation"]

LIMITS = LimitsConfig(answer=math.inf)  # the agent is a test: it owes nobody an answer

M = TypeVar("M", bound=ToAgent)


@define(eq=False)
class Conversation:
    """The agent's side of a session, on the stage's loop. Made by `open_conversation`."""

    toolbox: Toolbox
    link: MemoryLink = field(factory=MemoryLink)
    side: AgentSide = field(factory=AgentSide)
    heard: list[ToAgent] = field(factory=list)
    events: list[Event] = field(factory=list)
    end: SessionEnd | None = None
    event_ids: count[int] = field(factory=lambda: count(1))
    _has_ended: trio.Event = field(factory=trio.Event)
    _has_changed: trio.Event = field(factory=trio.Event)

    def send(self, message: FromAgent) -> None:
        self.link.to_us.send_nowait(self.side.send(message))

    def hang_up(self, code: int, reason: str) -> None:
        self.side.end()
        self.link.to_us.send_nowait(LinkClosed(code, reason))

    async def wait_ended(self) -> SessionEnd:
        await self._has_ended.wait()
        assert self.end is not None
        return self.end

    async def hear(self, kind: type[M], since: int) -> M:
        """Wait for the first message of a kind among those heard from the number ``since`` on."""
        while True:
            for message in self.heard[since:]:
                if isinstance(message, kind):
                    return message
            await self._has_changed.wait()

    async def wait_result(self, tool_call_id: str) -> ClientToolResult:
        while True:
            for message in self.heard:
                if isinstance(message, ClientToolResult) and message.tool_call_id == tool_call_id:
                    return message
            await self._has_changed.wait()

    async def converse(self) -> None:
        """Run our session, until the agent hangs up."""
        session = Session(
            CONVERSATION,
            self.link,
            LIMITS,
            self.toolbox.tool_calls,
            self._note,
            None,
            late_results=self.toolbox.late_results,
        )
        self.end = await session.run(ConversationInitiationClientData(), {}, trio.Event(), 0)
        self._has_ended.set()

    async def listen(self) -> None:
        """Hear what our session sends."""
        async for frame in self.link.from_us:
            message = self.side.receive(frame)
            assert not isinstance(message, RemoteProtocolError), message
            if isinstance(message, ConversationInitiationClientData):
                self.send(ConversationInitiationMetadata(CONVERSATION_ID))
            if message is not None and not isinstance(message, Pong):
                self.heard.append(message)
                self._has_changed.set()
                self._has_changed = trio.Event()

    def _note(self, event: Event) -> None:
        self.events.append(event)
        self.toolbox.tool_calls.observe(event)


@asynccontextmanager
async def open_conversation(toolbox: Toolbox) -> AsyncIterator[Conversation]:
    """Hold a conversation over a link in memory, which is lost at the end."""
    conversation = Conversation(toolbox)
    async with open_background() as nursery:
        nursery.start_soon(conversation.listen)
        nursery.start_soon(conversation.converse)
        while conversation.side.metadata is None:
            await trio.lowlevel.checkpoint()
        yield conversation


@define(eq=False, repr=False)
class Agent:
    """The fixture ``agent``: the platform's side of a conversation in which convaid has the plugins under test.

    What is called here has reached convaid, and whatever it sets off has come to rest, when the method returns.
    """

    _stage: Stage
    _conversation: Conversation

    @property
    def heard(self) -> list[ToAgent]:
        """What convaid has sent to the agent so far, in order: results, contextual updates; no pongs."""
        return self._conversation.heard

    @property
    def events(self) -> list[Event]:
        """What has happened, as observers see it (`convaid.events`): a `ToolCallEnded` has a call's outcome, say."""
        return self._conversation.events

    def say(self, text: str) -> None:
        """Say something to the user."""
        __tracebackhide__ = True
        self.send(AgentResponse(text, next(self._conversation.event_ids)))

    def hear_user(self, text: str) -> None:
        """Understand the user to have said something."""
        __tracebackhide__ = True
        self.send(UserTranscript(text, next(self._conversation.event_ids)))

    def interrupt(self) -> None:
        """Be interrupted by the user."""
        __tracebackhide__ = True
        self.send(Interruption(next(self._conversation.event_ids)))

    def send(self, message: FromAgent) -> None:
        """Send any message of `convaid.protocol.from_agent`. Raises LocalProtocolError for what cannot be sent now."""
        __tracebackhide__ = True
        self._stage.act(self._conversation.send, message)

    def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> Pending[ClientToolResult]:
        """Call a tool; what the agent gets can be awaited (``await``, or ``.wait()`` in a plain test).

        A sync tool may not have begun yet when this returns, as it runs in a thread. Raises KitError for a tool that no
        plugin under test has.
        """
        __tracebackhide__ = True
        call: ClientToolCall = self._conversation.toolbox.make_call(name, arguments)
        self.send(call)
        return self._stage.start(self._conversation.wait_result, call.tool_call_id)

    def hear(self, kind: type[M]) -> Pending[M]:
        """Return the next message of a kind that convaid sends from now on, such as a `ContextualUpdate`."""
        return self._stage.start(self._conversation.hear, kind, len(self.heard))

    def hang_up(self, code: int = 1000, reason: str = "") -> SessionEnd:
        """End the connection, with a close code, and return what convaid makes of it. 1006 is a lost link."""
        __tracebackhide__ = True
        self._stage.act(self._conversation.hang_up, code, reason)
        return self._stage.start(self._conversation.wait_ended).wait()
