"""A link without a socket: both its ends are in one loop (floor 6)."""

from __future__ import annotations

import math

import trio
from attrs import define, field

from convaid.transport import Link, LinkClosed

__all__ = ["MemoryLink"]


@define(eq=False)
class MemoryLink(Link):
    """A link whose other end is two channels: what we send comes out of ``from_us``, ``to_us`` is what we hear."""

    heard: float = field(factory=trio.current_time)

    def __attrs_post_init__(self) -> None:
        self.to_platform, self.from_us = trio.open_memory_channel[str](math.inf)
        self.to_us, self.from_platform = trio.open_memory_channel[str | bytes | LinkClosed](math.inf)

    @property
    def heard_at(self) -> float:
        return self.heard

    async def receive(self) -> str | bytes | LinkClosed:
        frame = await self.from_platform.receive()
        self.heard = trio.current_time()
        return frame

    async def send(self, frame: str) -> bool:
        await trio.lowlevel.checkpoint()
        self.to_platform.send_nowait(frame)
        return True

    def ping(self) -> None:
        self.heard = trio.current_time()
