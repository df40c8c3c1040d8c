"""The platform's side of an in-memory link, for tests of the session floor: no sockets, so the clock can be moved."""

from __future__ import annotations

import trio
from attrs import define, field

from convaid.errors import RemoteProtocolError
from convaid.protocol.agent_side import AgentSide
from convaid.protocol.from_agent import ConversationInitiationMetadata, FromAgent
from convaid.protocol.to_agent import ToAgent
from convaid.testing import link as memory
from convaid.transport import LinkClosed


@define(eq=False)
class MemoryLink(memory.MemoryLink):
    """Can fail. ``is_dead``: half-open, nothing arrives any more in either direction."""

    is_dead: bool = False
    takes_data: bool = True
    pings: int = 0

    async def receive(self) -> str | bytes | LinkClosed:
        heard = self.heard
        frame = await super().receive()
        if self.is_dead:
            self.heard = heard
            await trio.sleep_forever()
        return frame

    async def send(self, frame: str) -> bool:
        if not self.takes_data:
            await trio.sleep_forever()
        return await super().send(frame)

    def ping(self) -> None:
        self.pings += 1
        if not self.is_dead:
            super().ping()


@define(eq=False)
class Platform:
    """Speaks for the agent on a `MemoryLink`."""

    link: MemoryLink = field(factory=MemoryLink)
    side: AgentSide = field(factory=AgentSide)

    async def hear(self) -> ToAgent:
        """The next message of ours; fails the test where there is none in time or it breaks the protocol."""
        with trio.fail_after(1000):
            message = self.side.receive(await self.link.from_us.receive())
        assert not isinstance(message, RemoteProtocolError | None), message
        return message

    def say(self, message: FromAgent) -> None:
        """Send a message to us."""
        self.link.to_us.send_nowait(self.side.send(message))

    def say_raw(self, frame: str | bytes) -> None:
        """Send a frame that may break the protocol."""
        self.link.to_us.send_nowait(frame)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End the connection."""
        self.link.to_us.send_nowait(LinkClosed(code, reason))

    async def begin(self, audio_format: str = "pcm_16000") -> ToAgent:
        """Take our first frame, confirm the conversation; returns that frame's message."""
        initiation = await self.hear()
        self.say(ConversationInitiationMetadata("conv_1", audio_format, audio_format))
        return initiation
